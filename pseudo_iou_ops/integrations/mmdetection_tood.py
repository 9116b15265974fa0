"""mmdetection's TOODHead, which gets the targets of a whole batch in one call. Tried with mmdetection 3.3.0.

On a model that is built, or in a configuration once ``register()`` of :mod:`.mmdetection` ran:

    use_in_tood_head(model.bbox_head)
    bbox_head = dict(type="FusedTOODHead", ...)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .. import presets
from ..assignment import IGNORED
from ..encodings import matched_boxes, to_class_labels
from ..packing import pack_boxes
from ..protocols import PointPredictions
from ..top_k import TopKAssignment
from ..top_k_assigner import TopKAssigner
from ..top_k_rules import Atss, TaskAligned
from ._adapted import adapt
from ._grid import feature_shapes

Head = TypeVar("Head", bound=nn.Module)
_NEEDED = ("loss_by_feat", "get_targets", "initial_epoch", "prior_generator", "num_classes", "train_cfg")


def use_in_tood_head(head: Head, rule: TaskAligned = presets.tood, initial_rule: Atss = presets.atss) -> Head:
    """Let mmdetection's ``TOODHead`` take the targets of a batch from one call: replaces ``get_targets``.

    Its loops over images and boxes are gone, and nothing is read back by the host. ``train_cfg`` still says how many
    epochs ATSS assigns, and what a positive weighs; its assigners, ``alpha`` and ``beta`` are no longer read.

    Args:
        head: a ``mmdet.models.TOODHead`` with a ``train_cfg``; changed in place.
        rule: the switches of the task-aligned assignment.
        initial_rule: those of the first epochs. Its ``anchor_scale`` is the generator's ``octave_base_scale``.

    Returns:
        The head.

    Raises:
        TypeError: the head is not built like TOODHead, or a rule is of another family.
        ValueError: the head's anchors do not lie on the corners of their cells, are more than one a cell, or are to
            lie within the image.

    Examples:
        >>> from mmdet.models.dense_heads import TOODHead
        >>> from pseudo_iou_ops.integrations.mmdetection_tood import use_in_tood_head
        >>> anchors = {"type": "AnchorGenerator", "ratios": [1.0], "octave_base_scale": 8, "scales_per_octave": 1}
        >>> train_cfg = {
        ...     "initial_epoch": 4, "allowed_border": -1, "pos_weight": -1, "alpha": 1, "beta": 6,
        ...     "initial_assigner": {"type": "ATSSAssigner", "topk": 9},
        ...     "assigner": {"type": "TaskAlignedAssigner", "topk": 13},
        ... }
        >>> head = TOODHead(80, 256, anchor_generator={**anchors, "strides": [8, 16, 32]}, train_cfg=train_cfg)
        >>> head = use_in_tood_head(head)
        >>> head.assign_rule.k
        13
    """
    for name in _NEEDED:
        if not hasattr(head, name):
            raise TypeError(f"head: expected an mmdetection TOODHead with {name!r}, got {type(head).__name__}")
    if not isinstance(rule, TaskAligned):
        raise TypeError(f"rule: expected a TaskAligned, got {type(rule).__name__}")
    if not isinstance(initial_rule, Atss):
        raise TypeError(f"initial_rule: expected an Atss, got {type(initial_rule).__name__}")
    settings: Any = head
    _check_anchors(settings)
    settings.assign_rule, settings.initial_assign_rule = rule, initial_rule
    return head if isinstance(head, _ToodTargets) else adapt(head, _ToodTargets)


def _check_anchors(head: Any) -> None:
    """The anchors that the assignment stands for: one a cell, on its corner, wherever that lies in the image."""
    generator, border = head.prior_generator, head.train_cfg["allowed_border"]
    if set(generator.num_base_priors) != {1}:
        raise ValueError(f"head: expected one anchor a cell, got {generator.num_base_priors}")
    if generator.center_offset != 0:
        raise ValueError(f"head: expected anchors of center_offset 0, got {generator.center_offset}")
    if border >= 0:
        raise ValueError(f"head: expected allowed_border -1, because all anchors take part, got {border}")


class _ToodTargets:
    """The methods of a TOODHead that takes the targets of a batch from one call."""

    assign_rule, initial_assign_rule = presets.tood, presets.atss

    def loss_by_feat(self: Any, cls_scores: Sequence[Tensor], *args: Any, **options: Any) -> Any:
        self.level_shapes = feature_shapes(cls_scores)
        return super().loss_by_feat(cls_scores, *args, **options)  # type: ignore[misc]

    def get_targets(
        self: Any,
        cls_scores: Tensor,
        bbox_preds: Tensor,
        anchor_list: Sequence[Sequence[Tensor]],
        valid_flag_list: object,
        batch_gt_instances: Sequence[Any],
        batch_img_metas: Sequence[dict[str, Any]],
        *_: object,
        **__: object,
    ) -> tuple[list[Tensor], ...]:
        """Anchors, labels, their weights, boxes and normalised metrics: of each one tensor (B, P_l, ...) per level.

        Args:
            cls_scores: (B, P, C), probabilities.
            bbox_preds: (B, P, 4), x1 y1 x2 y2 in pixels.
            anchor_list: per image and level (P_l, 4).
            valid_flag_list: not read; the sizes in the next but one say the same.
            batch_gt_instances: per image ``bboxes`` (M_b, 4) and ``labels`` (M_b,).
            batch_img_metas: per image ``pad_shape``, height and width beyond which anchors are left out.
        """
        from mmengine.logging import MessageHub

        self.epoch = MessageHub.get_current_instance().get_info("epoch")
        boxes, labels, offsets = pack_boxes(
            [instances.bboxes for instances in batch_gt_instances],
            [instances.labels for instances in batch_gt_instances],
        )
        rule = self.initial_assign_rule if self.epoch < self.initial_epoch else self.assign_rule
        strides = [stride[0] for stride in self.prior_generator.strides]
        sizes = torch.tensor([meta["pad_shape"][:2] for meta in batch_img_metas])
        assignment: TopKAssignment = TopKAssigner(strides, rule, 0.0, score_kind="probabilities")(
            self.level_shapes,
            boxes,
            labels,
            offsets,
            predictions=PointPredictions(bbox_preds.detach(), cls_scores.detach()),
            valid_sizes=sizes.to(boxes.device, torch.float32, non_blocking=True),
        )
        anchors = torch.cat(list(anchor_list[0]))
        is_valid = assignment.matched != IGNORED
        weight = self.train_cfg["pos_weight"]
        weights = torch.where(assignment.matched >= 0, weight if weight > 0 else 1.0, is_valid.to(anchors.dtype))
        targets = (
            anchors * is_valid.unsqueeze(-1),
            to_class_labels(assignment, self.num_classes, ignore_label=self.num_classes),
            weights,
            matched_boxes(assignment, boxes),
            assignment.score,
        )
        counts = [height * width for height, width in self.level_shapes]
        return tuple(list(target.split(counts, dim=1)) for target in targets)
