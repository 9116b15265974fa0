"""What every benchmark shares: contestants that take turns, the options of a run, and the file that it leaves."""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch

from . import environment, measure

# Other processes may take this much of a core before the figures are called noisy.
QUIET_LOAD = 0.15


# What tells the results of one file apart.
IDENTITY = ("workload", "metric", "images", "layout", "dtype", "library")


class MismatchError(RuntimeError):
    """A contestant's result is not what it must be."""


@contextmanager
def failure_noted(result: dict[str, Any]) -> Iterator[None]:
    """A contestant that fails is an entry with its error; the others go on."""
    try:
        yield
    except Exception as error:
        result["error"] = _one_line(error)
        print(f"error: {result['name']}: {result['error']}", file=sys.stderr, flush=True)


def in_a_graph(calls: Sequence[measure.Call]) -> dict[str, Any]:
    """``graph_seconds``, or ``graph_error`` where the calls can not be captured: they may still be timed one by one."""
    try:
        return {"graph_seconds": measure.graph_seconds(calls)}
    except Exception as error:
        return {"graph_error": _one_line(error)}


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"


@dataclass(frozen=True)
class Contestant:
    """One way to do the work of a benchmark; ``call`` takes what the benchmark hands to each."""

    name: str
    call: Callable[..., Any]


def compiled(name: str, call: Callable[..., Any]) -> Contestant:
    """Through torch.compile, which is imported when the contestant is called first."""

    @cache
    def inner() -> Callable[..., Any]:
        return torch.compile(call, dynamic=False)

    return Contestant(name, lambda *arguments: inner()(*arguments))


def forget_compiled() -> None:
    """What torch.compile keeps from one workload is not for the next; where nothing was compiled it stays unloaded."""
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()


AnyContestant = TypeVar("AnyContestant", bound=Contestant)


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
    result: dict[str, Any] = field(init=False)
    """Its part of the document: ``seconds`` and, if a sample fails, ``error``."""

    def __post_init__(self) -> None:
        self.report_into({"name": self.name})

    def report_into(self, result: dict[str, Any]) -> None:
        self.result = result
        result["seconds"] = self.seconds

    def take_sample(self, round_index: int, settings: Settings) -> None:
        has_left = round_index >= settings.least_rounds and self.spent >= settings.seconds_per_contestant
        if has_left or "error" in self.result:
            self.seconds.append(None)
            return
        with failure_noted(self.result):
            self.seconds.append(self._sample(round_index, settings))
        self.seconds.extend([None] * (round_index + 1 - len(self.seconds)))

    def _sample(self, round_index: int, settings: Settings) -> float:
        begin = time.perf_counter()
        count = measure.calls_per_sample(self.estimate)
        rotating = itertools.islice(itertools.cycle(self.calls), round_index, None)
        if count > 1:
            self.calls[round_index % len(self.calls)]()  # whatever ran before left its data in the caches
        seconds = measure.sample(list(itertools.islice(rotating, count)), settings.device)
        self.spent += time.perf_counter() - begin
        return seconds


def entry_of(name: str, call: measure.Call, device: torch.device) -> Entry:
    """An entry with one input set. The call was made before, so that its time is that of a warm one."""
    return Entry(name, [call], estimate=measure.sample([call], device))


def take_turns(
    entries: Sequence[Entry], settings: Settings, after_round: Callable[[], None] = lambda: None
) -> list[float]:
    """Fill in the samples of all entries, in interleaved rounds. Returns the load of other processes in each round."""
    meter, loads = measure.LoadMeter(), []
    for round_index in range(settings.rounds):
        for entry in entries:
            entry.take_sample(round_index, settings)
        loads.append(meter.others())
        after_round()
    return loads


def hold_rounds(
    chosen: Sequence[AnyContestant],
    prepare: Callable[[AnyContestant, dict[str, Any]], Entry | None],
    settings: Settings,
    record: Record,
    floor: Sequence[Entry] = (),
) -> None:
    """Verify each contestant, then let all take turns; the results join what ``record`` began.

    ``prepare`` returns a verified entry, or None for one that is left out, and notes in the result what it knows. A
    contestant that fails is a result with its error.
    """
    begun = record.document["unfinished"]
    results, entries = begun.setdefault("contestants", []), list(floor)
    for contestant in chosen:
        result: dict[str, Any] = {"name": contestant.name}
        results.append(result)
        with failure_noted(result):
            entry = prepare(contestant, result)
            if entry is not None:
                entry.report_into(result)
                entries.append(entry)
        gc.collect()
        record.store()
    begun["other_load"] = take_turns(entries, settings, record.store)


