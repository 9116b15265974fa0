"""A sweep's results beside the published figures, as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from .plan import Cell, Sweep
from .results import Result

NOT_RUN = "not run"


def markdown_table(sweep: Sweep, results: Sequence[Result]) -> str:
    """One line a cell: published figures, own ones as mean and deviation over the seeds, what the rule keeps."""
    published = [name for name in sweep.metrics if any(name in cell.published for cell in sweep.cells)]
    header = ["cell", *(f"{name}, published" for name in published), *sweep.metrics]
    header += ["runs", "kept points", "boxes without positive"]
    runs = {cell.name: [result for result in results if result.cell == cell.name] for cell in sweep.cells}
    rows = [_row(cell, published, sweep.metrics, runs[cell.name]) for cell in sweep.cells]
    lines = ("| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *rows])
    finished = {(result.cell, result.seed) for own in runs.values() for result in own}
    missing = {(cell.name, seed) for cell in sweep.cells for seed in sweep.seeds} - finished
    note = (
        f"{len(finished)} runs finished, {len(missing)} {NOT_RUN}. Figures in percent, mean ± standard deviation over "
        "seeds. Kept points: of the training set's points inside boxes, those that stay positive."
    )
    return "\n".join([f"# {sweep.title}", "", note, "", *lines, ""])


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """The sample's standard deviation, None of a single value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def _row(cell: Cell, published: Sequence[str], metrics: Sequence[str], results: Sequence[Result]) -> list[str]:
    row = [cell.name, *(f"{cell.published[name]:.1f}" if name in cell.published else "" for name in published)]
    if not results:
        return row + [NOT_RUN] * len(metrics) + ["0", "", ""]
    row += [_figure([result.figures[name] for result in results]) for name in metrics]
    return [
        *row,
        str(len(results)),
        f"{results[0].kept_points:.1f}",
        f"{results[0].boxes_without_positive:.1f}",
    ]


def _figure(values: Sequence[float]) -> str:
    mean, deviation = mean_and_deviation(values)
    return f"{mean:.1f}" if deviation is None else f"{mean:.1f} ± {deviation:.1f}"
