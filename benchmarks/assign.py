"""How fast the assignment is, beside everything a user would pick instead: each verified, then timed."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pseudo_iou_ops import AssignRule, presets

from . import contest, measure, plot
from .peers import BASELINE, Assigner, contestants, fused
from .targets import difference, differing_points
from .workloads import SWEPT_BOXES, WORKLOADS, Batch, CocoBoxes, Workload, swept_workload

QUICK_WORKLOADS = ("voc", "coco", "lvis", "crowd", "dota2k", "4k")

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


def run_workload(
    workload: Workload | CocoBoxes,
    metric: str,
    chosen: Sequence[Assigner],
    settings: Settings,
    record: contest.Record | None = None,
) -> dict[str, Any]:
    """Measure all contestants on one workload; one that fails or makes other targets is an entry with its error."""
    record = record or contest.Record(None, {})
    batches = [workload.batch(seed, settings.device) for seed in range(settings.input_sets)]
    rule = RULES[metric]
    result: dict[str, Any] = {"workload": workload.name, "metric": metric, **_facts(batches[0], rule)}
    record.begin(result)
    floor: list[contest.Entry] = []
    with contest.failure_noted({"name": FILL}):
        floor.append(_floor_entry(batches[0], rule, result))

    def prepare(contestant: Assigner, entry_result: dict[str, Any]) -> contest.Entry | None:
        entry_result.update(is_ours=contestant.is_ours, left_out=why_left_out(contestant, batches, metric, settings))
        if entry_result["left_out"] is not None:
            return None
        entry, different = _verified_entry(contestant, batches, rule, settings)
        exact = settings.device.type in contestant.exact_on
        entry_result.update(exact=exact, differing_points=different)
        entry_result.update(_measure_once(contestant, entry, settings.device))
        return entry

    contest.hold_rounds(chosen, prepare, settings, record, floor)
    return result


def why_left_out(contestant: Assigner, batches: Sequence[Batch], metric: str, settings: Settings) -> str | None:
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


def _floor_entry(batch: Batch, rule: AssignRule, result: dict[str, Any]) -> contest.Entry:
    """Write the outputs once, with defaults, into memory that is already there; on CUDA by one memset each, which a
    graph starts together."""
    outputs = fused.AssignInto().assign_into(batch, rule)
    defaults = {"matched": -1, "labels": -1}

    def fill() -> None:
        for name, output in outputs._asdict().items():
            output.fill_(defaults.get(name, 0))

    def clear() -> None:
        for name, output in outputs._asdict().items():
            measure.memset(output, 0xFF if name in defaults else 0)

    call: measure.Call = fill
    if batch.pyramid.device.type == "cuda":
        call = measure.captured([clear]).replay
        result["fill_graph_seconds"] = measure.graph_seconds([clear])
    call()
    entry = contest.entry_of(FILL, call, batch.pyramid.device)
    result["fill_seconds"] = entry.seconds
    return entry


def _verified_entry(
    contestant: Assigner, batches: Sequence[Batch], rule: AssignRule, settings: Settings
) -> tuple[contest.Entry, int]:
    """Its calls, each compared with the op, and how many points differ where they may.

    The first call of all compiles and fills caches, so it is left aside. A slow contestant gets fewer input sets.
    """
    rule = contestant.rule or rule
    contestant.call(batches[0], rule)
    different, estimates, calls = 0, [], []
    for batch in batches:
        begin = time.perf_counter()
        given = contestant.call(batch, rule)
        _synchronize(batch.pyramid.device)
        estimates.append(time.perf_counter() - begin)
        different += verify(contestant, given, batch, rule)
        calls.append(_bind(contestant, batch, rule))
        if sum(estimates) > settings.seconds_per_contestant:
            break
    return contest.Entry(contestant.name, calls, min(estimates)), different


def verify(contestant: Assigner, given: Any, batch: Batch, rule: AssignRule) -> int:
    """How many points differ from the op's; raises MismatchError if that is more than the contestant may."""
    expected = fused.assign(batch, rule)
    different = differing_points(given, expected)
    if expected.matched.device.type not in contestant.exact_on:
        if different > MOST_DIFFERING * expected.matched.numel():
            raise contest.MismatchError(f"{contestant.name}: {different} of {expected.matched.numel()} points differ")
        return different
    found = difference(given, expected, SCORE_ULPS.get(rule.metric, 0))
    if found is not None:
        raise contest.MismatchError(f"{contestant.name}: {found}")
    return 0


def _bind(contestant: Assigner, batch: Batch, rule: AssignRule) -> measure.Call:
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


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--quick", action="store_true", help="few rounds, no call beyond a second: 3 minutes on 2 cores"
    )
    parser.add_argument("--workloads", nargs="+", choices=list(WORKLOADS), metavar="NAME", help=", ".join(WORKLOADS))
    contest.add_contestants_option(parser, [contestant.name for contestant in contestants()], BASELINE)
    parser.add_argument("--plot", type=Path, metavar="PATH", help="also sweep the boxes per image, and draw the result")


def hold(options: argparse.Namespace, record: contest.Record) -> None:
    """Measure all workloads and their metrics, and the sweep if a plot is asked for."""
    device = torch.device(options.device)
    settings = Settings.quick(device) if options.quick else Settings(device)
    if device.type == "cuda":
        settings = replace(settings, largest_call=0.5 * torch.cuda.mem_get_info()[0])

    def measure_all(key: str, workloads: Sequence[Workload | CocoBoxes]) -> None:
        for workload in workloads:
            for metric in METRICS_OF.get(workload.name, ("pseudo_iou",)):
                print(f"{workload.name}, {metric} ...", file=sys.stderr, flush=True)
                fresh = contest.chosen(contestants(), options.contestants, BASELINE)
                run_workload(workload, metric, fresh, settings, record)
                record.finish(key)

    names = options.workloads or (QUICK_WORKLOADS if options.quick else WORKLOADS)
    measure_all("results", [WORKLOADS[name] for name in names])
    if options.plot:
        measure_all("sweep", [swept_workload(boxes) for boxes in SWEPT_BOXES])
        plot.draw(record.document["sweep"], options.plot)
