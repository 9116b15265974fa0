"""A sweep's results beside the published figures, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from .plan import Sweep
from .results import Result
from .seeds import mean_and_deviation, paired_difference

NOT_RUN = "not run"
READS_PREDICTIONS = "reads predictions"


def markdown_table(sweep: Sweep, results: Sequence[Result]) -> str:
    """One line a cell: published figures, own ones over the seeds, the difference to the first cell, what is kept."""
    runs = {cell.name: [result for result in results if result.cell == cell.name] for cell in sweep.cells}
    columns = [
        *_published(sweep),
        *_figures(sweep, runs),
        *_difference(sweep, runs),
        ("runs", {name: str(len(own)) for name, own in runs.items()}),
        ("kept points", {name: _share(own[0].kept_points) for name, own in runs.items() if own}),
        ("boxes without positive", {name: _share(own[0].boxes_without_positive) for name, own in runs.items() if own}),
    ]
    header = ["cell", *(title for title, _ in columns)]
    rows = [[cell.name, *(texts.get(cell.name, "") for _, texts in columns)] for cell in sweep.cells]
    lines = ("| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *rows])
    return "\n".join([f"# {sweep.title}", "", _note(sweep, runs), "", *lines, ""])


# The title of a column, and its text for the cells that have one.
_Column = tuple[str, dict[str, str]]
_Runs = dict[str, list[Result]]


def _published(sweep: Sweep) -> list[_Column]:
    named = [name for name in sweep.metrics if any(name in cell.published for cell in sweep.cells)]
    return [
        (f"{name}, published", {c.name: f"{c.published[name]:.1f}" for c in sweep.cells if name in c.published})
        for name in named
    ]


def _figures(sweep: Sweep, runs: _Runs) -> list[_Column]:
    return [
        (name, {cell: _figure([r.figures[name] for r in own]) for cell, own in runs.items()}) for name in sweep.metrics
    ]


def _difference(sweep: Sweep, runs: _Runs) -> list[_Column]:
    """To the first cell, by the first metric; no column unless cells share two seeds."""
    metric, first = sweep.metrics[0], sweep.cells[0].name
    by_seed = {cell: {result.seed: result.figures[metric] for result in own} for cell, own in runs.items()}
    texts = {}
    for cell, values in by_seed.items():
        found = paired_difference(values, by_seed[first]) if cell != first else None
        if found is not None:
            texts[cell] = f"{found.mean:+.1f} ± {found.half_interval:.1f}"
    return [(f"{metric} over {first}", texts)] if texts else []


def _note(sweep: Sweep, runs: _Runs) -> str:
    finished = {(result.cell, result.seed) for own in runs.values() for result in own}
    missing = {(cell.name, seed) for cell in sweep.cells for seed in sweep.seeds} - finished
    commits = sorted({result.commit for own in runs.values() for result in own} - {""})
    sentences = [
        f"{len(finished)} runs finished, {len(missing)} {NOT_RUN}.",
        "Figures in percent, mean ± standard deviation over seeds.",
        "Kept points: of the training set's points inside boxes, those that stay positive.",
    ]
    if _difference(sweep, runs):
        sentences.append("The difference is taken seed by seed, and is given with its 95% confidence interval.")
    if commits:
        sentences.append(f"Commit {', '.join(commits)}.")
    return " ".join(sentences)


def _share(percent: float | None) -> str:
    return READS_PREDICTIONS if percent is None else f"{percent:.1f}"


def _figure(values: Sequence[float]) -> str:
    if not values:
        return NOT_RUN
    mean, deviation = mean_and_deviation(values)
    return f"{mean:.1f}" if deviation is None else f"{mean:.1f} ± {deviation:.1f}"
