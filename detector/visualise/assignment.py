"""The assignment as a picture: which points of each level learn which box, rules side by side."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from pseudo_iou_ops import (
    BACKGROUND,
    IGNORED,
    Assignment,
    AssignmentLike,
    AssignRule,
    Atss,
    PointPredictions,
    SimOta,
    SoftLabel,
    TaskAligned,
    TopKAssignment,
    assign,
    centerness,
    level_points,
    make_assigner,
    pseudo_iou,
    scaled_box,
)
from pseudo_iou_ops.rule import METRIC_TRAITS

from ..assign_config import Rule
from ..model.backbone import level_shapes
from .palette import GREY, INK, WRONG, add_box, colour, pyplot, show_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEAT = "YlGnBu"
METRIC_TITLES = {
    "pseudo_iou": "Pseudo-IoU > {:g}",
    "centerness": "centerness > {:g}",
    "scaled_box": "scaled box, s = {:g}",
    "center_radius": "center radius {:g} strides",
    "none": "every point inside a box",
}
ATSS_METRICS = {"anchor_iou": "anchor IoU", "pseudo_iou": "Pseudo-IoU", "product": "Pseudo-IoU x anchor IoU"}
PANEL_WIDTH = 3.9  # inches
# Height of a panel in its widths: a flatter image is stretched, so that labels fit, and a taller one is drawn smaller.
FLATTEST, TALLEST = 0.3, 4.0
CONTOUR_SAMPLES = 160  # a side


class Scene(NamedTuple):
    """An image, its boxes, and what a network predicts of it.

    ``image`` (3, H, W) uint8, ``boxes`` (M, 4) x1 y1 x2 y2 in pixels, ``ignore_boxes`` (K, 4) likewise, ``labels`` (M,)
    int64; ``predictions`` as a head leaves them, distances in pixels and logits, for rules that read them.
    """

    image: Tensor
    boxes: Tensor
    ignore_boxes: Tensor
    labels: Tensor
    predictions: PointPredictions | None = None


class Level(NamedTuple):
    """One level's part of a dense result."""

    name: str
    stride: int
    shape: tuple[int, int]
    points: slice


class Column(NamedTuple):
    """What a rule makes of a scene."""

    name: str
    rule: Rule
    result: AssignmentLike
    values: Tensor
    """(P,) what a point is judged by, with the box it belongs to: the metric of a point rule at every point inside a
    box, the value of the match where a box chose the point; NaN elsewhere."""
    inside: Tensor
    """(P,) bool: the points inside a box, in the range of their level if the rule has ranges."""


def draw_assignment(
    scene: Scene, rules: Sequence[tuple[str, Rule]], strides: Sequence[int], shown: Sequence[int], file: Path
) -> list[AssignmentLike]:
    """Write a picture with one column per rule and one row per level, after a column with the image.

    A panel shows the metric's value of the box that each point belongs to, the line where a box's value
    reaches the threshold, positive points in the colour of their box, ignored points hatched, and boxes that
    no point of any level learns in red. Where boxes choose points, the value is that of the match.

    Args:
        scene: the image and its boxes.
        rules: a name and a rule per column; a rule that reads predictions needs the scene's.
        strides: of all levels, P3 first: the assignment sees all of them, of the image padded as in training.
        shown: the levels to draw, as positions in ``strides``.
        file: where to write; the ending names the format.

    Returns:
        The assignment of each rule.
    """
    plt = pyplot()
    height, width = scene.image.shape[-2:]
    levels = _levels(height, width, strides)
    panel_height = PANEL_WIDTH * min(TALLEST, max(FLATTEST, height / width))
    figure, grid = plt.subplots(
        len(shown),
        len(rules) + 1,
        squeeze=False,
        figsize=(PANEL_WIDTH * (len(rules) + 1) + 0.9, panel_height * len(shown) + 0.75),
        layout="constrained",
    )
    figure.get_layout_engine().set(w_pad=0.04, h_pad=0.08, wspace=0.02, hspace=0.02)
    _draw_image_column(grid[:, 0], scene)
    stretch = max(1.0, FLATTEST * width / height)
    grid[0, 0].set_aspect(stretch)
    backdrop = _backdrop(scene.image)
    columns = [_column(scene, name, rule, levels) for name, rule in rules]
    for number, column in enumerate(columns, start=1):
        grid[0, number].set_title(_title(column), fontsize=10, pad=6)
        for row, position in enumerate(shown):
            axes, level = grid[row, number], levels[position]
            show_image(axes, backdrop, width, height)
            heat = _draw_level(axes, scene, column, level)
            axes.set_aspect(stretch)
            if number == 1:
                axes.set_ylabel(f"{level.name}   stride {level.stride}", fontsize=10, color=INK)
    bar = figure.colorbar(heat, ax=grid, shrink=min(1.0, 2.4 / (panel_height * len(shown))), pad=0.012, aspect=24)
    judged = dict.fromkeys("metric" if isinstance(rule, AssignRule) else "match" for _, rule in rules)
    bar.set_label(f"value of the {' or '.join(judged)}", fontsize=9)
    bar.outline.set_visible(False)
    figure.savefig(file, dpi=150, facecolor="white")
    plt.close(figure)
    return [column.result for column in columns]


