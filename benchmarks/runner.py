"""Verifies and times the contestants of one workload, in interleaved rounds on rotating input sets."""

from __future__ import annotations

import gc
import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from pseudo_iou_ops import AssignRule, presets

from . import measure
from .peers import BASELINE, Contestant, fused
from .targets import difference, differing_points
from .workloads import Batch, CocoBoxes, Workload

# Section 4.2 of the paper compares the three; the thresholds keep about the same share of a box's area.
RULES = {
    "pseudo_iou": presets.authors_code,
    "centerness": AssignRule("centerness", 0.35, regress_ranges=presets.FCOS_RANGES),
    "scaled_box": AssignRule("scaled_box", 0.6, regress_ranges=presets.FCOS_RANGES),
}
METRICS_OF = {"coco": tuple(RULES)}  # the other workloads run the paper's metric alone

FILL = "fill the outputs"

# torch's float32 root may be one unit off on a CPU.
SCORE_ULPS = {"centerness": 1}

# A contestant with another key may differ in ties; beyond this share it solves another problem.
MOST_DIFFERING = 1e-2


class MismatchError(RuntimeError):
    """A contestant's targets are not the op's."""


@dataclass(frozen=True)
class Settings:
    """How long to measure."""

    device: torch.device
    rounds: int = 15
    input_sets: int = 4
    seconds_per_contestant: float = 20.0
    """Once its samples took this long, a contestant leaves the rounds, after at least ``least_rounds``."""
    least_rounds: int = 3
    longest_call: float = 60.0
    """Seconds; a contestant expected to take longer is left out."""
    largest_call: float = 6e9
    """Bytes; likewise."""

    @staticmethod
    def quick(device: torch.device) -> Settings:
        return Settings(device, 7, 2, seconds_per_contestant=1.0, least_rounds=2, longest_call=0.8)


@dataclass
class Entry:
    """A contestant in the rounds of one workload."""

    name: str
    calls: list[measure.Call]
    """One per input set."""
    estimate: float
    """Seconds of a call."""
    seconds: list[float | None] = field(default_factory=list)
    """One sample a round; None once it left."""
    spent: float = 0.0


def run_workload(
    workload: Workload | CocoBoxes, metric: str, contestants: Sequence[Contestant], settings: Settings
) -> dict[str, Any]:
    """Measure all contestants on one workload; raises MismatchError if one makes other targets."""
    batches = [workload.batch(seed, settings.device) for seed in range(settings.input_sets)]
    rule = RULES[metric]
    results, entries = [], [_fill_entry(batches[0], rule)]
    for contestant in contestants:
        reason = why_left_out(contestant, batches, metric, settings)
        result: dict[str, Any] = {"name": contestant.name, "left_out": reason, "is_ours": contestant.is_ours}
        results.append(result)
        if reason is None:
            entry, different = _verified_entry(contestant, batches, rule, settings)
            entries.append(entry)
            result.update(exact=settings.device.type in contestant.exact_on, differing_points=different)
            result.update(_measure_once(contestant, entry, settings.device))
        gc.collect()

    meter, loads = measure.LoadMeter(), []
    for round_index in range(settings.rounds):
        for entry in entries:
            _take_sample(entry, round_index, settings)
        loads.append(meter.others())
    samples = {entry.name: entry.seconds for entry in entries}
    for result in results:
        if result["left_out"] is None:
            result["seconds"] = samples[result["name"]]
    return {
        "workload": workload.name,
        "metric": metric,
        **_facts(batches[0], rule),
        "fill_seconds": samples[FILL],
        "other_load": loads,
        "contestants": results,
    }


def why_left_out(contestant: Contestant, batches: Sequence[Batch], metric: str, settings: Settings) -> str | None:
    """The reason why a contestant is not run on a workload, or None."""
    is_cuda = settings.device.type == "cuda"
    if metric not in contestant.metrics:
        return "another metric"
    if contestant.needs_cuda and not is_cuda:
        return "needs a GPU"
    size = max(contestant.bytes_per_pair * contestant.pairs_at_once(batch) for batch in batches)
    if size > settings.largest_call:
        return f"{size / 1e9:.0f} GB a call"
    seconds = contestant.seconds_per_pair * max(contestant.pairs(batch) for batch in batches)
    if is_cuda:
        seconds /= 500
    if contestant.seconds_per_positive:
        positives = max(int(fused.assign(batch, RULES[metric]).num_pos.sum()) for batch in batches)
        seconds += contestant.seconds_per_positive * positives
    if seconds > settings.longest_call:
        return f"{seconds:.0f} s a call" if seconds >= 1 else f"{seconds:.1f} s a call"
    return None


