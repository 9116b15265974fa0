"""A sweep as a picture: the first metric over the threshold and over what the rule keeps, or cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pseudo_iou_ops import AssignRule, Atss

from ..assign_config import Rule
from ..visualise.palette import INK, colour, pyplot
from .plan import Cell, Sweep
from .results import Result
from .seeds import mean_and_deviation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (9.2, 3.9)  # inches
# Their threshold is no share: shown as a level, not over the threshold.
_WITHOUT_AXIS = ("none", "center_radius")
_SERIES = {
    "none": "every inside point",
    "pseudo_iou": "Pseudo-IoU",
    "centerness": "centerness",
    "scaled_box": "scaled box",
    "center_radius": "center radius",
}
_ATSS_SERIES = {"anchor_iou": "ATSS", "pseudo_iou": "ATSS by Pseudo-IoU alone", "product": "ATSS by Pseudo-IoU"}


class Point(NamedTuple):
    """A cell as it is drawn; None is not run or not published."""

    name: str
    series: str
    threshold: float | None
    kept: float | None
    mean: float | None
    deviation: float
    published: float | None


def draw_sweep(sweep: Sweep, rules: Sequence[Rule], results: Sequence[Result], file: Path) -> None:
    """Write a picture of the sweep's first metric; published figures are hollow.

    Cells whose rules differ and read no predictions are drawn over the threshold and over the kept share of the points,
    other cells side by side.
    """
    plt = pyplot()
    points = [_point(sweep.metrics[0], cell, rule, results) for cell, rule in zip(sweep.cells, rules, strict=True)]
    have_shares = all(isinstance(rule, (AssignRule, Atss)) for rule in rules)
    is_curve = have_shares and len(set(rules)) > 2
    panels = [_draw_over_threshold, _draw_over_kept] if is_curve else [_draw_cells]
    figure, grid = plt.subplots(1, len(panels), squeeze=False, sharey=True, figsize=SIZE, layout="constrained")
    for axes, draw in zip(grid[0], panels, strict=True):
        draw(axes, points)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    grid[0, 0].set_ylabel(f"{sweep.metrics[0]}, percent")
    handles, names = grid[0, -1].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.suptitle(sweep.title, fontsize=10, color=INK)
    figure.savefig(file, dpi=150, facecolor="white")
    plt.close(figure)


def draw_order(sweep: Sweep, rules: Sequence[Rule], results: Sequence[Result], file: Path) -> None:
    """Write a picture of the sweep's first metric, cell by cell, the highest first; dots are single runs."""
    plt = pyplot()
    points = [_point(sweep.metrics[0], cell, rule, results) for cell, rule in zip(sweep.cells, rules, strict=True)]
    series = _series(points)
    finished = [(point.mean, point) for point in points if point.mean is not None]
    lowest_first = sorted(finished, key=lambda pair: pair[0])
    figure, axes = plt.subplots(figsize=(7.2, 1.0 + 0.3 * len(lowest_first)), layout="constrained")
    for position, (mean, point) in enumerate(lowest_first):
        ink = colour(series.index(point.series))
        single = [result.figures[sweep.metrics[0]] for result in results if result.cell == point.name]
        axes.plot(single, [position] * len(single), marker="o", linestyle="", color=ink, markersize=3.5, alpha=0.45)
        axes.errorbar(mean, position, xerr=point.deviation, marker="|", markersize=11, color=ink, capsize=3)
    axes.set_yticks(range(len(lowest_first)), [point.name for _, point in lowest_first], parse_math=False)
    axes.set_xlabel(f"{sweep.metrics[0]}, percent: each run, their mean and standard deviation")
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(sweep.title, fontsize=10, color=INK)
    figure.savefig(file, dpi=150, facecolor="white")
    plt.close(figure)


def _point(metric: str, cell: Cell, rule: Rule, results: Sequence[Result]) -> Point:
    own = [result for result in results if result.cell == cell.name]
    series, threshold = _series_of(rule)
    mean, deviation = mean_and_deviation([result.figures[metric] for result in own]) if own else (None, None)
    return Point(
        name=cell.name,
        series=series,
        threshold=threshold,
        kept=own[0].kept_points if own else None,
        mean=mean,
        deviation=deviation or 0.0,
        published=cell.published.get(metric),
    )


def _series_of(rule: Rule) -> tuple[str, float | None]:
    """The curve that a rule is a point of, and its threshold, if that is a share."""
    if isinstance(rule, Atss):
        return _ATSS_SERIES[rule.metric], None
    if not isinstance(rule, AssignRule):
        return type(rule).__name__, None
    band = " with ignore band" if rule.ignore_threshold is not None else ""
    return _SERIES[rule.metric] + band, None if rule.metric in _WITHOUT_AXIS else rule.threshold


def _draw_over_threshold(axes: Axes, points: Sequence[Point]) -> None:
    for number, series in enumerate(_series(points)):
        members = [point for point in points if point.series == series]
        _draw_series(axes, [(point.threshold, point) for point in members], series, colour(number))
        for point in members:
            if point.threshold is None and point.mean is not None:
                axes.axhline(point.mean, color=colour(number), linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlabel("threshold")


def _draw_over_kept(axes: Axes, points: Sequence[Point]) -> None:
    for number, series in enumerate(_series(points)):
        members = [(point.kept, point) for point in points if point.series == series]
        _draw_series(axes, members, series, colour(number))
    axes.set_xlabel("points inside boxes that stay positive, percent")


def _draw_cells(axes: Axes, points: Sequence[Point]) -> None:
    _draw_series(axes, [(float(position), point) for position, point in enumerate(points)], "here", colour(0), line="")
    names = [point.name for point in points]
    axes.set_xticks(range(len(points)), names, rotation=30, ha="right", fontsize=8)


def _draw_series(
    axes: Axes, members: Sequence[tuple[float | None, Point]], label: str, ink: str, line: str = "-"
) -> None:
    own = sorted((x, point.mean, point.deviation) for x, point in members if x is not None and point.mean is not None)
    if own:
        x, mean, deviation = zip(*own, strict=True)
        axes.errorbar(
            x,
            mean,
            deviation,
            marker="o",
            linestyle=line,
            color=ink,
            markersize=5,
            elinewidth=1,
            capsize=2,
            label=label,
        )
    published = sorted((x, point.published) for x, point in members if x is not None and point.published is not None)
    if published:
        style = "--" if line else ""
        axes.plot(
            *zip(*published, strict=True),
            marker="o",
            linestyle=style,
            linewidth=1,
            color=ink,
            markerfacecolor="white",
            alpha=0.7,
            label=f"{label}, published" if line else "published",
        )


def _series(points: Sequence[Point]) -> list[str]:
    return list(dict.fromkeys(point.series for point in points))
