"""The command ``train``."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from .commands import choose_device, evaluated_images
from .config import Config, check_config, config_to_yaml
from .data import Annotations, load_annotations
from .distributed import is_main, wait_for_all, world_size
from .engine.checkpoint import load_checkpoint
from .engine.dry_run import describe_dry_run
from .engine.log import METRICS, summary_writer
from .engine.precision import deterministic_algorithms
from .engine.resume import Resumed, changed_options, check_unfinished
from .engine.train import CHECKPOINT, Validate, total_steps, train
from .errors import UsageError
from .evaluation.coco import detect_all
from .evaluation.score import score_detections
from .model import Detector


def run_train(config: Config, out: Path, overwrite: bool = False, resume: Path | None = None) -> Detector:
    """Train from the begin, or go on from the checkpoint ``resume``."""
    _check_start(config, out, overwrite or resume is not None)
    with deterministic_algorithms(config.train.deterministic):
        device = choose_device(config)
        annotations = training_images(config)
        resumed = None if resume is None else load_resumed(resume, config, annotations)
        validate = _validation(config) if config.train.eval_every else None
        wait_for_all()  # every process has looked into the folder before the main one writes there
        if is_main():
            print(_headline(config, annotations, device), flush=True)
        started = time.monotonic()
        model = train(config, annotations, out, device, resumed, validate)
    if is_main():
        print(f"trained in {time.monotonic() - started:.0f} s; wrote {out / CHECKPOINT}")
    return model


def run_dry(config: Config, out: Path, overwrite: bool = False, resume: Path | None = None) -> None:
    """Check all that a run would need, take one batch through the network, and say what it would do; writes nothing."""
    _check_start(config, out, overwrite or resume is not None)
    with deterministic_algorithms(config.train.deterministic):
        device = choose_device(config)
        annotations = training_images(config)
        resumed = None if resume is None else load_resumed(resume, config, annotations)
        if config.train.eval_every:
            _validation(config)
        first_step = 0 if resumed is None else resumed.content["step"]
        report = describe_dry_run(config, annotations, device, first_step)
    if is_main():
        print(f"{config_to_yaml(config)}\n{_headline(config, annotations, device)}\n{report}\nnothing was written")


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


def _check_start(config: Config, out: Path, may_exist: bool) -> None:
    check_config(config)
    if config.train.tensorboard:
        summary_writer()
    if not may_exist and any((out / name).exists() for name in (METRICS, CHECKPOINT)):
        raise UsageError(
            f"--out: {out} holds a run already; choose another folder, or add --resume to go on with it or "
            "--overwrite to replace it"
        )


def _validation(config: Config) -> Validate:
    annotations = evaluated_images(config, "val")

    def validate(model: Detector) -> dict[str, float]:
        found = detect_all(model, annotations)
        return score_detections(found, annotations, config)[0].stats if is_main() else {}

    return validate


def _headline(config: Config, annotations: Annotations, device: torch.device) -> str:
    processes = f" in {world_size()} processes" if world_size() > 1 else ""
    return (
        f"{len(annotations)} images, {len(annotations.boxes)} boxes, {len(annotations.class_names)} classes; "
        f"{total_steps(config, len(annotations))} steps of {config.train.batch_size} images on {device}{processes}; "
        f"{config.assign.rule()}"
    )
