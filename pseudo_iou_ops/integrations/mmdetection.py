"""mmdetection's FCOSHead, trained through the op, and an assigner for its registry. Tried with mmdetection 3.3.0.

On a model that is built, or in a configuration once ``register()`` ran (``custom_imports`` can run it):

    use_in_fcos_head(model.bbox_head, presets.authors_code)
    bbox_head = dict(type="PseudoIoUFCOSHead", rule="authors_code", ...)
    assigner = dict(type="PseudoIoUAssigner", rule="authors_code", strides=[8, 16, 32, 64, 128])
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any, TypeVar

from torch import Tensor, nn

from .. import presets
from .._checks import check_rule
from ..assignment import Assignment, assign
from ..encodings import to_class_labels, to_mmdetection
from ..packing import pack_boxes
from ..rule import AssignRule
from ._grid import feature_shapes, grid_shapes

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
    settings.loss_by_feat = types.MethodType(_loss_by_feat, head)  # bound methods follow a deepcopy of the head
    settings.get_targets = types.MethodType(_get_targets, head)
    return head


def register() -> None:
    """Add ``PseudoIoUFCOSHead`` to mmdetection's ``MODELS`` and ``PseudoIoUAssigner`` to its ``TASK_UTILS``; once.

    Raises:
        ImportError: mmdetection is not installed.

    Examples:
        >>> from mmdet.registry import MODELS
        >>> from pseudo_iou_ops.integrations.mmdetection import register
        >>> register()
        >>> "PseudoIoUFCOSHead" in MODELS
        True
    """
    from mmdet.models.dense_heads import FCOSHead
    from mmdet.models.task_modules.assigners import AssignResult, BaseAssigner
    from mmdet.registry import MODELS, TASK_UTILS

    if "PseudoIoUFCOSHead" in MODELS:
        return

    class PseudoIoUFCOSHead(FCOSHead):  # type: ignore[misc]  # untyped
        """``rule`` is the name of a preset, or the switches of an AssignRule as a dict."""

        def __init__(self, *args: Any, rule: str | dict[str, Any] = "authors_code", **options: Any) -> None:
            super().__init__(*args, **options)
            use_in_fcos_head(self, _rule_of(rule))

    class PseudoIoUAssigner(BaseAssigner):  # type: ignore[misc]  # untyped
        """For heads whose priors are points (N, 4) ``x y stride_w stride_h``, one image at a time.

        The points carry no shapes, so each call reads them on the host; a head's own ``get_targets`` need not.
        """

        def __init__(self, strides: Sequence[float], rule: str | dict[str, Any] = "authors_code", offset: float = 0.5):
            self.strides, self.rule, self.offset = tuple(strides), _rule_of(rule), offset

        def assign(self, pred_instances: Any, gt_instances: Any, gt_instances_ignore: Any = None, **_: Any) -> Any:
            priors, boxes = pred_instances.priors, gt_instances.bboxes
            packed, labels, offsets = pack_boxes([boxes], [gt_instances.labels])
            ignore = None if gt_instances_ignore is None else gt_instances_ignore.bboxes
            assignment = assign(
                packed,
                labels,
                offsets,
                grid_shapes(priors[:, :2], self.strides),
                self.strides,
                self.rule,
                offset=self.offset,
                ignore_boxes=ignore,
                ignore_offsets=None if ignore is None else offsets.new_tensor([0, len(ignore)]),
            )
            quality = assignment.centerness if self.rule.metric == "centerness" else assignment.pseudo_iou
            return AssignResult(
                len(boxes),
                to_mmdetection(assignment, offsets)[0],
                quality[0],
                to_class_labels(assignment, -1)[0],  # background and ignored are both -1 here
            )

    MODELS.register_module(module=PseudoIoUFCOSHead)
    TASK_UTILS.register_module(module=PseudoIoUAssigner)


def _rule_of(rule: str | dict[str, Any]) -> AssignRule:
    if isinstance(rule, dict):
        return AssignRule(**rule)
    preset = getattr(presets, rule, None)
    if not isinstance(preset, AssignRule):
        raise ValueError(f"rule: expected a preset of pseudo_iou_ops.presets, or a dict of switches, got {rule!r}")
    return preset


def _loss_by_feat(head: Any, cls_scores: Sequence[Tensor], *args: Any, **options: Any) -> Any:
    head.level_shapes = feature_shapes(cls_scores)
    return type(head).loss_by_feat(head, cls_scores, *args, **options)


def _get_targets(head: Any, points: Sequence[Tensor], batch_gt_instances: Sequence[Any]) -> tuple[Any, Any]:
    """Labels and box targets, one tensor per level, the images of a batch one after another."""
    boxes, labels, offsets = pack_boxes(
        [instances.bboxes for instances in batch_gt_instances], [instances.labels for instances in batch_gt_instances]
    )
    assignment: Assignment = assign(boxes, labels, offsets, head.level_shapes, head.strides, head.assign_rule)
    background = head.num_classes
    counts = [len(level) for level in points]
    labels_per_level = to_class_labels(assignment, background, ignore_label=background).split(counts, dim=1)
    ltrb_per_level = assignment.ltrb.split(counts, dim=1)
    if head.norm_on_bbox and not head.assign_rule.normalize_by_stride:
        ltrb_per_level = [ltrb / stride for ltrb, stride in zip(ltrb_per_level, head.strides, strict=True)]
    return [level.flatten() for level in labels_per_level], [level.flatten(0, 1) for level in ltrb_per_level]
