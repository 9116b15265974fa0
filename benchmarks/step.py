"""The share of a training step that assignment takes, for the reference detector, with each way to assign."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from . import environment
from .peers import Contestant, contestants
from .runner import RULES, verify
from .table import head, markdown, time_text
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


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("step", help="the share of the reference detector's training step")
    parser.add_argument("--images", type=int, default=2, help="batch size (2)")
    parser.add_argument("--steps", type=int, default=3, help="steps timed after one that is not (3)")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path, metavar="PATH", help="store the figures and the environment")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, arguments: list[str]) -> int:
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    workload = replace(WORKLOADS["coco"], images=options.images)
    batch = workload.batch(0, device)
    document = {
        "environment": environment.describe(device, arguments),
        "step": f"{options.images} images of {workload.height} x {workload.width}, {options.backbone}, {device}",
        "phases": time_phases(batch, options.backbone, options.steps),
        "assignment": {
            contestant.name: time_assignment(contestant, batch, options.steps)
            for contestant in contestants()
            if contestant.name in SHOWN
        },
    }
    print(render(document))
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


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


def time_assignment(contestant: Contestant, batch: Batch, steps: int) -> float:
    """Median seconds of a verified call."""
    rule = RULES["pseudo_iou"]
    verify(contestant, contestant.assign(batch, rule), batch, rule)
    return statistics.median(_seconds(lambda: contestant.assign(batch, rule), batch) for _ in range(steps))


def _seconds(call: Callable[[], object], batch: Batch) -> float:
    begin = _now(batch.pyramid.device)
    call()
    return _now(batch.pyramid.device) - begin


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
