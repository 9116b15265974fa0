"""Which detections are mistakes, and in which images detectors differ by them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..data import Annotations
from ..evaluation.voc import FALSE_POSITIVE, match
from ..model import Detections
from .comparison import Judged


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


def count_mistakes(judged: Sequence[Judged]) -> str:
    """The detections of some images in numbers, as text."""
    right = sum(len(one.found.boxes) - one.false_positives for one in judged)
    wrong, missed = (sum(getattr(one, name) for one in judged) for name in ("false_positives", "missed"))
    return f"{right} right, {wrong} false positives, {missed} missed"
