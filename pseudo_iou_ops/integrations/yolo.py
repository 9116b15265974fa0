"""The assigner's slot of the YOLO family. Tried with the interface of ultralytics 8.4, which is not imported or copied.

loss.assigner = YoloAssigner(num_classes=80, strides=(8, 16, 32))
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from .. import presets
from ..assignment import Assignment
from ..encodings import YoloTargets, to_yolo
from ..packing import pack_padded
from ..rule import AssignRule
from ..top_k_assigner import make_assigner
from ._grid import grid_offset, grid_shapes
from ._rules import StaticRule, check_static_rule


class YoloAssigner(nn.Module):
    """A static assigner in the place of a task-aligned one: predictions are taken and not read.

    Args:
        num_classes: C.
        strides: L strides in pixels.
        rule: the switches, of an AssignRule or an Atss; where points lie in their cells is read from the points.
        soft: score a match of an AssignRule by its Pseudo-IoU instead of 1.

    Raises:
        TypeError: the rule is none of these.
        ValueError: soft is asked of an Atss.

    Examples:
        >>> import torch
        >>> from pseudo_iou_ops import level_points
        >>> from pseudo_iou_ops.integrations.yolo import YoloAssigner
        >>> boxes, labels, mask = torch.tensor([[[0.0, 0.0, 24.0, 24.0]]]), torch.tensor([[[7]]]), torch.ones(1, 1, 1)
        >>> scores, predicted, points = torch.zeros(1, 9, 80), torch.zeros(1, 9, 4), level_points([(3, 3)], [8])
        >>> targets = YoloAssigner(num_classes=80, strides=(8,))(scores, predicted, points, labels, boxes, mask)
        >>> targets.foreground.view(3, 3)
        tensor([[False,  True, False],
                [ True,  True,  True],
                [False,  True, False]])
    """

    def __init__(
        self,
        num_classes: int,
        strides: Sequence[float] = (8, 16, 32),
        rule: StaticRule = presets.paper,
        soft: bool = False,
    ) -> None:
        super().__init__()
        check_static_rule(rule)
        if soft and not isinstance(rule, AssignRule):
            raise ValueError(f"soft: expected False with an {type(rule).__name__}, whose matches score 1, got {soft}")
        self.num_classes = num_classes
        self.strides = tuple(strides)
        self.rule = rule
        self.soft = soft

    def forward(
        self,
        pd_scores: Tensor,
        pd_bboxes: Tensor,
        anc_points: Tensor,
        gt_labels: Tensor,
        gt_bboxes: Tensor,
        mask_gt: Tensor,
        **_: object,
    ) -> YoloTargets:
        """The tuple ``target_labels, target_bboxes, target_scores, fg_mask, target_gt_idx``.

        The points carry no shapes, so they are read on the host, which waits for the device.

        Args:
            pd_scores: (B, P, C), not read.
            pd_bboxes: (B, P, 4), not read.
            anc_points: (P, 2) floating, x y in pixels, of regular grids.
            gt_labels: (B, G, 1), classes; any dtype.
            gt_bboxes: (B, G, 4) floating, x1 y1 x2 y2 in pixels.
            mask_gt: (B, G, 1), nonzero for a real box.

        Raises:
            ValueError: the points are not one regular grid per stride.
        """
        boxes, labels, offsets = pack_padded(gt_bboxes, gt_labels.long(), mask_gt)
        assigner = make_assigner(self.strides, self.rule, grid_offset(anc_points, self.strides[0]))
        shapes = grid_shapes(anc_points, self.strides)
        assignment = assigner(shapes, boxes, labels, offsets)
        quality = assignment.pseudo_iou if self.soft and isinstance(assignment, Assignment) else None
        targets = to_yolo(assignment, boxes, offsets, self.num_classes, quality)
        # As the family's own assigners: boxes in the dtype of the ground truths, scores in that of the predictions.
        return targets._replace(boxes=targets.boxes.to(gt_bboxes.dtype), scores=targets.scores.to(pd_scores.dtype))
