"""What every contestant returns, and whether two of them returned the same."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from pseudo_iou_ops import Assignment, AssignRule


class Targets(NamedTuple):
    """Training targets of B images and P points, in the encoding of :class:`pseudo_iou_ops.Assignment`."""

    matched: Tensor
    """(B, P) int64, row of the packed boxes; -1 background."""
    labels: Tensor
    """(B, P) int64; -1 background."""
    ltrb: Tensor
    """(B, P, 4) float32; 0 where not positive."""
    score: Tensor
    """(B, P) float32: centerness if that is the metric, else Pseudo-IoU; 0 where not positive."""
    num_pos: Tensor
    """(B,) int64."""

    @staticmethod
    def of_assignment(assignment: Assignment, rule: AssignRule) -> Targets:
        score = assignment.centerness if rule.metric == "centerness" else assignment.pseudo_iou
        return Targets(assignment.matched, assignment.labels, assignment.ltrb, score, assignment.num_pos)


def differing_points(given: Targets, expected: Targets) -> int:
    """How many points another box, or none, was chosen for."""
    if given.matched.shape != expected.matched.shape:
        return expected.matched.numel()
    return int((given.matched != expected.matched).sum())


def difference(given: Targets, expected: Targets, score_ulps: int = 0) -> str | None:
    """What differs, or None if all targets are equal to the bit (scores within ``score_ulps``)."""
    for name, mine, theirs in zip(Targets._fields, given, expected, strict=True):
        if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
            return f"{name}: {tuple(mine.shape)} {mine.dtype}, expected {tuple(theirs.shape)} {theirs.dtype}"
        allowed = score_ulps if name == "score" else 0
        different = _distance(mine, theirs) > allowed
        if different.any():
            return f"{name}: {int(different.sum())} of {different.numel()} values differ"
    return None


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """Elementwise, in units of the last place; the bits of floats of one sign are ordered like integers."""
    if a.dtype == torch.float32:
        a, b = a.view(torch.int32).long(), b.view(torch.int32).long()
    return (a - b).abs()


def with_counts_for(kept: Any, batch: Any) -> Any:
    """An earlier result to write this batch's into, or None if its points are others. The few counts follow the number
    of boxes, side by side for one memset."""
    if kept is None or kept.matched.device != batch.pyramid.device:
        return None
    if kept.matched.shape != (batch.num_images, batch.pyramid.num_points):
        return None
    counts: Tensor = kept.num_pos.new_empty(batch.num_images + batch.num_boxes)
    num_pos, pos_per_box = counts.split_with_sizes((batch.num_images, batch.num_boxes))
    return kept._replace(num_pos=num_pos, pos_per_box=pos_per_box)
