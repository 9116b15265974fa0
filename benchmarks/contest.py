"""What every benchmark shares: contestants that take turns, the options of a run, and the file that it leaves."""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from . import environment, measure

# Other processes may take this much of a core before the figures are called noisy.
QUIET_LOAD = 0.15


class MismatchError(RuntimeError):
    """A contestant's result is not what it must be."""


@dataclass(frozen=True)
class Contestant:
    """One way to do the work of a benchmark; ``call`` takes what the benchmark hands to each."""

    name: str
    call: Callable[..., Any]


@dataclass(frozen=True)
class Settings:
    """How long to measure."""

    device: torch.device
    rounds: int = 15
    seconds_per_contestant: float = 20.0
    """Once its samples took this long, a contestant leaves the rounds, after at least ``least_rounds``."""
    least_rounds: int = 3


@dataclass
class Entry:
    """A contestant in the rounds of one workload, verified before."""

    name: str
    calls: list[measure.Call]
    """One per input set."""
    estimate: float
    """Seconds of a call."""
    seconds: list[float | None] = field(default_factory=list)
    """One sample a round; None once it left."""
    spent: float = 0.0

    def take_sample(self, round_index: int, settings: Settings) -> None:
        if round_index >= settings.least_rounds and self.spent >= settings.seconds_per_contestant:
            self.seconds.append(None)
            return
        begin = time.perf_counter()
        count = measure.calls_per_sample(self.estimate)
        rotating = itertools.islice(itertools.cycle(self.calls), round_index, None)
        if count > 1:
            self.calls[round_index % len(self.calls)]()  # whatever ran before left its data in the caches
        self.seconds.append(measure.sample(list(itertools.islice(rotating, count)), settings.device))
        self.spent += time.perf_counter() - begin


def entry_of(name: str, call: measure.Call, device: torch.device) -> Entry:
    """An entry with one input set. The call was made before, so that its time is that of a warm one."""
    return Entry(name, [call], estimate=measure.sample([call], device))


def take_turns(entries: Sequence[Entry], settings: Settings) -> list[float]:
    """Fill in the samples of all entries, in interleaved rounds. Returns the load of other processes in each round."""
    meter, loads = measure.LoadMeter(), []
    for round_index in range(settings.rounds):
        for entry in entries:
            entry.take_sample(round_index, settings)
        loads.append(meter.others())
    return loads


class Record:
    """The document of a run. It is stored after each workload, so that a killed run leaves what it measured."""

    def __init__(self, path: Path | None, environment: dict[str, object]) -> None:
        self.path = path
        self.document: dict[str, Any] = {"environment": environment}

    def append(self, key: str, result: dict[str, Any]) -> None:
        """Add the result of one workload to the list of that key."""
        self.document.setdefault(key, []).append(result)
        self.store()

    def update(self, **facts: Any) -> None:
        self.document.update(facts)
        self.store()

    def store(self) -> None:
        if self.path is not None:
            partial = self.path.with_name(f"{self.path.name}.partial")
            partial.write_text(json.dumps(self.document, indent=1) + "\n", encoding="utf-8")
            partial.replace(self.path)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that every benchmark has."""
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, help="of torch on the CPU; by default torch's own choice")
    parser.add_argument("--json", type=Path, metavar="PATH", help="store what is measured, and the environment")


def run(
    options: argparse.Namespace,
    arguments: Sequence[str],
    hold: Callable[[argparse.Namespace, Record], None],
    render: Callable[[dict[str, Any]], str],
) -> int:
    """Hold a contest and print its tables; the exit status is 1 if a contestant's result is wrong."""
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    record = Record(options.json, environment.describe(torch.device(options.device), list(arguments)))
    try:
        hold(options, record)
    except MismatchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(render(record.document), end="")
    _warn_of_load(record.document)
    return 0


def _warn_of_load(document: dict[str, Any]) -> None:
    results = [document, *document.get("results", []), *document.get("sweep", [])]
    load = statistics.median(load for result in results for load in result.get("other_load", []))
    if load > QUIET_LOAD:
        print(
            f"warning: other processes used {load:.2f} cores meanwhile; the times are too long",
            file=sys.stderr,
        )
