"""The assigner's slot of the YOLO family. Tried with the interface of ultralytics 8.4, which is not imported or copied.

loss.assigner = YoloAssigner(num_classes=80, strides=(8, 16, 32), rule=presets.yolov8)
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from .. import presets
from ..assignment import Assignment
from ..encodings import YoloTargets, to_yolo
from ..packing import pack_padded
from ..protocols import AssignmentLike, PointPredictions
from ..rule import AssignRule
from ..top_k import TopKAssignment
from ..top_k_assigner import make_assigner
from ..top_k_rules import SoftLabel
from ._grid import GridReader
from ._rules import AnyRule, check_any_rule


class YoloAssigner(nn.Module):
    """Any rule in the place of the family's own assigner, whether it reads predictions or not.

    Args:
        num_classes: C.
        strides: L strides in pixels.
        rule: the switches; where points lie in their cells is read from the points.
        soft: score a match of an AssignRule by its Pseudo-IoU instead of 1. Rules of ``assign_top_k`` say themselves
            what a match scores.

    Raises:
        TypeError: the rule is none, or a ``SoftLabel``, which reads logits: the slot gets probabilities.
        ValueError: soft is asked of another rule than an AssignRule, or num_classes is no whole number above 0.

    Examples:
        >>> import torch
        >>> from pseudo_iou_ops import level_points, presets
        >>> from pseudo_iou_ops.integrations.yolo import YoloAssigner
        >>> boxes, labels, mask = torch.tensor([[[0.0, 0.0, 24.0, 24.0]]]), torch.tensor([[[7]]]), torch.ones(1, 1, 1)
        >>> scores, points = torch.full((1, 9, 80), 0.5), level_points([(3, 3)], [8])
        >>> predicted = torch.tensor([0.0, 0.0, 24.0, 18.0]).expand(1, 9, 4)
        >>> assigner = YoloAssigner(num_classes=80, strides=(8,), rule=presets.pp_yoloe)
        >>> targets = assigner(scores, predicted, points, labels, boxes, mask)
        >>> targets.foreground.sum(), targets.scores.amax()  # all nine predict the box with an IoU of 0.75
        (tensor(9), tensor(0.7500))
    """

    def __init__(
        self,
        num_classes: int,
        strides: Sequence[float] = (8, 16, 32),
        rule: AnyRule = presets.paper,
        soft: bool = False,
    ) -> None:
        super().__init__()
        check_any_rule(rule)
        if isinstance(rule, SoftLabel):
            raise TypeError("rule: expected one that reads probabilities, as the slot gets them, got a SoftLabel")
        if soft and not isinstance(rule, AssignRule):
            raise ValueError(
                f"soft: expected False with a rule of assign_top_k, which scores its matches itself, got {soft}"
            )
        if not isinstance(num_classes, int) or num_classes < 1:
            raise ValueError(f"num_classes: expected a whole number of at least 1, got {num_classes!r}")
        self.num_classes = num_classes
        self.strides = tuple(strides)
        self.rule = rule
        self.soft = soft
        self._grids = GridReader()

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

        The points carry no shapes. Those of square images are read on the host once for as many points, so that further
        steps do not wait for the device; others are read in each call.

        Args:
            pd_scores: (B, P, C) probabilities; read if the rule reads predictions, as the next.
            pd_bboxes: (B, P, 4) x1 y1 x2 y2 in pixels.
            anc_points: (P, 2) floating, x y in pixels, of regular grids.
            gt_labels: (B, G, 1), classes; any dtype.
            gt_bboxes: (B, G, 4) floating, x1 y1 x2 y2 in pixels.
            mask_gt: (B, G, 1), nonzero for a real box.

        Raises:
            ValueError: the points are not one regular grid per stride, or the scores are of other classes.
        """
        if pd_scores.shape[-1] != self.num_classes:
            raise ValueError(f"pd_scores: expected {self.num_classes} channels, got {tuple(pd_scores.shape)}")
        boxes, labels, offsets = pack_padded(gt_bboxes, gt_labels.long(), mask_gt)
        shapes, offset = self._grids.read(anc_points, self.strides)
        assigner = make_assigner(self.strides, self.rule, offset, box_format="xyxy", score_kind="probabilities")
        predictions = PointPredictions(pd_bboxes, pd_scores) if assigner.needs_predictions else None
        assignment = assigner(shapes, boxes, labels, offsets, predictions=predictions)
        targets = to_yolo(assignment, boxes, offsets, self.num_classes, self._quality(assignment))
        # As the family's own assigners: boxes in the dtype of the ground truths, scores in that of the predictions.
        return targets._replace(boxes=targets.boxes.to(gt_bboxes.dtype), scores=targets.scores.to(pd_scores.dtype))

    def _quality(self, assignment: AssignmentLike) -> Tensor | None:
        """(B, P) what a match scores; None: 1."""
        if isinstance(assignment, TopKAssignment):
            return assignment.score
        return assignment.pseudo_iou if self.soft and isinstance(assignment, Assignment) else None