def _draw_image_column(column: Sequence[Axes], scene: Scene) -> None:
    """The image with its boxes on top, and what the marks mean below or beneath it."""
    height, width = scene.image.shape[-2:]
    for axes in column[1:]:
        axes.set_axis_off()
    show_image(column[0], scene.image.permute(1, 2, 0).numpy(), width, height)
    column[0].set_title("image and its boxes", fontsize=10, pad=6)
    for row, box in enumerate(scene.boxes.tolist()):
        add_box(column[0], box, edgecolor="white", linewidth=3.0, alpha=0.8)
        add_box(column[0], box, edgecolor=colour(row), linewidth=1.6)
    _draw_ignore_regions(column[0], scene)
    if len(column) > 1:
        column[1].legend(handles=_legend(), loc="upper left", frameon=False, fontsize=9, labelspacing=0.8)


def _legend() -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    point: dict[str, Any] = {"marker": "o", "linestyle": "none"}
    return [
        Line2D([], [], color=colour(0), markersize=7, **point, label="positive point, in the colour of its box"),
        Line2D([], [], color=INK, alpha=0.55, markersize=2.5, **point, label="background point inside a box"),
        Line2D([], [], color=colour(0), linewidth=1.0, linestyle="--", label="where the metric is the threshold"),
        Patch(facecolor="#BFBFBF", edgecolor=GREY, hatch="//////", linewidth=0, label="ignored point"),
        Line2D([], [], color=GREY, linewidth=1.4, linestyle=":", label="region to ignore (crowd, difficult)"),
        Line2D([], [], color=WRONG, linewidth=1.8, linestyle=(0, (4, 2)), label="box without a positive point"),
    ]


def _levels(height: int, width: int, strides: Sequence[int]) -> list[Level]:
    levels, first = [], 0
    for position, (stride, shape) in enumerate(zip(strides, level_shapes(height, width), strict=True)):
        count = shape[0] * shape[1]
        levels.append(Level(f"P{position + 3}", stride, shape, slice(first, first + count)))
        first += count
    return levels


def _column(scene: Scene, name: str, rule: Rule, levels: list[Level]) -> Column:
    shapes, strides = [level.shape for level in levels], [level.stride for level in levels]
    targets = scene.boxes, scene.labels, torch.tensor([0, len(scene.boxes)])
    result = make_assigner(strides, rule, box_format="ltrb", score_kind="logits")(
        shapes,
        *targets,
        predictions=scene.predictions,
        ignore_boxes=scene.ignore_boxes,
        ignore_offsets=torch.tensor([0, len(scene.ignore_boxes)]),
    )
    owner = assign(*targets, shapes, strides, _without_threshold(rule))
    inside = owner.matched[0] >= 0
    if isinstance(rule, AssignRule):
        return Column(name, rule, result, _metric_values(rule, owner).masked_fill(~inside, math.nan), inside)
    assert isinstance(result, TopKAssignment)
    return Column(name, rule, result, result.iou[0].masked_fill(result.matched[0] < 0, math.nan), inside)


