"""How fast boxes choose their points, beside everything a user would pick instead: each verified, then timed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pseudo_iou_ops import presets
from pseudo_iou_ops.top_k_rules import TopKRule

from . import contest, table
from .matching import Question, Settings, ask
from .peers import BASELINE, Assigner, fused_top_k
from .peers.top_k import ATSS, DYNAMIC_K, TASK_ALIGNED, contestants
from .peers.top_k_targets import TopKTargets, difference_beside, differing_points
from .predicted import SWEPT_BOXES, TOP_K_WORKLOADS, PredictedBatch, predicted_batch, swept_workload
from .workloads import CocoBoxes, Workload

RULES: dict[str, TopKRule] = {name: getattr(presets, name) for name in (*TASK_ALIGNED, *ATSS, *DYNAMIC_K)}
QUICK_RULES = ("yolov8", "pp_yoloe", "tood", "atss", "simota", "rtmdet")
SWEPT_RULE = "yolov8"

# Another power or mean, rounded otherwise, may order two points otherwise that are a rounding apart. Of the positives;
# beyond this share a contestant solves another problem.
MOST_DIFFERING = 1e-3


def run_workload(
    workload: Workload | CocoBoxes,
    name: str,
    chosen: Sequence[Assigner],
    settings: Settings,
    record: contest.Record | None = None,
) -> dict[str, Any]:
    """Measure all contestants on one workload under the rule of that name."""
    batches = [predicted_batch(workload, seed, settings.device) for seed in range(settings.input_sets)]
    rule = RULES[name]
    outputs = fused_top_k.AssignInto().assign_into(batches[0], rule)
    question = Question(workload.name, name, batches, rule, outputs, verify, partial(_positives, rule))
    return ask(question, chosen, settings, record)


def _positives(rule: TopKRule, batch: PredictedBatch) -> int:
    return int(fused_top_k.assign(batch, rule).num_pos.sum())


def verify(contestant: Assigner, given: TopKTargets, batch: PredictedBatch, rule: TopKRule) -> int:
    """How many points differ from the op's; raises MismatchError if that is more than the contestant may."""
    expected = fused_top_k.assign(batch, rule)
    different = differing_points(given, expected)
    most = 0 if contestant.is_ours else MOST_DIFFERING * max(1, int(expected.num_pos.sum()))
    if different > most:
        raise contest.MismatchError(f"{contestant.name}: {different} points differ, {most:.0f} may")
    found = difference_beside(given, expected)
    if found is not None:
        raise contest.MismatchError(f"{contestant.name}: {found}")
    return different


def render(document: dict[str, Any]) -> str:
    return table.render({**document, "results": document.get("top_k", [])})


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="few rounds, six rules, no call beyond 5 seconds")
    names = list(TOP_K_WORKLOADS)
    parser.add_argument("--workloads", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--rules", nargs="+", choices=list(RULES), metavar="NAME", help=", ".join(RULES))
    contest.add_contestants_option(parser, [contestant.name for contestant in contestants()], BASELINE)
    parser.add_argument("--plot", type=Path, metavar="PATH", help="also sweep the boxes per image, and draw the result")


def settings_of(options: argparse.Namespace) -> Settings:
    device = torch.device(options.device)
    settings = Settings(device, input_sets=2)
    if options.quick:
        settings = replace(Settings.quick(device), input_sets=1, longest_call=5.0)
    if device.type == "cuda":
        settings = replace(settings, largest_call=0.5 * torch.cuda.mem_get_info()[0])
    return settings


@torch.no_grad()
def hold(options: argparse.Namespace, record: contest.Record) -> None:
    """Measure all workloads under their rules, and the sweep if a plot is asked for."""
    settings = settings_of(options)

    def measure_all(key: str, workloads: Sequence[Workload | CocoBoxes], rules: Sequence[str]) -> None:
        for workload in workloads:
            for rule in rules:
                print(f"{workload.name}, {rule} ...", file=sys.stderr, flush=True)
                contest.forget_compiled()
                fresh = contest.chosen(contestants(), options.contestants, BASELINE)
                run_workload(workload, rule, fresh, settings, record)
                record.finish(key)

    rules = options.rules or (QUICK_RULES if options.quick else tuple(RULES))
    measure_all("top_k", [TOP_K_WORKLOADS[name] for name in options.workloads or TOP_K_WORKLOADS], rules)
    if options.plot:
        measure_all("sweep", [swept_workload(boxes) for boxes in SWEPT_BOXES], [SWEPT_RULE])
