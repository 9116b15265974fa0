"""The command ``demo``: score an untrained detector, train it, score it again, draw, and say what to try next."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import Config, bundled
from . import assign_view, eval, train
from .options import DEMO, Settings

if TYPE_CHECKING:
    from ..data import Annotations
    from ..model import Detector

PICTURED_IMAGES = 8
DRAWN_SCORE = 0.35


@dataclass(frozen=True)
class DemoArguments:
    """Train a small detector, score it before and after, and draw what it finds, in minutes on a CPU."""

    config: Path = DEMO
    """The configuration: the data set, the network and the length of the training."""
    out: Path | None = None
    """Folder of everything the demo writes, where an earlier demo is replaced; runs/demo or, with a configuration of
    your own, runs/demo_<its name> if not given."""
    settings: Settings = field(default_factory=Config)


def folder_of(arguments: DemoArguments) -> Path:
    """The folder of a demo: one of a configuration of another name does not replace it."""
    name = "demo" if bundled(arguments.config) == DEMO else f"demo_{arguments.config.stem}"
    return arguments.out or Path("runs") / name


def run(arguments: DemoArguments) -> None:
    """Take the steps of a project one after another, each by its own command."""
    import pycocotools  # noqa: F401  # a package that is missing is told of now, not after the training

    from ..engine.train import CHECKPOINT
    from ..runtime import evaluated_images, training_images

    config, out = arguments.settings, folder_of(arguments)
    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    assignment, detections, checkpoint = out / "assignment.png", out / "detections.png", out / CHECKPOINT

    # A rule that reads predictions is drawn by those of the trained network.
    is_static = not config.assign.reads_predictions
    index = None if _is_drawn(config) else 0
    if is_static:
        _heading("Which points learn which box")
        assign_view.run(assign_view.AssignViewArguments(index=index, out=assignment, settings=config))

    _heading("The untrained detector")
    images = evaluated_images(config, "val", training_images(config).class_names, "data.train")
    before = _score_untrained(config, images)
    print(f"AP {100 * before['AP']:.1f}   AP50 {100 * before['AP50']:.1f}")

    _heading("Training")
    model = train.run(train.TrainArguments(out=out, overwrite=True, settings=config))
    assert model is not None  # only a dry run gives none

    _heading("The trained detector")
    after = eval.run(eval.EvalArguments(checkpoint=checkpoint, settings=config))
    assert after is not None  # only the further processes of torchrun get none
    _draw(model, images, detections)
    if not is_static:
        _heading("Which points learn which box")
        assign_view.run(
            assign_view.AssignViewArguments(checkpoint=checkpoint, index=index, out=assignment, settings=config)
        )

    _heading("Done")
    print(_table(before, after.stats))
    print(f"\npictures: {assignment}, {out / train.FIRST_BATCH}, {detections}")
    print(f"time: {time.monotonic() - started:.0f} s\n")
    print(_next_steps(arguments, out, checkpoint))


def _is_drawn(config: Config) -> bool:
    """Whether the data set is the built-in one of drawn scenes."""
    return config.data.format == "synthetic"


def _heading(text: str) -> None:
    print(f"\n== {text}", flush=True)


def _score_untrained(config: Config, images: Annotations) -> dict[str, float]:
    import torch

    from ..engine.train import build_model
    from ..runtime import choose_device, score

    torch.manual_seed(config.train.seed)
    evaluation = score(build_model(config, len(images.class_names), choose_device(config)), images)
    assert evaluation is not None
    return evaluation.stats


def _draw(model: Detector, images: Annotations, file: Path) -> None:
    from ..evaluation.detect import detect_all
    from ..runtime import make_picture
    from ..visualise.detections import draw_detections

    chosen = images.select(range(min(PICTURED_IMAGES, len(images))))
    found = detect_all(model, chosen)
    pictures = [make_picture(chosen, index, one, DRAWN_SCORE, has_truth=True) for index, one in enumerate(found)]
    draw_detections(pictures, images.class_names, file, columns=2)


def _table(before: dict[str, float], after: dict[str, float]) -> str:
    lines = [f"{'':<8}{'untrained':>10}{'trained':>10}"]
    lines += [f"{name:<8}{100 * before[name]:>10.1f}{100 * after[name]:>10.1f}" for name in ("AP", "AP50", "AP75")]
    return "\n".join(lines)


def _next_steps(arguments: DemoArguments, out: Path, checkpoint: Path) -> str:
    from ..runtime import to_type

    is_of_points = arguments.settings.assign.kind == "points"
    config: tuple[str | Path, ...] = () if arguments.config == DEMO else ("--config", arguments.config)
    named = out if out.name not in ("", "..") else out.resolve()
    baseline = named.with_name(f"{named.name}_baseline")
    # By the paper's baseline or, of another family, by the paper's rule.
    other = (*config, "--assign.preset", "paper_baseline") if is_of_points else ()
    image = ("--scene", "12") if _is_drawn(arguments.settings) else ("--config", out / "config.yaml", "--index", "1")
    rules = ("--metrics", "pseudo_iou", "scaled_box", "center_radius")
    if not is_of_points:
        rules = ("--presets", "authors_code", "atss", "pseudo_iou_atss")
    commands = (
        to_type("demo", *other, "--out", baseline),
        to_type("predict", "--checkpoint", checkpoint, "--limit", "16"),
        to_type("assign-view", *image, *rules, "--out", out / "view.png"),
        to_type("train", "--help"),
    )
    return "\n".join(("try next:", *(f"  {command}" for command in commands)))