class Record:
    """The document of a run. It is stored after each contestant, so that a killed run leaves what it measured.

    What is measured at the moment is ``unfinished``; a finished result joins its list.
    """

    def __init__(self, path: Path | None, environment: dict[str, Any], add: bool = False) -> None:
        self.path = path
        self.document: dict[str, Any] = {"environment": environment}
        if add and path is not None and path.exists():
            self.document = json.loads(path.read_text(encoding="utf-8"))
            self.document.pop("unfinished", None)
            first = self.document["environment"]
            first["command"] = f"{first['command']} && {environment['command']}"
            if environment["commit"] not in str(first["commit"]).split(" and "):
                first["commit"] = f"{first['commit']} and {environment['commit']}"

    def begin(self, result: dict[str, Any]) -> None:
        self.document["unfinished"] = result
        self.store()

    def finish(self, key: str) -> None:
        """Put the unfinished result into the list of that key, in place of an earlier one of the same."""
        result = self.document.pop("unfinished")
        results: list[dict[str, Any]] = self.document.setdefault(key, [])
        same = [index for index, earlier in enumerate(results) if _identity(earlier) == _identity(result)]
        if same:
            results[same[0]] = result
        else:
            results.append(result)
        self.store()

    def update(self, **facts: Any) -> None:
        self.document.update(facts)
        self.store()

    def store(self) -> None:
        if self.path is not None:
            partial = self.path.with_name(f"{self.path.name}.partial")
            partial.write_text(json.dumps(self.document, indent=1) + "\n", encoding="utf-8")
            partial.replace(self.path)


def _identity(result: dict[str, Any]) -> list[Any]:
    return [result.get(name) for name in IDENTITY]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that every benchmark has."""
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, help="of torch on the CPU; by default torch's own choice")
    parser.add_argument("--json", type=Path, metavar="PATH", help="store what is measured, and the environment")
    parser.add_argument("--add", action="store_true", help="keep what the JSON file holds beside it")


def add_contestants_option(parser: argparse.ArgumentParser, names: Sequence[str], baseline: str) -> None:
    parser.add_argument(
        "--contestants",
        nargs="+",
        choices=names,
        metavar="NAME",
        help=f"beside {baseline!r}: " + "; ".join(name for name in names if name != baseline),
    )


def chosen(contestants: Sequence[AnyContestant], names: Sequence[str] | None, baseline: str) -> list[AnyContestant]:
    """Those with these names and the baseline; all if there are no names."""
    return [one for one in contestants if names is None or one.name in (baseline, *names)]


def run(
    options: argparse.Namespace,
    arguments: Sequence[str],
    hold: Callable[[argparse.Namespace, Record], None],
    render: Callable[[dict[str, Any]], str],
    draw: Callable[[dict[str, Any]], None] = lambda document: None,
) -> int:
    """Hold a contest, print its tables, draw; the exit status is 1 if a contestant's result is wrong."""
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    environment_facts = environment.describe(torch.device(options.device), list(arguments))
    record = Record(options.json, environment_facts, options.add)
    try:
        hold(options, record)
    except MismatchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(render(record.document), end="", flush=True)
    draw(record.document)
    _warn_of_load(record.document)
    return 1 if failures(record.document) else 0


def all_results(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The results of all lists of a document; a list may hold numbers instead."""
    values = [value for value in document.values() if isinstance(value, list)]
    return [result for value in values for result in value if isinstance(result, dict)]


def failures(document: dict[str, Any]) -> list[str]:
    """The errors of all contestants of a document."""
    entries = [entry for result in all_results(document) for entry in result.get("contestants", [])]
    return [f"{entry['name']}: {entry[key]}" for entry in entries for key in ("error", "graph_error") if key in entry]


def _warn_of_load(document: dict[str, Any]) -> None:
    results = [document, *all_results(document)]
    loads = [load for result in results for load in result.get("other_load", [])]
    if loads and statistics.median(loads) > QUIET_LOAD:
        print(
            f"warning: other processes used {statistics.median(loads):.2f} cores meanwhile; the times are too long",
            file=sys.stderr,
        )
