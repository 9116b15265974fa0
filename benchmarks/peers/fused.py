"""This library: from lists per image, from a packed batch, and into the tensors of an earlier result."""

from __future__ import annotations

import pseudo_iou_ops
from pseudo_iou_ops import Assignment, AssignRule, PointAssigner

from ..targets import Targets
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
        out = self._outputs_for(batch)
        if out is None:
            self.kept = pseudo_iou_ops.assign(boxes, labels, offsets, shapes, STRIDES, rule)
            return self.kept
        return pseudo_iou_ops.assign(boxes, labels, offsets, shapes, STRIDES, rule, out=out)

    def _outputs_for(self, batch: Batch) -> Assignment | None:
        """Kept tensors for the points; the few counts follow the number of boxes, side by side for one memset."""
        if self.kept is None or self.kept.matched.device != batch.pyramid.device:
            return None
        if self.kept.matched.shape != (batch.num_images, batch.pyramid.num_points):
            return None
        counts = self.kept.num_pos.new_empty(batch.num_images + batch.num_boxes)
        num_pos, pos_per_box = counts.split_with_sizes((batch.num_images, batch.num_boxes))
        return self.kept._replace(num_pos=num_pos, pos_per_box=pos_per_box)
