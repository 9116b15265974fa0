"""The share of a training step that assignment takes, for the reference detector, with each way to assign."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch

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
PHASES = ("forward", "loss", "backward", "update")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=int, default=2, help="batch size (2)")
    parser.add_argument("--steps", type=int, default=3, help="steps timed after one that is not (3)")
    parser.add_argument("--backbone", default="resnet50")


def hold(options: argparse.Namespace, record: contest.Record) -> None:
    """Time the step without its assignment, then each way to assign."""
    device = torch.device(options.device)
    workload = replace(WORKLOADS["coco"], images=options.images)
    batch = workload.batch(0, device)
    record.update(
        step=f"{options.images} images of {workload.height} x {workload.width}, {options.backbone}, {device}",
        phases=time_phases(batch, options.backbone, options.steps),
    )
    seconds, loads = time_assignment(batch, contest.Settings(device, options.steps, least_rounds=options.steps))
    record.update(assignment=seconds, other_load=loads)


def render(document: dict[str, Any]) -> str:
    """The step without its assignment, and the share that each way to assign takes of the whole."""
    phases: dict[str, float] = document["phases"]
    rest = sum(phases.values())
    parts = ", ".join(f"{name} {time_text(seconds)}" for name, seconds in phases.items())
    rows = [
        [name, time_text(seconds), f"{100 * seconds / (rest + seconds):.2g}%"]
        for name, seconds in document["assignment"].items()
    ]
    table = markdown(["assignment", "median", "of the step"], rows)
    return f"{head(document['environment'])}\n\n**{document['step']}**: {parts}\n\n{table}\n"


def time_phases(batch: Batch, backbone: str, steps: int) -> dict[str, float]:
    """Median seconds of everything in a training step but the assignment."""
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
    samples: dict[str, list[float]] = {phase: [] for phase in PHASES}

    @contextmanager
    def timed(phase: str) -> Iterator[None]:
        begin = _now(device)
        yield
        samples[phase].append(_now(device) - begin)

    for _ in range(steps + 1):
        with timed("forward"):
            predictions = model(images)
        assignment = model.assign(predictions.level_shapes, targets, sizes)
        with timed("loss"):
            loss = torch.stack(list(model.losses(predictions, assignment).values())).sum()
        with timed("backward"):
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
        with timed("update"):
            optimizer.step()
    return {phase: statistics.median(seconds[1:]) for phase, seconds in samples.items()}


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
