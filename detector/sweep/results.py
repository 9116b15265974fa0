"""The finished runs of a sweep, in a file that is also its result: results.csv."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import Config, config_to_dict
from ..errors import UserError

# Where the data lies and what computes it does not make another run.
_PLACES = {
    "data": ("root", "workers"),
    "model": ("weights", "feature_cache"),
    "train": ("device", "seed", "log_every", "save_every"),
}
# Before and after the columns of the figures.
_FIRST_COLUMNS = ("cell", "seed")
_LAST_COLUMNS = ("kept_points", "boxes_without_positive", "steps", "seconds", "commit", "settings")


@dataclass(frozen=True)
class Result:
    """One finished run; shares and figures in percent."""

    cell: str
    seed: int
    kept_points: float | None
    """None, and the next too: the rule reads predictions."""
    boxes_without_positive: float | None
    steps: int
    seconds: float
    """Of training, whatever it was interrupted by; loading the data set, saving and evaluating do not count."""
    commit: str
    """Of the sources, by :func:`pseudo_iou_ops.env.source_commit`; empty where they are installed."""
    settings: str
    """:func:`settings_digest` of its configuration."""
    figures: dict[str, float]


def settings_digest(config: Config) -> str:
    """A short name for everything that decides what is learned, the seed and file places apart."""
    values: dict[str, Any] = config_to_dict(config)
    for section, names in _PLACES.items():
        for name in names:
            del values[section][name]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def read_results(file: Path) -> list[Result]:
    """The rows of results.csv, none if there is no file; raises a UserError that names a broken one."""
    if not file.exists():
        return []
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            return [_result(row) for row in csv.DictReader(stream)]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{file}: not the results of a sweep: {type(error).__name__} {error}") from None


def write_results(file: Path, results: Sequence[Result], metrics: Sequence[str]) -> None:
    """Write all rows at once: the file holds old or new content, never a part."""
    temporary = file.with_suffix(".partial")
    with temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, (*_FIRST_COLUMNS, *metrics, *_LAST_COLUMNS), lineterminator="\n")
        writer.writeheader()
        for result in results:
            row = {name: getattr(result, name) for name in (*_FIRST_COLUMNS, *_LAST_COLUMNS)}
            writer.writerow({**row, **{name: result.figures[name] for name in metrics}})
    os.replace(temporary, file)


def _result(row: dict[str, str]) -> Result:
    own = (*_FIRST_COLUMNS, *_LAST_COLUMNS)
    figures = {name: float(value) for name, value in row.items() if name not in own}
    return Result(
        row["cell"],
        int(row["seed"]),
        _share(row["kept_points"]),
        _share(row["boxes_without_positive"]),
        int(row["steps"]),
        float(row["seconds"]),
        row["commit"],
        row["settings"],
        figures,
    )


def _share(text: str) -> float | None:
    """A percentage, which csv writes as an empty field where it is None."""
    return float(text) if text else None
