"""What a detector's recall costs in false positives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..data import Annotations
from ..model import Detections
from .voc import FALSE_POSITIVE, match

RECALLS = (0.5, 0.6, 0.7, 0.8, 0.9)


class RecallCurve(NamedTuple):
    """As the score that a detection needs falls: what share of the boxes is found, and what is found in vain."""

    recall: Tensor
    """(N,) float64, ascending."""
    false_positives: Tensor
    """(N,) int64, ascending."""

    def false_positives_at(self, recall: float) -> int | None:
        """Before that share of the boxes is found; None if it never is."""
        reached = (self.recall >= recall).nonzero().flatten()
        return int(self.false_positives[reached[0]]) if len(reached) else None


def recall_curve(found: Sequence[Detections], annotations: Annotations) -> RecallCurve:
    """Of the detections of all images, of any class, each compared with the ground truth at an IoU of 0.5.

    Boxes to ignore, and detections of them, count neither way.
    """
    matches = []
    for index, detections in enumerate(found):
        rows = annotations.rows(index)
        boxes, labels, ignore = annotations.boxes[rows], annotations.labels[rows], annotations.ignore[rows]
        matches.append(match(detections, boxes, labels, ignore, inclusive_pixels=False))
    matched = torch.cat([*matches, torch.empty(0, dtype=torch.int64)])
    scores = torch.cat([*(detections.scores for detections in found), torch.empty(0)])
    best_first = matched[scores.argsort(descending=True, stable=True)]
    to_find = int((~annotations.ignore).sum())
    return RecallCurve((best_first >= 0).cumsum(0).double() / max(to_find, 1), (best_first == FALSE_POSITIVE).cumsum(0))


def recall_table(names: Sequence[str], curves: Sequence[RecallCurve], recalls: Sequence[float] = RECALLS) -> str:
    """The false positives of each detector at the same recalls, as Markdown; a dash where it is not reached."""
    lines = [["recall", *names], ["---"] * (len(names) + 1)]
    for recall in recalls:
        counts = [curve.false_positives_at(recall) for curve in curves]
        lines.append([f"{recall:g}", *("-" if count is None else str(count) for count in counts)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
