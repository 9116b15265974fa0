"""mmdetection's FCOSHead, trained through the op, and an assigner for its registry. Tried with mmdetection 3.3.0.

On a model that is built, or in a configuration once ``register()`` ran (``custom_imports`` can run it):

    use_in_fcos_head(model.bbox_head, presets.authors_code)
    bbox_head = dict(type="PseudoIoUFCOSHead", rule="authors_code", ...)
    assigner = dict(type="PseudoIoUAssigner", rule="authors_code", strides=[8, 16, 32, 64, 128])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from torch import Tensor, nn

from .. import presets
from .._checks import check_rule
from ..assignment import Assignment, assign
from ..encodings import to_class_labels
from ..packing import pack_boxes
from ..rule import AssignRule
from ._adapted import adapt
from ._grid import feature_shapes

Head = TypeVar("Head", bound=nn.Module)


def use_in_fcos_head(head: Head, rule: AssignRule = presets.authors_code) -> Head:
    """Let mmdetection's ``FCOSHead`` take its targets from the op: replaces ``get_targets``.

    The head's own ``regress_ranges``, ``center_sampling`` and ``center_sample_radius`` are not read any more;
    ``norm_on_bbox`` is. Ignored points become background: its focal loss has no third state.

    Args:
        head: a ``mmdet.models.FCOSHead``; changed in place.
        rule: the switches.

    Returns:
        The head.

    Raises:
        TypeError: the head is not built like FCOSHead.

    Examples:
        >>> from mmdet.models.dense_heads import FCOSHead
        >>> from pseudo_iou_ops import presets
        >>> from pseudo_iou_ops.integrations.mmdetection import use_in_fcos_head
        >>> head = use_in_fcos_head(FCOSHead(num_classes=80, in_channels=256), presets.authors_code)
    """
    for name in ("loss_by_feat", "get_targets", "num_classes", "strides", "norm_on_bbox"):
        if not hasattr(head, name):
            raise TypeError(f"head: expected an mmdetection FCOSHead with {name!r}, got {type(head).__name__}")
    check_rule(rule)
    settings: Any = head
    settings.assign_rule = rule
    return head if isinstance(head, _FcosTargets) else adapt(head, _FcosTargets)


def register() -> None:
    """Add to mmdetection's ``MODELS`` and ``TASK_UTILS`` the classes that only a configuration names; once.

    ``PseudoIoUFCOSHead`` and ``FusedTOODHead`` are heads, ``PseudoIoUAssigner`` is an assigner of points.

    Raises:
        ImportError: mmdetection is not installed.

    Examples:
        >>> from mmdet.registry import MODELS
        >>> from pseudo_iou_ops.integrations.mmdetection import register
        >>> register()
        >>> "PseudoIoUFCOSHead" in MODELS
        True
    """
    from mmdet.registry import MODELS, TASK_UTILS

    if "PseudoIoUFCOSHead" in MODELS:
        return
    from ._mmdetection_classes import FusedTOODHead, PseudoIoUAssigner, PseudoIoUFCOSHead

    MODELS.register_module(module=PseudoIoUFCOSHead)
    MODELS.register_module(module=FusedTOODHead)
    TASK_UTILS.register_module(module=PseudoIoUAssigner)


class _FcosTargets:
    """The methods of an FCOSHead that takes its targets from the op."""

    def loss_by_feat(self: Any, cls_scores: Sequence[Tensor], *args: Any, **options: Any) -> Any:
        self.level_shapes = feature_shapes(cls_scores)
        return super().loss_by_feat(cls_scores, *args, **options)  # type: ignore[misc]

    def get_targets(self: Any, points: Sequence[Tensor], batch_gt_instances: Sequence[Any]) -> tuple[Any, Any]:
        """Labels and box targets, one tensor per level, the images of a batch one after another."""
        boxes, labels, offsets = pack_boxes(
            [instances.bboxes for instances in batch_gt_instances],
            [instances.labels for instances in batch_gt_instances],
        )
        assignment: Assignment = assign(boxes, labels, offsets, self.level_shapes, self.strides, self.assign_rule)
        background = self.num_classes
        counts = [len(level) for level in points]
        labels_per_level = to_class_labels(assignment, background, ignore_label=background).split(counts, dim=1)
        ltrb_per_level = assignment.ltrb.split(counts, dim=1)
        if self.norm_on_bbox and not self.assign_rule.normalize_by_stride:
            ltrb_per_level = [ltrb / stride for ltrb, stride in zip(ltrb_per_level, self.strides, strict=True)]
        return [level.flatten() for level in labels_per_level], [level.flatten(0, 1) for level in ltrb_per_level]
