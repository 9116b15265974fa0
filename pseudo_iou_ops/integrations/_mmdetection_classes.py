"""What :func:`.mmdetection.register` adds to mmdetection's registries: classes of a module, so that pickle finds them.

Imports mmdetection, so it is imported by that function alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmdet.models.dense_heads import FCOSHead, TOODHead
from mmdet.models.task_modules.assigners import AssignResult, BaseAssigner

from .. import presets
from ..assignment import assign
from ..encodings import to_class_labels, to_mmdetection
from ..packing import pack_boxes
from ..rule import AssignRule
from ._grid import grid_shapes
from .mmdetection import _FcosTargets
from .mmdetection_tood import _check_anchors, _ToodTargets


class PseudoIoUFCOSHead(_FcosTargets, FCOSHead):  # type: ignore[misc]  # untyped
    """``rule`` is the name of a preset, or the switches of an AssignRule as a dict."""

    def __init__(self, *args: Any, rule: str | dict[str, Any] = "authors_code", **options: Any) -> None:
        super().__init__(*args, **options)
        self.assign_rule = rule_of(rule)


class FusedTOODHead(_ToodTargets, TOODHead):  # type: ignore[misc]  # untyped
    """Assigns by ``presets.atss``, and by ``presets.tood`` after the first epochs."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.train_cfg:
            _check_anchors(self)


class PseudoIoUAssigner(BaseAssigner):  # type: ignore[misc]  # untyped
    """For heads whose priors are points (N, 4) ``x y stride_w stride_h``, one image at a time.

    The points carry no shapes, so each call reads them on the host; a head's own ``get_targets`` need not.
    """

    def __init__(self, strides: Sequence[float], rule: str | dict[str, Any] = "authors_code", offset: float = 0.5):
        self.strides, self.rule, self.offset = tuple(strides), rule_of(rule), offset

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


def rule_of(rule: str | dict[str, Any]) -> AssignRule:
    if isinstance(rule, dict):
        return AssignRule(**rule)
    preset = getattr(presets, rule, None)
    if not isinstance(preset, AssignRule):
        raise ValueError(f"rule: expected a preset of pseudo_iou_ops.presets, or a dict of switches, got {rule!r}")
    return preset
