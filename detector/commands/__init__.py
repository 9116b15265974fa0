"""The commands: a file each, with its options and what it does. What is costly to import, they import when they run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ..config import Config
from . import assign_view, compare, data_check, demo, eval, export, predict, sweep, train
from .options import of_checkpoint, of_config

SECTIONS = tuple(field.name for field in fields(Config))
# Of the section train, evaluations read where the network runs and how its images lie in memory.
PLACE = ("train.device", "train.channels_last")


@dataclass(frozen=True)
class Command:
    """What the command line needs to know of a command."""

    arguments: type[Any]
    """A dataclass, whose docstring describes the command; its ``settings`` is the configuration."""
    run: Callable[..., object]
    """Takes the arguments: one of them, or one for each configuration."""
    source: Callable[[Any], Config | Sequence[Config]]
    """Where the configuration comes from that the options override, by the arguments that were given."""
    sections: tuple[str, ...]
    """What the command reads of the configuration, and so what its help shows: sections, and options of others."""


COMMANDS = {
    "train": Command(train.TrainArguments, train.run, train.source, SECTIONS),
    "eval": Command(eval.EvalArguments, eval.run, of_checkpoint, ("data", "model", *PLACE, "postprocess", "eval")),
    "predict": Command(
        predict.PredictArguments,
        predict.run,
        of_checkpoint,
        ("data", "model", *PLACE, "postprocess", "eval.batch_size"),
    ),
    "compare": Command(
        compare.CompareArguments,
        compare.run,
        compare.source,
        ("data", *PLACE, "postprocess", "eval.batch_size", "eval.limit"),
    ),
    "assign-view": Command(assign_view.AssignViewArguments, assign_view.run, assign_view.source, ("data", "assign")),
    "data check": Command(data_check.DataCheckArguments, data_check.run, data_check.source, ("data",)),
    "sweep": Command(sweep.SweepArguments, sweep.run, sweep.sources, SECTIONS),
    "export": Command(export.ExportArguments, export.run, of_checkpoint, ("data", "model", "postprocess")),
    "demo": Command(demo.DemoArguments, demo.run, of_config, SECTIONS),
}