def _fill_entry(batch: Batch, rule: AssignRule) -> Entry:
    """The floor: write the outputs once, with defaults, into memory that is already there."""
    outputs = fused.AssignInto().assign_into(batch, rule)

    def fill() -> None:
        for name, output in outputs._asdict().items():
            output.fill_(-1 if name in ("matched", "labels") else 0)

    fill()
    return Entry(FILL, [fill], estimate=measure.sample([fill], batch.pyramid.device))


def _verified_entry(
    contestant: Contestant, batches: Sequence[Batch], rule: AssignRule, settings: Settings
) -> tuple[Entry, int]:
    """Its calls, each compared with the op, and how many points differ where they may.

    The first call of all compiles and fills caches, so it is left aside. A slow contestant gets fewer input sets.
    """
    rule = contestant.rule or rule
    contestant.assign(batches[0], rule)
    different, estimates, calls = 0, [], []
    for batch in batches:
        begin = time.perf_counter()
        given = contestant.assign(batch, rule)
        _synchronize(batch.pyramid.device)
        estimates.append(time.perf_counter() - begin)
        different += verify(contestant, given, batch, rule)
        calls.append(_bind(contestant, batch, rule))
        if sum(estimates) > settings.seconds_per_contestant:
            break
    return Entry(contestant.name, calls, min(estimates)), different


def verify(contestant: Contestant, given: Any, batch: Batch, rule: AssignRule) -> int:
    """How many points differ from the op's; raises MismatchError if that is more than the contestant may."""
    expected = fused.assign(batch, rule)
    different = differing_points(given, expected)
    if expected.matched.device.type not in contestant.exact_on:
        if different > MOST_DIFFERING * expected.matched.numel():
            raise MismatchError(f"{contestant.name}: {different} of {expected.matched.numel()} points differ")
        return different
    found = difference(given, expected, SCORE_ULPS.get(rule.metric, 0))
    if found is not None:
        raise MismatchError(f"{contestant.name}: {found}")
    return 0


def _bind(contestant: Contestant, batch: Batch, rule: AssignRule) -> measure.Call:
    return lambda: contestant.assign(batch, rule)


def _measure_once(contestant: Contestant, entry: Entry, device: torch.device) -> dict[str, Any]:
    """What does not need a clock, and the CUDA graph."""
    counts = None if contestant.is_compiled else measure.count(entry.calls[0])
    once: dict[str, Any] = {
        "peak_bytes": measure.peak_bytes(entry.calls[0], device),
        "ops": counts and counts.ops,
        "syncs": counts and counts.syncs,
    }
    if device.type == "cuda":
        once.update(measure.count_kernels(entry.calls[0]))
        if contestant.is_ours and contestant.is_capturable:
            measure.run_without_sync(entry.calls[0])
        if contestant.is_capturable:
            once["graph_seconds"] = measure.graph_seconds(entry.calls)
    return once


def _take_sample(entry: Entry, round_index: int, settings: Settings) -> None:
    if round_index >= settings.least_rounds and entry.spent >= settings.seconds_per_contestant:
        entry.seconds.append(None)
        return
    begin = time.perf_counter()
    count = measure.calls_per_sample(entry.estimate)
    rotating = itertools.islice(itertools.cycle(entry.calls), round_index, None)
    if count > 1:
        entry.calls[round_index % len(entry.calls)]()  # whatever ran before left its data in the caches
    entry.seconds.append(measure.sample(list(itertools.islice(rotating, count)), settings.device))
    entry.spent += time.perf_counter() - begin


def _facts(batch: Batch, rule: AssignRule) -> dict[str, Any]:
    assignment = fused.AssignInto().assign_into(batch, rule)
    return {
        "images": batch.num_images,
        "points_per_image": batch.pyramid.num_points,
        "boxes": batch.num_boxes,
        "most_boxes": batch.most_boxes,
        "positives": int(assignment.num_pos.sum()),
        "output_bytes": sum(output.nbytes for output in assignment),
    }


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def run(
    workloads: Sequence[Workload | CocoBoxes],
    contestants: Callable[[], Sequence[Contestant]],
    settings: Settings,
    metrics_of: dict[str, tuple[str, ...]] = METRICS_OF,
) -> Iterator[dict[str, Any]]:
    """The results of all workloads and their metrics, one after another."""
    for workload in workloads:
        for metric in metrics_of.get(workload.name, ("pseudo_iou",)):
            print(f"{workload.name}, {metric} ...", file=sys.stderr, flush=True)
            yield run_workload(workload, metric, _with_baseline(contestants()), settings)


def _with_baseline(contestants: Sequence[Contestant]) -> list[Contestant]:
    if not any(contestant.name == BASELINE for contestant in contestants):
        raise ValueError(f"contestants: expected {BASELINE!r} among them, which the others are compared with")
    return list(contestants)
