"""What the options of several commands have in common."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Protocol

import tyro

from ..config import Config, load_config

DEMO = Path(__file__).parents[1] / "configs" / "demo.yaml"

# The configuration's own sections are options of every command: --train.iterations, --assign.threshold, ...
Settings = Annotated[Config, tyro.conf.arg(name="")]


class HasConfig(Protocol):
    @property
    def config(self) -> Path: ...


class HasCheckpoint(Protocol):
    @property
    def checkpoint(self) -> Path: ...


def demo_config(settings: Config) -> Config:
    """The demo's configuration; its classes are those of its own data set, not of one that the options name."""
    demo = load_config(DEMO)
    if not settings.data.train.annotations:
        return demo
    return dataclasses.replace(demo, data=dataclasses.replace(demo.data, classes=()))


def of_config(arguments: HasConfig) -> Config:
    """The configuration in the file that ``--config`` names."""
    return load_config(arguments.config)


def of_checkpoint(arguments: HasCheckpoint) -> Config:
    """The configuration that ``--checkpoint`` was trained with."""
    return trained_config(arguments.checkpoint)


def trained_config(checkpoint: Path) -> Config:
    from ..engine.checkpoint import checkpoint_config, load_checkpoint

    return checkpoint_config(load_checkpoint(checkpoint), checkpoint)
