"""This library: from lists per image, from a packed batch, and into the tensors of an earlier result."""

from __future__ import annotations

import pseudo_iou_ops
from pseudo_iou_ops import Assignment, AssignRule, PointAssigner

from ..targets import Targets, with_counts_for
from ..workloads import STRIDES, Batch


def assign(batch: Batch, rule: AssignRule) -> Targets:
    shapes = batch.pyramid.level_shapes
    return Targets.of_assignment(pseudo_iou_ops.assign(*batch.packed, shapes, STRIDES, rule), rule)


def assign_lists(batch: Batch, rule: AssignRule) -> Targets:
    assigner = PointAssigner(STRIDES, rule)
    return Targets.of_assignment(assigner(batch.pyramid.level_shapes, batch.boxes, batch.labels), rule)


class AssignInto:
    """Keeps one result and writes every later call of the same shape into it, as a training loop would."""

    def __init__(self) -> None:
        self.kept: Assignment | None = None

    def __call__(self, batch: Batch, rule: AssignRule) -> Targets:
        return Targets.of_assignment(self.assign_into(batch, rule), rule)

    def assign_into(self, batch: Batch, rule: AssignRule) -> Assignment:
        boxes, labels, offsets = batch.packed
        shapes = batch.pyramid.level_shapes
        out = with_counts_for(self.kept, batch)
        if out is None:
            self.kept = pseudo_iou_ops.assign(boxes, labels, offsets, shapes, STRIDES, rule)
            return self.kept
        return pseudo_iou_ops.assign(boxes, labels, offsets, shapes, STRIDES, rule, out=out)
