"""What the commands share: devices, checkpoints, the images of a split, pictures, what they write and print."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import torch

from .config import Config
from .data import Annotations, Split, load_annotations
from .distributed import is_launched, is_main, local_rank, world_size
from .engine.checkpoint import load_checkpoint, restore_detector
from .engine.resume import Resumed, changed_options, check_unfinished
from .engine.train import total_steps
from .errors import UsageError, UserError
from .evaluation.coco import Evaluation, detect_all
from .evaluation.score import score_detections
from .model import Detections, Detector
from .visualise.detections import Picture


def choose_device(config: Config) -> torch.device:
    """The configured device, of torchrun's processes each its own GPU; raises UsageError if it is not there."""
    name = config.train.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if is_launched() and name == "cuda":
        name = f"cuda:{local_rank()}"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"train.device: {name!r} is not available: {str(error).splitlines()[0]}") from None
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def restore(config: Config, checkpoint: Path, split: Split) -> tuple[Detector, Annotations]:
    """The trained model on its device, and the images of a split that ``eval.limit`` leaves."""
    content = load_checkpoint(checkpoint)
    annotations = evaluated_images(config, split)
    if list(annotations.class_names) != content["class_names"]:
        raise UserError(
            f"{checkpoint}: trained for the classes {', '.join(content['class_names'][:5])}...; "
            f"the data set has {', '.join(annotations.class_names[:5])}..."
        )
    return restore_detector(content, config, checkpoint).to(choose_device(config)), annotations


def score(model: Detector, annotations: Annotations) -> Evaluation | None:
    """Detect on every image and score the results; None on processes other than the main one, which only detect."""
    found = detect_all(model, annotations)
    return score_detections(found, annotations, model.config)[0] if is_main() else None


def evaluated_images(config: Config, split: Split) -> Annotations:
    """The images of a split that ``eval.limit`` leaves."""
    annotations = load_annotations(config.data, split)
    if config.eval.limit is None:
        return annotations
    return annotations.select(range(min(config.eval.limit, len(annotations))))


def check_scorable(annotations: Annotations, purpose: str) -> None:
    """Raise UserError if the images have no annotations to score against; ``purpose`` needs them."""
    if not annotations.is_annotated:
        raise UserError(
            f"{purpose}: expected COCO files with the list 'annotations', got images alone; "
            "eval and predict write their detections.json, for a server that scores it"
        )


def training_images(config: Config) -> Annotations:
    """The images to train on.

    Raises:
        UsageError: ``train.batch_size`` or the images can not be shared by the processes.
    """
    processes, batch_size = world_size(), config.train.batch_size
    if batch_size % processes:
        raise UsageError(f"train.batch_size: expected a multiple of the {processes} processes, got {batch_size}")
    annotations = load_annotations(config.data, "train")
    if not config.data.keep_empty:
        annotations = annotations.without_empty()
    if len(annotations) < processes:
        raise UsageError(f"data.train: expected an image for each of the {processes} processes, got {len(annotations)}")
    return annotations


def load_resumed(file: Path, config: Config, annotations: Annotations) -> Resumed:
    """The checkpoint to go on from; what the configuration changes is printed.

    Raises:
        UserError: it is no checkpoint, of a finished run, or the run had other options or other data.
    """
    resumed = Resumed(file, load_checkpoint(file))
    changes = changed_options(resumed, config)
    check_unfinished(resumed, annotations, total_steps(config, len(annotations)))
    if is_main():
        changed = f"; changed: {', '.join(changes)}" if changes else ""
        print(f"going on from {file}, step {resumed.content['step']}{changed}", flush=True)
    return resumed


def make_picture(annotations: Annotations, index: int, found: Detections, score: float, has_truth: bool) -> Picture:
    """An image with its detections from a score on and, if there is one, its ground truth."""
    kept = found.scores >= score
    shown = Detections(*(tensor[kept] for tensor in found))
    rows = annotations.rows(index)
    truth = (annotations.boxes[rows], annotations.labels[rows]) if has_truth else None
    return Picture(annotations.read_image(index), shown, truth)


def write_json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content), encoding="utf-8")


def to_type(*arguments: str | Path) -> str:
    """A command of the detector for the user's shell, which need not know the interpreter that runs now."""
    python, here = Path(sys.executable), Path.cwd()
    if python.is_relative_to(here):
        python = python.relative_to(here)
    return shlex.join(map(str, (python, "-m", "detector", *arguments)))
