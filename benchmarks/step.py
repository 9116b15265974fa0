"""What a training step of the reference detector costs with each rule, and what each way to assign takes of it."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from pseudo_iou_ops import AssignRule, PointAssigner

from . import contest
from .assign import RULES, verify
from .peers import contestants
from .table import head, markdown, quantiles, time_text
from .workloads import WORKLOADS, Batch

SHOWN = (
    "mmdetection-style, scalar filter",
    "mmdetection-style",
    "torchvision-style",
    "padded",
    "box-major",
    "pseudo_iou_ops",
)
PHASES = ("forward", "assign", "loss", "backward", "update")
DETECTOR_PACKAGES = ("numpy", "pydantic", "torchvision", "tqdm", "yaml")  # what its training imports
# "Without any additional computational cost" (section 1 of the paper): the same network with each of its rules.
PAPER_RULES = {
    "every inside point": AssignRule(metric="none"),
    "Pseudo-IoU 0.5": AssignRule(threshold=0.5),
    "Pseudo-IoU 0.6, ignored from 0.4": AssignRule(threshold=0.6, ignore_threshold=0.4),
    "centerness 0.35": AssignRule("centerness", 0.35),
    "scaled box 0.6": AssignRule("scaled_box", 0.6),
    "center radius 1.5": AssignRule("center_radius", 1.5),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=int, default=2, help="batch size (2)")
    parser.add_argument("--steps", type=int, default=3, help="steps timed after one that is not (3)")
    parser.add_argument("--backbone", default="resnet50")


def needs(options: argparse.Namespace) -> Sequence[str]:
    return DETECTOR_PACKAGES


def hold(options: argparse.Namespace, record: contest.Record) -> None:
    """Time the step with each rule, then each way to assign."""
    device = torch.device(options.device)
    workload = replace(WORKLOADS["coco"], images=options.images)
    batch = workload.batch(0, device)
    record.update(
        step=f"{options.images} images of {workload.height} x {workload.width}, {options.backbone}, {device}",
        rules=time_rules(batch, options.backbone, options.steps),
    )
    seconds, loads = time_assignment(batch, contest.Settings(device, options.steps, least_rounds=options.steps))
    record.update(assignment=seconds, other_load=loads)


def render(document: dict[str, Any]) -> str:
    """The phases of the step with each rule, and the share that each way to assign takes of the whole."""
    by_rule: dict[str, dict[str, float]] = document["rules"]
    rows = [
        [rule, *(time_text(phases[phase]) for phase in PHASES), time_text(sum(phases.values())), _share(phases)]
        for rule, phases in by_rule.items()
    ]
    rules = markdown(["rule", *PHASES, "step", "assign, of the step"], rows)
    first = next(iter(by_rule.values()))
    rest = sum(first.values()) - first["assign"]
    ways = markdown(
        ["assignment", "median", "of the step"],
        [
            [name, time_text(seconds), f"{100 * seconds / (rest + seconds):.2g}%"]
            for name, seconds in document["assignment"].items()
        ],
    )
    title = f"**{document['step']}**, the same network with each rule, medians of steps that take turns"
    return f"{head(document['environment'])}\n\n{title}:\n\n{rules}\n\nWays to assign:\n\n{ways}\n"


def _share(phases: dict[str, float]) -> str:
    return f"{100 * phases['assign'] / sum(phases.values()):.2g}%"


def time_rules(batch: Batch, backbone: str, steps: int) -> dict[str, dict[str, float]]:
    """Median seconds of each phase of a training step by rule; the rules take turns, so that all see the same noise."""
    from detector.config import Config, ModelConfig
    from detector.data.loader import Targets
    from detector.engine.optim import build_optimizer
    from detector.engine.train import build_model

    config = Config(model=ModelConfig(backbone=backbone, weights="none"))  # type: ignore[arg-type]
    device = batch.pyramid.device
    model = build_model(config, num_classes=80, device=device).train()
    optimizer = build_optimizer(model)
    boxes, labels, offsets = batch.packed
    targets = Targets(boxes, labels, offsets, boxes[:0], torch.zeros_like(offsets))
    height, width = (8 * side for side in batch.pyramid.level_shapes[0])
    images = torch.randint(256, (batch.num_images, 3, height, width), dtype=torch.uint8, device=device)
    sizes = torch.tensor([[height, width]] * batch.num_images, device=device)

    def step(samples: dict[str, list[float]]) -> None:
        with _timed(samples["forward"], device):
            predictions = model(images)
        with _timed(samples["assign"], device):
            assignment = model.assign(predictions.level_shapes, targets, sizes)
        with _timed(samples["loss"], device):
            loss = torch.stack(list(model.losses(predictions, assignment).values())).sum()
        with _timed(samples["backward"], device):
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
        with _timed(samples["update"], device):
            optimizer.step()

    samples: dict[str, dict[str, list[float]]] = {name: {phase: [] for phase in PHASES} for name in PAPER_RULES}
    for _ in range(steps + 1):
        for name, rule in PAPER_RULES.items():
            model.assigner = PointAssigner(model.assigner.strides, rule)
            step(samples[name])
    return {
        name: {phase: statistics.median(seconds[1:]) for phase, seconds in phases.items()}
        for name, phases in samples.items()
    }


@contextmanager
def _timed(samples: list[float], device: torch.device) -> Iterator[None]:
    begin = _now(device)
    yield
    samples.append(_now(device) - begin)


def time_assignment(batch: Batch, settings: contest.Settings) -> tuple[dict[str, float], list[float]]:
    """Median seconds of the verified calls by name, and the load of other processes in each round."""
    rule, entries = RULES["pseudo_iou"], []
    for contestant in contestants():
        if contestant.name in SHOWN:
            verify(contestant, contestant.call(batch, rule), batch, rule)
            call = partial(contestant.call, batch, rule)
            entries.append(contest.entry_of(contestant.name, call, settings.device))
    loads = contest.take_turns(entries, settings)
    return {entry.name: quantiles(entry.seconds)[0] for entry in entries}, loads


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
