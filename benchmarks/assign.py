"""How fast the assignment is, beside everything a user would pick instead: each verified, then timed."""

from __future__ import annotations

import argparse
import gc
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
    workload: Workload | CocoBoxes, metric: str, chosen: Sequence[Assigner], settings: Settings
) -> dict[str, Any]:
    """Measure all contestants on one workload; raises MismatchError if one makes other targets."""
    batches = [workload.batch(seed, settings.device) for seed in range(settings.input_sets)]
    rule = RULES[metric]
    results, entries = [], [_fill_entry(batches[0], rule)]
    for contestant in chosen:
        reason = why_left_out(contestant, batches, metric, settings)
        result: dict[str, Any] = {"name": contestant.name, "left_out": reason, "is_ours": contestant.is_ours}
        results.append(result)
        if reason is None:
            entry, different = _verified_entry(contestant, batches, rule, settings)
            entries.append(entry)
            result.update(exact=settings.device.type in contestant.exact_on, differing_points=different)
            result.update(_measure_once(contestant, entry, settings.device))
        gc.collect()

    loads = contest.take_turns(entries, settings)
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


def _fill_entry(batch: Batch, rule: AssignRule) -> contest.Entry:
    """The floor: write the outputs once, with defaults, into memory that is already there."""
    outputs = fused.AssignInto().assign_into(batch, rule)

    def fill() -> None:
        for name, output in outputs._asdict().items():
            output.fill_(-1 if name in ("matched", "labels") else 0)

    fill()
    return contest.entry_of(FILL, fill, batch.pyramid.device)


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
        once.update(measure.count_kernels(entry.calls[0]))
        if contestant.is_ours and contestant.is_capturable:
            measure.run_without_sync(entry.calls[0])
        if contestant.is_capturable:
            once["graph_seconds"] = measure.graph_seconds(entry.calls)
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
    names = [contestant.name for contestant in contestants()]
    parser.add_argument(
        "--quick", action="store_true", help="few rounds, no call beyond a second: 3 minutes on 2 cores"
    )
    parser.add_argument("--workloads", nargs="+", choices=list(WORKLOADS), metavar="NAME", help=", ".join(WORKLOADS))
    parser.add_argument(
        "--contestants",
        nargs="+",
        choices=names,
        metavar="NAME",
        help=f"beside {BASELINE!r}: " + "; ".join(names),
    )
    parser.add_argument("--plot", type=Path, metavar="PATH", help="also sweep the boxes per image, and draw the result")


def hold(options: argparse.Namespace, record: contest.Record) -> None:
    """Measure all workloads and their metrics, and the sweep if a plot is asked for."""
    device = torch.device(options.device)
    settings = Settings.quick(device) if options.quick else Settings(device)
    if device.type == "cuda":
        settings = replace(settings, largest_call=0.5 * torch.cuda.mem_get_info()[0])
    chosen = {BASELINE, *(options.contestants or (contestant.name for contestant in contestants()))}

    def measure_all(key: str, workloads: Sequence[Workload | CocoBoxes]) -> None:
        for workload in workloads:
            for metric in METRICS_OF.get(workload.name, ("pseudo_iou",)):
                print(f"{workload.name}, {metric} ...", file=sys.stderr, flush=True)
                fresh = [contestant for contestant in contestants() if contestant.name in chosen]
                record.append(key, run_workload(workload, metric, fresh, settings))

    names = options.workloads or (QUICK_WORKLOADS if options.quick else WORKLOADS)
    measure_all("results", [WORKLOADS[name] for name in names])
    if options.plot:
        measure_all("sweep", [swept_workload(boxes) for boxes in SWEPT_BOXES])
        plot.draw(record.document["sweep"], options.plot)
