"""What a sweep runs: its cells, and the figures that were published of them."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import (
    Config,
    bundled,
    check_config,
    config_from_dict,
    config_to_dict,
    dataclass_from_dict,
    load_config,
    merged,
    read_yaml,
)
from ..errors import UsageError

TABLES_FILE = Path(__file__).parents[1] / "configs" / "paper" / "tables.yaml"
TABLES = ("1a", "1b", "1c", "2", "3", "4", "authors_code")


@dataclass(frozen=True)
class Cell:
    """One line of the table: a training and its score."""

    name: str
    config: str = ""
    """A configuration, relative to the sweep's file; the sweep's if not given."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Sections and options on top of the configuration."""
    published: dict[str, float] = field(default_factory=dict)
    """Figures that others printed, in percent, by the name of the metric."""

    @property
    def slug(self) -> str:
        """The name as a file name."""
        return re.sub(r"[^a-z0-9.]+", "_", self.name.lower()).strip("_")


@dataclass(frozen=True)
class Sweep:
    """Cells that are compared."""

    title: str
    metrics: tuple[str, ...]
    """Figures of an evaluation, the first one drawn."""
    cells: tuple[Cell, ...]
    config: str = ""
    seeds: tuple[int, ...] = (0,)
    """Every cell is trained once for each."""


def load_table(name: str) -> Sweep:
    """One of ``TABLES``: the paper's, or the authors' README's."""
    return _sweep(read_yaml(TABLES_FILE)[name], TABLES_FILE.parent, f"{TABLES_FILE}: {name}")


def load_sweep(file: Path) -> Sweep:
    """Read a sweep from YAML; raises a UsageError that names the file for an unknown key or a missing one."""
    file = bundled(file)
    return _sweep(read_yaml(file), file.parent, str(file))


def cell_config(cell: Cell) -> Config:
    """The cell's configuration with its settings, checked."""
    values = merged(config_to_dict(load_config(Path(cell.config))), cell.settings)
    config = config_from_dict(values, source=f"cell {cell.name!r}")
    check_config(config)
    return config


def chosen(sweep: Sweep, names: Sequence[str], seeds: Sequence[int]) -> Sweep:
    """The sweep with the named cells alone and with these seeds; without any, with all of its own."""
    known = [cell.name for cell in sweep.cells]
    for name in names:
        if name not in known:
            raise UsageError(f"--only: no cell {name!r}; expected some of {', '.join(map(repr, known))}")
    cells = tuple(cell for cell in sweep.cells if not names or cell.name in names)
    return dataclasses.replace(sweep, cells=cells, seeds=tuple(seeds) or sweep.seeds)


def _sweep(values: dict[str, Any], folder: Path, source: str) -> Sweep:
    sweep = dataclass_from_dict(Sweep, values, source)
    if not (sweep.metrics and sweep.cells and sweep.seeds):
        raise UsageError(f"{source}: metrics, cells, seeds: expected at least one of each")
    slug, count = Counter(cell.slug for cell in sweep.cells).most_common(1)[0]
    if count > 1:
        raise UsageError(f"{source}: cells: expected names of their own, got {count} like {slug!r}")
    cells = []
    for cell in sweep.cells:
        if not (cell.config or sweep.config):
            raise UsageError(f"{source}: cell {cell.name!r}: expected a config, its own or the sweep's")
        cells.append(dataclasses.replace(cell, config=str(folder / (cell.config or sweep.config))))
    return dataclasses.replace(sweep, cells=tuple(cells))
