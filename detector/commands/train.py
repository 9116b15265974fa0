"""The command ``train``."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ..config import Config, config_to_yaml, load_config
from ..distributed import is_main, process_group, wait_for_all, world_size
from ..errors import UsageError, one_line
from .options import DEMO, Settings, demo_config, trained_config

if TYPE_CHECKING:
    import torch

    from ..data import Annotations
    from ..data.loader import Batch
    from ..engine.resume import Resumed
    from ..engine.train import Validate
    from ..model import Detector

FIRST_BATCH = "first_batch.png"


@dataclass(frozen=True)
class TrainArguments:
    """Train a detector and write its checkpoint."""

    config: Path | None = None
    """The configuration, your own or a bundled one; configs/demo.yaml or, with --resume, the run's if not given."""
    out: Path | None = None
    """Folder of the run; runs/<name of the configuration> if not given."""
    overwrite: bool = False
    """Replace a run that the folder holds already."""
    resume: Annotated[tuple[Path, ...] | None, tyro.conf.arg(metavar="[CHECKPOINT]")] = None
    """Go on from a checkpoint, the folder's last.pt if none is named."""
    dry_run: bool = False
    """Check everything, take one batch through the network, say what the run would do, and write nothing."""
    settings: Settings = field(default_factory=Config)


def source(arguments: TrainArguments) -> Config:
    """The configuration in the file that ``--config`` names or, without one, of the run that is gone on with."""
    _, resume = run_of(arguments)
    if arguments.config is None and resume is not None:
        return trained_config(resume)
    return demo_config(arguments.settings) if arguments.config is None else load_config(arguments.config)


def run_of(arguments: TrainArguments) -> tuple[Path, Path | None]:
    """The folder of a run, and the checkpoint it goes on from, if it does."""
    named = arguments.out or Path("runs") / (arguments.config or DEMO).stem
    if arguments.resume is None:
        return named, None
    if arguments.overwrite:
        raise UsageError("--resume and --overwrite: expected one of them")
    if len(arguments.resume) > 1:
        raise UsageError(f"--resume: expected one checkpoint, got {' '.join(map(str, arguments.resume))}")
    if arguments.resume:
        file = arguments.resume[0]
        return arguments.out or file.parent, file
    return named, named / "last.pt"


def run(arguments: TrainArguments) -> Detector | None:
    """Train from scratch or go on; None after a dry run."""
    from ..engine.precision import deterministic_algorithms
    from ..runtime import choose_device, load_resumed, training_images

    config = arguments.settings
    out, resume = run_of(arguments)
    _check_folder(config, out, may_hold_run=arguments.overwrite or resume is not None)
    with process_group(), deterministic_algorithms(config.train.deterministic):
        device = choose_device(config)
        images = training_images(config)
        resumed = None
        if resume is not None:
            resumed, images = load_resumed(resume, config, images)
        validate = _validation(config, images.class_names)
        if arguments.dry_run:
            _describe(config, images, device, resumed)
            return None
        return _train(config, images, out, device, resumed, validate)


def _train(
    config: Config,
    images: Annotations,
    out: Path,
    device: torch.device,
    resumed: Resumed | None,
    validate: Validate | None,
) -> Detector:
    from ..engine.train import CHECKPOINT, train

    wait_for_all()  # every process has looked into the folder before the main one writes there
    if is_main():
        print(_headline(config, images, device), flush=True)
    started = time.monotonic()
    model = train(
        config,
        images,
        out,
        device,
        resumed,
        validate,
        show_batch=lambda batch: _draw_batch(batch, images.class_names, out / FIRST_BATCH),
    )
    if is_main():
        print(f"trained in {time.monotonic() - started:.0f} s; wrote {out / CHECKPOINT}")
    return model


def _draw_batch(batch: Batch, class_names: Sequence[str], file: Path) -> None:
    """Draw a batch; a picture that fails does not end the run."""
    from ..visualise.detections import draw_targets

    try:
        draw_targets(batch, class_names, file)
    except Exception as error:
        print(f"{file}: can not be drawn: {one_line(error)}", file=sys.stderr)


def _validation(config: Config, class_names: Sequence[str]) -> Validate | None:
    """Scores a network on the validation split, if ``train.eval_every`` asks for it."""
    from ..runtime import check_classes, check_scorable, evaluated_images, score

    if not config.train.eval_every:
        check_classes(config, "val", class_names, "data.train")
        return None
    images = evaluated_images(config, "val", class_names, "data.train")
    check_scorable(images, "train.eval_every, data.val")

    def validate(model: Detector) -> dict[str, float]:
        evaluation = score(model, images)
        return {} if evaluation is None else evaluation.stats

    return validate


def _describe(config: Config, images: Annotations, device: torch.device, resumed: Resumed | None) -> None:
    from ..engine.dry_run import describe_dry_run

    report = describe_dry_run(config, images, device, 0 if resumed is None else resumed.content["step"])
    if is_main():
        print(f"{config_to_yaml(config)}\n{_headline(config, images, device)}\n{report}\nnothing was written")


def _check_folder(config: Config, out: Path, may_hold_run: bool) -> None:
    from ..engine.log import METRICS, summary_writer
    from ..engine.train import CHECKPOINT

    if config.train.tensorboard:
        summary_writer()  # raises an error if TensorBoard is not installed
    if not may_hold_run and any((out / name).exists() for name in (METRICS, CHECKPOINT)):
        raise UsageError(
            f"--out: {out} holds a run already; choose another folder, or add --resume to go on with it or "
            "--overwrite to replace it"
        )


def _headline(config: Config, images: Annotations, device: torch.device) -> str:
    from ..engine.optim import total_steps

    processes = f" in {world_size()} processes" if world_size() > 1 else ""
    initial = config.assign.initial_rule()
    first = "" if initial is None else f"{initial} for {config.assign.initial_iterations} steps, then "
    return (
        f"{len(images)} images, {len(images.boxes)} boxes, {len(images.class_names)} classes; "
        f"{total_steps(config, len(images))} steps of {config.train.batch_size} images on {device}{processes}; "
        f"{first}{config.assign.rule()}"
    )
