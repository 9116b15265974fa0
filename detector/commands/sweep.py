"""The command ``sweep``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..config import Config
from ..errors import UsageError
from .options import Settings

if TYPE_CHECKING:
    from ..sweep import Sweep


@dataclass(frozen=True)
class SweepArguments:
    """Train and score the cells of a table one after another, resuming what is unfinished."""

    table: Literal["1a", "1b", "1c", "2", "3", "4", "authors_code"] | None = None
    """A table of the paper, or the authors' README's figures."""
    file: Path | None = None
    """A sweep of your own, such as detector/configs/sweeps/bccd_cpu.yaml."""
    out: Path | None = None
    """Folder of the results; runs/table<table> or runs/<name of the file> if not given."""
    only: tuple[str, ...] = ()
    """Names of cells to run; all if not given."""
    seeds: tuple[int, ...] = ()
    """Each cell is trained once for each; the sweep's own if not given."""
    time_limit: float | None = None
    """Seconds after which the run at work is saved and the sweep stops; the same command goes on."""
    processes: int = 1
    """Processes of each training, one a GPU."""
    settings: Settings = field(default_factory=Config)


def sources(arguments: SweepArguments) -> Sequence[Config]:
    """The configuration of each cell."""
    from ..sweep import cell_config

    return [cell_config(cell) for cell in _sweep(arguments).cells]


def run(*cells: SweepArguments) -> None:
    """Run the cells: the same arguments for each, but for the settings."""
    from ..sweep import run_sweep

    arguments = cells[0]
    name = f"table{arguments.table}" if arguments.file is None else arguments.file.stem
    out = arguments.out or Path("runs") / name
    configs = [cell.settings for cell in cells]
    run_sweep(_sweep(arguments), configs, out, arguments.time_limit, arguments.processes)


def _sweep(arguments: SweepArguments) -> Sweep:
    from ..sweep import chosen, load_sweep, load_table

    if arguments.table is not None and arguments.file is None:
        sweep = load_table(arguments.table)
    elif arguments.file is not None and arguments.table is None:
        sweep = load_sweep(arguments.file)
    else:
        raise UsageError("--table, --file: expected one of them")
    return chosen(sweep, arguments.only, arguments.seeds)
