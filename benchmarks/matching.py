"""What the benchmarks of assignment share: who is left out, who is verified, what is counted, what is timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from . import contest, measure
from .peers import Assigner
from .workloads import Batch

FILL = "fill the outputs"
DEFAULTS = {"matched": -1, "labels": -1}  # the other outputs are 0 at a point without a box

# On a GPU a contestant is about so many times as fast as `seconds_per_pair` says.
GPU_SPEEDUP = 500


@dataclass(frozen=True)
class Settings(contest.Settings):
    """How long to measure, on how much, and what is too large or too long to be run at all."""

    input_sets: int = 4
    longest_call: float = 60.0
    """Seconds; a contestant expected to take longer is left out."""
    largest_call: float = 6e9
    """Bytes; likewise."""

    @staticmethod
    def quick(device: torch.device) -> Settings:
        return Settings(device, rounds=7, seconds_per_contestant=1.0, least_rounds=2, input_sets=2, longest_call=0.8)


@dataclass(frozen=True)
class Question:
    """A workload under one rule, and how an answer is judged."""

    workload: str
    metric: str
    batches: Sequence[Any]
    rule: Any
    outputs: Any
    """An earlier result for the first batch, by this library: a named tuple of tensors."""
    verify: Callable[[Assigner, Any, Any, Any], int]
    """verify(contestant, given, batch, rule) returns at how many points another box was chosen; it raises
    :class:`contest.MismatchError` if that is more than the contestant may."""
    count_positives: Callable[[Any], int]


def ask(
    question: Question, chosen: Sequence[Assigner], settings: Settings, record: contest.Record | None = None
) -> dict[str, Any]:
    """Measure all contestants; one that fails or makes other targets is an entry with its error."""
    record = record or contest.Record(None, {})
    batch = question.batches[0]
    result: dict[str, Any] = {
        "workload": question.workload,
        "metric": question.metric,
        "images": batch.num_images,
        "points_per_image": batch.pyramid.num_points,
        "boxes": batch.num_boxes,
        "most_boxes": batch.most_boxes,
        "positives": int(question.outputs.num_pos.sum()),
        "output_bytes": sum(output.nbytes for output in question.outputs),
    }
    record.begin(result)
    floor: list[contest.Entry] = []
    with contest.failure_noted({"name": FILL}):
        floor.append(floor_entry(question.outputs, settings.device, result))

    def prepare(contestant: Assigner, entry_result: dict[str, Any]) -> contest.Entry | None:
        reason = why_left_out(contestant, question.batches, question.metric, settings, question.count_positives)
        entry_result.update(is_ours=contestant.is_ours, left_out=reason)
        if reason is not None:
            return None
        entry, different = _verified_entry(contestant, question, settings)
        must_be_exact = settings.device.type in contestant.exact_on
        exact = must_be_exact or (contestant.is_exact_if_equal and different == 0)
        entry_result.update(exact=exact, differing_points=different)
        entry_result.update(_measure_once(contestant, entry, settings.device))
        return entry

    contest.hold_rounds(chosen, prepare, settings, record, floor)
    return result


def why_left_out(
    contestant: Assigner,
    batches: Sequence[Batch],
    metric: str,
    settings: Settings,
    count_positives: Callable[[Any], int],
) -> str | None:
    """The reason why a contestant is not run on a workload, or None."""
    is_cuda = settings.device.type == "cuda"
    if metric not in contestant.metrics:
        return contestant.other_metric
    if contestant.needs_cuda and not is_cuda:
        return "needs a GPU"
    size = max(contestant.bytes_per_pair * contestant.pairs_at_once(batch) for batch in batches)
    if size > settings.largest_call:
        return f"{size / 1e9:.0f} GB a call"
    seconds = contestant.seconds_per_pair * max(contestant.pairs(batch) for batch in batches)
    if is_cuda:
        seconds /= GPU_SPEEDUP
    if contestant.seconds_per_positive:
        seconds += contestant.seconds_per_positive * max(count_positives(batch) for batch in batches)
    if seconds > settings.longest_call:
        return f"{seconds:.0f} s a call" if seconds >= 1 else f"{seconds:.1f} s a call"
    return None


def floor_entry(outputs: Any, device: torch.device, result: dict[str, Any]) -> contest.Entry:
    """Write the outputs once, with defaults, into memory that is already there; on CUDA by one memset each, which a
    graph starts together."""

    def fill() -> None:
        for name, output in outputs._asdict().items():
            output.fill_(DEFAULTS.get(name, 0))

    def clear() -> None:
        for name, output in outputs._asdict().items():
            measure.memset(output, 0xFF if name in DEFAULTS else 0)

    call: measure.Call = fill
    if device.type == "cuda":
        call = measure.captured([clear]).replay
        result["fill_graph_seconds"] = measure.graph_seconds([clear])
    call()
    entry = contest.entry_of(FILL, call, device)
    result["fill_seconds"] = entry.seconds
    return entry


def _verified_entry(contestant: Assigner, question: Question, settings: Settings) -> tuple[contest.Entry, int]:
    """Its calls, each compared with the op, and how many points differ where they may.

    The first call of all compiles and fills caches, so it is left aside. A slow contestant gets fewer input sets.
    """
    rule = contestant.rule or question.rule
    contestant.call(question.batches[0], rule)
    different, estimates, calls = 0, [], []
    for batch in question.batches:
        begin = time.perf_counter()
        given = contestant.call(batch, rule)
        _synchronize(settings.device)
        estimates.append(time.perf_counter() - begin)
        different += question.verify(contestant, given, batch, rule)
        calls.append(_bind(contestant, batch, rule))
        if sum(estimates) > settings.seconds_per_contestant:
            break
    return contest.Entry(contestant.name, calls, min(estimates)), different


def _bind(contestant: Assigner, batch: Batch, rule: Any) -> measure.Call:
    return lambda: contestant.call(batch, rule)


def _measure_once(contestant: Assigner, entry: contest.Entry, device: torch.device) -> dict[str, Any]:
    """What does not need a clock, and the CUDA graph."""
    counts = None if contestant.is_compiled else measure.count(entry.calls[0])
    once: dict[str, Any] = {
        "peak_bytes": measure.peak_bytes(entry.calls[0], device),
        "ops": counts and counts.ops,
        "syncs": counts and counts.syncs,
    }
    if device.type == "cuda":
        if contestant.is_ours and contestant.is_capturable:
            measure.run_without_sync(entry.calls[0])
        if contestant.is_capturable:
            once.update(contest.in_a_graph(entry.calls))
        once.update(measure.count_kernels(entry.calls[0]))
    return once


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