def _metric_values(rule: AssignRule, owner: Assignment) -> Tensor:
    """(P,) the metric of each point with its box; one shade for a metric without a value."""
    value = METRIC_TRAITS[rule.metric].value
    if value is None:
        return torch.full_like(owner.pseudo_iou[0], 0.45)
    return value(*owner.ltrb[0].unbind(-1))


def _without_threshold(rule: Rule) -> AssignRule:
    """The rule that gives every inside, in-range point to the box it would be judged by."""
    if not isinstance(rule, AssignRule):
        return AssignRule(metric="none", offset=rule.offset)
    open_rule = dataclasses.replace(rule, ignore_threshold=None, normalize_by_stride=False)
    traits = METRIC_TRAITS[rule.metric]
    if traits.value is None:
        return dataclasses.replace(open_rule, metric="none")
    return dataclasses.replace(open_rule, threshold=0.0 if traits.larger_is_stricter else 1.0)


def _draw_level(axes: Axes, scene: Scene, column: Column, level: Level) -> Any:
    rows, columns = level.shape
    low = (column.rule.offset - 0.5) * level.stride
    top, bottom, high = low, low + rows * level.stride, low + columns * level.stride
    heat = axes.imshow(
        column.values[level.points].reshape(rows, columns).numpy(),
        extent=(low, high, bottom, top),
        cmap=HEAT,
        vmin=0,
        vmax=1,
        alpha=0.66,
        interpolation="nearest",
    )
    _draw_ignored(axes, scene, column, level)
    _draw_boxes(axes, scene, column, level)
    _draw_points(axes, scene, column, level)
    count = int((column.result.matched[0, level.points] >= 0).sum())
    axes.text(
        0.015,
        0.025,
        f"{count} positive point{'' if count == 1 else 's'}",
        transform=axes.transAxes,
        fontsize=7.5,
        va="bottom",
        bbox={"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": "none", "alpha": 0.85},
    )
    height, width = scene.image.shape[-2:]
    axes.set(xlim=(0, width), ylim=(height, 0))
    return heat


def _draw_boxes(axes: Axes, scene: Scene, column: Column, level: Level) -> None:
    for row, box in enumerate(scene.boxes.tolist()):
        if int(column.result.pos_per_box[row]) == 0:
            add_box(axes, box, edgecolor=WRONG, linewidth=1.8, linestyle=(0, (4, 2)))
            continue
        add_box(axes, box, edgecolor="white", linewidth=2.6, alpha=0.8)
        add_box(axes, box, edgecolor=colour(row), linewidth=1.4)
        if isinstance(column.rule, AssignRule):
            _draw_contour(axes, scene.boxes[row], column.rule, level.stride, colour(row))


def _draw_contour(axes: Axes, box: Tensor, rule: AssignRule, stride: int, edge: str) -> None:
    """The line around the points of the plane that pass the threshold for a box."""
    if rule.metric == "none":
        return
    x1, y1, x2, y2 = box.tolist()
    x, y = (torch.linspace(low, high, CONTOUR_SAMPLES) for low, high in ((x1, x2), (y1, y2)))
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    values, threshold = _plane_values(points, box, rule, stride)
    if float(values.min()) < threshold < float(values.max()):
        axes.contour(x.numpy(), y.numpy(), values.numpy(), [threshold], colors=edge, linewidths=1.0, linestyles="--")


