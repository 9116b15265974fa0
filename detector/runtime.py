"""What the commands share: devices, checkpoints, the images of a split, pictures, what they write and print."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from .config import Config
from .data import Annotations, Split, load_annotations
from .data.classes import with_classes_of
from .distributed import is_launched, is_main, local_rank, world_size
from .engine.checkpoint import load_checkpoint, restore_detector
from .engine.optim import total_steps
from .engine.resume import Resumed, changed_options, check_unfinished, schedule_change
from .engine.train import placed
from .errors import UsageError, UserError
from .evaluation.coco import Evaluation
from .evaluation.detect import detect_all
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
    """The trained model on its device, and the images of a split that ``eval.limit`` leaves, its classes the model's.

    Raises:
        UserError: the split has boxes of classes that the checkpoint was not trained for, or is no checkpoint.
    """
    content = load_checkpoint(checkpoint)
    annotations = evaluated_images(config, split, content["class_names"], str(checkpoint))
    return restore_model(content, config, checkpoint), annotations


def restore_model(content: dict[str, Any], config: Config, checkpoint: Path) -> Detector:
    """The trained model on its device, its weights in memory as in training, so that both compute the same bits."""
    return placed(restore_detector(content, config, checkpoint), choose_device(config))


def score(model: Detector, annotations: Annotations) -> Evaluation | None:
    """Detect on every image and score the results; None on processes other than the main one, which only detect."""
    found = detect_all(model, annotations)
    return score_detections(found, annotations, model.config)[0] if is_main() else None


def evaluated_images(config: Config, split: Split, class_names: Sequence[str], source: str) -> Annotations:
    """The images of a split that ``eval.limit`` leaves, labelled by the classes of ``source``.

    Raises:
        UserError: they have boxes of other classes.
    """
    annotations = load_annotations(config.data, split)
    if config.eval.limit is not None:
        annotations = annotations.select(range(min(config.eval.limit, len(annotations))))
    return with_classes_of(annotations, class_names, f"data.{split}", source)


def check_classes(config: Config, split: Split, class_names: Sequence[str], source: str) -> None:
    """Raise UserError if a split that is not needed yet has boxes of classes that ``source`` does not know.

    One that is missing or broken is told of by the command that needs it.
    """
    try:
        annotations = load_annotations(config.data, split)
    except UserError:
        return
    with_classes_of(annotations, class_names, f"data.{split}", source)


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


def load_resumed(file: Path, config: Config, annotations: Annotations) -> tuple[Resumed, Annotations]:
    """The checkpoint to go on from and the training images with its classes; what the configuration changes is printed.

    Raises:
        UserError: it is no checkpoint, of a finished run, or the run had other options, classes or data.
    """
    resumed = Resumed(file, load_checkpoint(file))
    changes = changed_options(resumed, config)
    annotations = with_classes_of(annotations, resumed.content["class_names"], "data.train", str(file))
    check_unfinished(resumed, config, annotations, total_steps(config, len(annotations)))
    if is_main():
        changed = f"; changed: {', '.join(changes)}" if changes else ""
        print(f"going on from {file}, step {resumed.content['step']}{changed}", flush=True)
        schedule = schedule_change(resumed, config, len(annotations))
        if schedule is not None:
            print(schedule, flush=True)
    return resumed, annotations


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
