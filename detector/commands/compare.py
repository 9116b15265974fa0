"""The command ``compare``: what checkpoints find in the same images, as in the paper's Figure 3."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from ..config import Config
from ..errors import UsageError, UserError, first_few
from .options import Settings, trained_config

if TYPE_CHECKING:
    from torch import Tensor

    from ..data import Annotations
    from ..evaluation.recall import RecallCurve
    from ..model import Detector
    from ..visualise.comparison import Judged, Row


@dataclass(frozen=True)
class CompareArguments:
    """Draw what two checkpoints find in the same images, their mistakes marked, as in the paper's Figure 3.

    Images of the split that can not be read are left out for all of them; they are named at the end, and the exit
    status is 1.
    """

    checkpoints: tuple[Path, ...] = tyro.MISSING
    """The baseline's first; its data set and its settings below are used for all."""
    names: tuple[str, ...] = ()
    """Titles of the columns; the checkpoints' folders if not given."""
    split: Literal["val", "train"] = "val"
    indices: tuple[int, ...] = ()
    """Positions of the images in the split; without any, those where the mistakes differ most in number."""
    count: int = 4
    """How many images, if none is named."""
    score: float = 0.3
    """Detections from this score on count."""
    out: Path = Path("runs/comparison.png")
    settings: Settings = field(default_factory=Config)


def source(arguments: CompareArguments) -> Config:
    """The configuration that the first checkpoint was trained with."""
    return trained_config(arguments.checkpoints[0]) if arguments.checkpoints else Config()


def run(arguments: CompareArguments) -> None:
    """Draw images with the detections of each checkpoint, false positives and missed boxes marked.

    Raises:
        UserError: the checkpoints' classes differ; or images can not be read, told when the others are done.
    """
    from ..evaluation.detect import detect_all, detect_readable
    from ..evaluation.recall import recall_curve, recall_table
    from ..visualise.comparison import draw_comparison
    from ..visualise.mistakes import count_mistakes, judge, most_different
    from ..visualise.recall import draw_recall

    checkpoints, out = arguments.checkpoints, arguments.out
    names = _names(arguments)
    split = _images(arguments)
    columns: list[list[Judged]] = []
    curves: list[RecallCurve] = []
    for name, checkpoint in zip(names, checkpoints, strict=True):
        model, labels = _restore(checkpoint, arguments)
        if not columns:
            detections, images, positions, unreadable = detect_readable(model, split)
        else:
            detections = detect_all(model, images)
        found = [one._replace(labels=labels[one.labels]) for one in detections]
        curves.append(recall_curve(found, images))
        judged = [judge(one, images, index, arguments.score) for index, one in enumerate(found)]
        columns.append(judged)
        print(f"{name}: {count_mistakes(judged)} in {len(images)} images, from a score of {arguments.score:g} on")
    print(f"false positives at the same recall:\n{recall_table(names, curves)}")
    if arguments.indices:
        chosen = [positions.index(position) for position in arguments.indices if position in positions]
    else:
        chosen = most_different(columns, arguments.count)
    recall_file = out.with_stem(f"{out.stem}_recall")
    rows = [_row(images, index, [judged[index] for judged in columns]) for index in chosen]
    if rows:
        out.parent.mkdir(parents=True, exist_ok=True)
        draw_comparison(rows, names, images.class_names, out)
        draw_recall(names, curves, recall_file)
        shown = ", ".join(str(positions[index]) for index in chosen)
        print(f"wrote {out}, images {shown} of the split, and {recall_file}")
    if unreadable:
        raise UserError(f"{len(unreadable)} of {len(split)} images can not be read: {first_few(unreadable)}")


def _names(arguments: CompareArguments) -> Sequence[str]:
    """The titles of the columns; raises UsageError for an option out of its domain, before anything is computed."""
    from ..visualise.palette import check_ending

    checkpoints = arguments.checkpoints
    names = arguments.names or [checkpoint.resolve().parent.name for checkpoint in checkpoints]
    if len(checkpoints) < 2 or len(names) != len(checkpoints):
        raise UsageError(
            f"--checkpoints, --names: expected two or more checkpoints and a name for each, "
            f"got {len(checkpoints)} and {len(names)}"
        )
    if arguments.count < 1:
        raise UsageError(f"--count: expected at least 1, got {arguments.count}")
    check_ending(arguments.out)
    return names


def _images(arguments: CompareArguments) -> Annotations:
    """The images of the split, its classes in the order of the baseline's, which all checkpoints are to know."""
    from ..data.classes import labels_in
    from ..engine.checkpoint import load_checkpoint
    from ..runtime import check_scorable, evaluated_images

    baseline = arguments.checkpoints[0]
    class_names = load_checkpoint(baseline)["class_names"]
    for checkpoint in arguments.checkpoints[1:]:
        labels_in(load_checkpoint(checkpoint)["class_names"], class_names, str(checkpoint), str(baseline))
    images = evaluated_images(arguments.settings, arguments.split, class_names, str(baseline))
    check_scorable(images, f"--split {arguments.split}")
    if not all(0 <= index < len(images) for index in arguments.indices):
        raise UsageError(f"--indices: expected 0 to {len(images) - 1}, got {' '.join(map(str, arguments.indices))}")
    return images


def _restore(checkpoint: Path, arguments: CompareArguments) -> tuple[Detector, Tensor]:
    """A network, and which of the baseline's labels each of its own is."""
    from ..data.classes import labels_in
    from ..engine.checkpoint import load_checkpoint
    from ..runtime import restore_model

    own = trained_config(checkpoint)
    config = dataclasses.replace(arguments.settings, model=own.model, assign=own.assign)
    content, baseline = load_checkpoint(checkpoint), arguments.checkpoints[0]
    class_names = load_checkpoint(baseline)["class_names"]
    labels = labels_in(content["class_names"], class_names, str(checkpoint), str(baseline))
    return restore_model(content, config, checkpoint), labels


def _row(annotations: Annotations, index: int, judged: list[Judged]) -> Row:
    from ..visualise.comparison import Row

    boxes = annotations.rows(index)
    return Row(
        annotations.read_image(index),
        annotations.boxes[boxes],
        annotations.labels[boxes],
        annotations.ignore[boxes],
        judged,
    )