def _plane_values(points: Tensor, box: Tensor, rule: AssignRule, stride: int) -> tuple[Tensor, float]:
    """A value per point, and the level above which it passes."""
    if rule.metric == "pseudo_iou":
        return pseudo_iou(points, box), rule.threshold
    if rule.metric == "centerness":
        return centerness(points, box), rule.threshold
    if rule.metric == "scaled_box":
        return scaled_box(points, box), 1 - rule.threshold
    center = (box[:2] + box[2:]) / 2
    return -(points - center).abs().amax(-1) / stride, -rule.threshold


def _draw_points(axes: Axes, scene: Scene, column: Column, level: Level) -> None:
    points = level_points([level.shape], [level.stride], column.rule.offset)
    matched = column.result.matched[0, level.points]
    spacing = level.stride / scene.image.shape[-1] * PANEL_WIDTH * 72  # in typographic points
    diameter = min(max(0.5 * spacing, 1.2), 7.0)
    failed = (matched == BACKGROUND) & column.inside[level.points]
    axes.scatter(*_xy(points[failed]), s=(0.3 * diameter) ** 2, c=INK, alpha=0.55, linewidths=0)
    for row in range(len(scene.boxes)):
        own = points[matched == row]
        if len(own):
            axes.scatter(
                *_xy(own),
                s=diameter**2,
                c=colour(row),
                edgecolors="white",
                linewidths=0.12 * diameter,
                zorder=3,
            )


def _xy(points: Tensor) -> tuple[Any, Any]:
    x, y = points.unbind(-1)
    return x.numpy(), y.numpy()


def _draw_ignored(axes: Axes, scene: Scene, column: Column, level: Level) -> None:
    _draw_ignore_regions(axes, scene)
    ignored = column.result.matched[0, level.points] == IGNORED
    half = level.stride / 2
    for x, y in level_points([level.shape], [level.stride], column.rule.offset)[ignored].tolist():
        add_box(
            axes,
            [x - half, y - half, x + half, y + half],
            fill=True,
            facecolor=(0.75, 0.75, 0.75, 0.8),
            edgecolor=GREY,
            hatch="//////",
            linewidth=0,
        )


def _draw_ignore_regions(axes: Axes, scene: Scene) -> None:
    for box in scene.ignore_boxes.tolist():
        add_box(axes, box, edgecolor="white", linewidth=2.6, alpha=0.7)
        add_box(axes, box, edgecolor=GREY, linewidth=1.4, linestyle=":")


def _title(column: Column) -> str:
    """The rule's name, what it does unless the name says it, and what came of it."""
    result = column.result
    without, boxes = int((result.pos_per_box == 0).sum()), len(result.pos_per_box)
    missed = f"{without} of {boxes} boxes without" if boxes else "no boxes"
    names = dict.fromkeys((column.name, rule_title(column.rule)))
    return "\n".join((*names, f"{int(result.num_pos.sum())} positives, {missed}"))


def rule_title(rule: Rule) -> str:
    """A rule in a few words."""
    if isinstance(rule, Atss):
        return f"ATSS by {ATSS_METRICS[rule.metric]}, {rule.k} closest a level"
    if isinstance(rule, TaskAligned):
        overlap = {"iou": "IoU", "ciou": "CIoU"}[rule.iou]
        return f"task-aligned, {rule.k} best a box by $p^{{{rule.alpha:g}}}\\,${overlap}$^{rule.beta}$"
    if isinstance(rule, SimOta):
        region = {"box_or_center": " or box", "center": ""}[rule.region]
        return f"SimOTA, center of {rule.radius:g} strides{region}"
    if isinstance(rule, SoftLabel):
        return f"dynamic soft labels, {rule.radius:g} strides about the center"
    title = METRIC_TITLES[rule.metric].format(rule.threshold)
    if rule.ignore_threshold is not None:
        title += f" (ignored from {rule.ignore_threshold:g})"
    return title


def _backdrop(image: Tensor) -> Any:
    """The image in pale grey, (H, W, 3) in [0, 1], so that colours on it keep their meaning."""
    grey = image.float().mean(0) / 255
    return (0.45 + 0.55 * grey).unsqueeze(-1).expand(-1, -1, 3).numpy()
