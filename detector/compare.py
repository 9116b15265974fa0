"""The command ``compare``: what checkpoints find in the same images, as in the paper's Figure 3."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch

from .commands import restore
from .config import Config, check_config
from .data import Annotations, Split
from .data.loader import read_image
from .engine.checkpoint import checkpoint_config, load_checkpoint
from .errors import UsageError
from .evaluation.coco import detect_all
from .evaluation.voc import FALSE_POSITIVE, match
from .model import Detections
from .visualise.comparison import Judged, Row, draw_comparison


def run_compare(
    config: Config,
    checkpoints: Sequence[Path],
    names: Sequence[str],
    split: Split,
    indices: Sequence[int],
    count: int,
    score: float,
    out: Path,
) -> None:
    """Draw images with the detections of each checkpoint, false positives and missed boxes marked.

    Args:
        config: the data set, the evaluation's settings and the device; the networks are the checkpoints' own.
        checkpoints: two or more.
        names: of the columns, one per checkpoint; the checkpoints' folders if empty.
        split: where the images are from.
        indices: positions of the images; if empty, those where the checkpoints' mistakes differ most in number.
        count: how many images if none is named.
        score: detections from this score on count.
        out: the picture.
    """
    names = names or [checkpoint.resolve().parent.name for checkpoint in checkpoints]
    if len(checkpoints) < 2 or len(names) != len(checkpoints):
        raise UsageError(
            f"--checkpoints, --names: expected two or more checkpoints and a name for each, "
            f"got {len(checkpoints)} and {len(names)}"
        )
    columns = []
    for name, checkpoint in zip(names, checkpoints, strict=True):
        annotations, judged = _judge(config, checkpoint, split, score)
        columns.append(judged)
        print(f"{name}: {_counts(judged)} in {len(annotations)} images, from a score of {score:g} on")
    chosen = list(indices) or most_different(columns, count)
    if not all(0 <= index < len(annotations) for index in chosen):
        raise UsageError(f"--indices: expected 0 to {len(annotations) - 1}, got {' '.join(map(str, chosen))}")
    rows = []
    for index in chosen:
        boxes = annotations.rows(index)
        rows.append(
            Row(
                read_image(str(annotations.files[index])),
                annotations.boxes[boxes],
                annotations.labels[boxes],
                annotations.ignore[boxes],
                [judged[index] for judged in columns],
            )
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        draw_comparison(rows, names, annotations.class_names, out)
    except ValueError as error:  # an ending matplotlib does not write
        raise UsageError(f"--out {out}: {error}") from None
    print(f"wrote {out}: images {', '.join(map(str, chosen))} of the split")


def most_different(columns: Sequence[Sequence[Judged]], count: int) -> list[int]:
    """The images where the number of mistakes differs most between the columns, most different first."""
    mistakes = torch.tensor([[judged.false_positives + judged.missed for judged in column] for column in columns])
    difference = mistakes.amax(0) - mistakes.amin(0)
    return difference.argsort(descending=True, stable=True)[:count].tolist()


def judge(found: Detections, annotations: Annotations, index: int, score: float) -> Judged:
    """The detections of an image from a score on, each compared with the ground truth at an IoU of 0.5."""
    shown = Detections(*(tensor[found.scores >= score] for tensor in found))
    rows = annotations.rows(index)
    boxes, labels, ignore = annotations.boxes[rows], annotations.labels[rows], annotations.ignore[rows]
    matched = match(shown, boxes, labels, ignore, inclusive_pixels=False)
    missed = ~ignore
    missed[matched[matched >= 0]] = False
    return Judged(shown, matched == FALSE_POSITIVE, missed)


def _judge(config: Config, checkpoint: Path, split: Split, score: float) -> tuple[Annotations, list[Judged]]:
    check_config(config)
    own = checkpoint_config(load_checkpoint(checkpoint), checkpoint)
    model, annotations = restore(dataclasses.replace(config, model=own.model, assign=own.assign), checkpoint, split)
    found = detect_all(model, annotations)
    return annotations, [judge(detections, annotations, index, score) for index, detections in enumerate(found)]


def _counts(judged: Sequence[Judged]) -> str:
    right = sum(len(one.found.boxes) - one.false_positives for one in judged)
    wrong, missed = (sum(getattr(one, name) for one in judged) for name in ("false_positives", "missed"))
    return f"{right} right, {wrong} false positives, {missed} missed"
