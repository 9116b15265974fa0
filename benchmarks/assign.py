"""How fast the assignment is, beside everything a user would pick instead: each verified, then timed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pseudo_iou_ops import AssignRule, presets

from . import contest, matching
from .matching import Question, Settings, ask
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

# torch's float32 root may be one unit off on a CPU.
SCORE_ULPS = {"centerness": 1}

# A contestant with another key may differ in ties; beyond this share it solves another problem.
MOST_DIFFERING = 1e-2


def run_workload(
    workload: Workload | CocoBoxes,
    metric: str,
    chosen: Sequence[Assigner],
    settings: Settings,
    record: contest.Record | None = None,
) -> dict[str, Any]:
    """Measure all contestants on one workload under one metric."""
    batches = [workload.batch(seed, settings.device) for seed in range(settings.input_sets)]
    rule = RULES[metric]
    outputs = fused.AssignInto().assign_into(batches[0], rule)
    question = Question(workload.name, metric, batches, rule, outputs, verify, partial(_positives, rule))
    return ask(question, chosen, settings, record)


def why_left_out(contestant: Assigner, batches: Sequence[Batch], metric: str, settings: Settings) -> str | None:
    """The reason why a contestant is not run on a workload, or None."""
    return matching.why_left_out(contestant, batches, metric, settings, partial(_positives, RULES[metric]))


def _positives(rule: AssignRule, batch: Batch) -> int:
    return int(fused.assign(batch, rule).num_pos.sum())


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
