"""What every contestant of the ops where boxes choose points returns, and how it is compared."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pseudo_iou_ops import TopKAssignment

# torch's pow, exp and atan round otherwise than the contract's chains, and CIoU subtracts.
SCORE_TOLERANCE, SMALLEST_SCORE = 1e-4, 1e-5


class TopKTargets(NamedTuple):
    """Training targets of B images and P points, in the encoding of :class:`pseudo_iou_ops.TopKAssignment`."""

    matched: Tensor
    """(B, P) int64, row of the packed boxes; -1 background."""
    labels: Tensor
    """(B, P) int64; -1 background."""
    num_pos: Tensor
    """(B,) int64."""
    score: Tensor | None
    """(B, P) float32, or None from a contestant that leaves it to the head."""

    @staticmethod
    def of_assignment(assignment: TopKAssignment) -> TopKTargets:
        return TopKTargets(assignment.matched, assignment.labels, assignment.num_pos, assignment.score)


def differing_points(given: TopKTargets, expected: TopKTargets) -> int:
    """How many points another box, or none, was chosen for."""
    if given.matched.shape != expected.matched.shape:
        return expected.matched.numel()
    return int((given.matched != expected.matched).sum())


def difference_beside(given: TopKTargets, expected: TopKTargets) -> str | None:
    """What differs beside the choice of boxes, or None: labels follow from it, scores within the tolerance."""
    same = given.matched == expected.matched
    for name in ("labels", "score"):
        mine, theirs = getattr(given, name), getattr(expected, name)
        if mine is None:
            continue
        if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
            return f"{name}: {tuple(mine.shape)} {mine.dtype}, expected {tuple(theirs.shape)} {theirs.dtype}"
        differs = same & (mine != theirs)
        if name == "score":
            # Of an image whose boxes have all their points in both: another point of a box changes all its scores.
            unchanged = same.all(dim=1, keepdim=True)
            differs &= unchanged & ((mine - theirs).abs() > SCORE_TOLERANCE * theirs.clamp(min=SMALLEST_SCORE))
        if differs.any():
            return f"{name}: {int(differs.sum())} of {differs.numel()} values differ"
    if not torch.equal(given.num_pos, (given.matched >= 0).sum(1)):
        return "num_pos: not the number of positives"
    return None


def padded_targets(row: Tensor, is_positive: Tensor, labels: Tensor, first_rows: Tensor, score: Tensor) -> TopKTargets:
    """Of the row within its image, (B, P), that each point took, and padded labels (B, G)."""
    return TopKTargets(
        matched=torch.where(is_positive, row + first_rows[:, None], -1),
        labels=torch.where(is_positive, labels.gather(1, row), -1),
        num_pos=is_positive.sum(1),
        score=torch.where(is_positive, score, 0),
    )
