"""detectron2's FCOS, trained through the op.

Written for detectron2 at commit 012c898; run against a stand-in of its interface, because it is not on PyPI.

    model = use_in_fcos(build_model(cfg), presets.authors_code)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .. import presets
from ..encodings import to_class_labels
from ..packing import pack_boxes
from ..top_k_assigner import make_assigner
from ._adapted import adapt
from ._grid import feature_shapes
from ._rules import StaticRule, check_static_rule

Model = TypeVar("Model", bound=nn.Module)


def use_in_fcos(model: Model, rule: StaticRule = presets.detectron2_fcos) -> Model:
    """Let detectron2's ``FCOS`` take its labels from the op: replaces ``label_anchors``.

    Ignored points become background: its loss has no third state.

    Args:
        model: a ``detectron2.modeling.meta_arch.FCOS``; changed in place.
        rule: the switches, of an AssignRule or an Atss; where points lie in their cells is read from the model's anchor
            generator.

    Returns:
        The model.

    Raises:
        TypeError: the model is not built like detectron2's.

    Examples:
        >>> from detectron2 import model_zoo
        >>> from detectron2.config import instantiate
        >>> from pseudo_iou_ops import presets
        >>> from pseudo_iou_ops.integrations.detectron2 import use_in_fcos
        >>> model = instantiate(model_zoo.get_config("COCO-Detection/fcos_R_50_FPN_1x.py").model)
        >>> model = use_in_fcos(model, presets.authors_code)
    """
    for name in ("anchor_generator", "num_classes", "label_anchors"):
        if not hasattr(model, name):
            raise TypeError(f"model: expected a detectron2 FCOS with {name!r}, got {type(model).__name__}")
    check_static_rule(rule)
    settings: Any = model
    adapt(settings.anchor_generator, _RememberedLevels)
    settings.assign_rule = rule
    return adapt(model, _FcosLabels)


class _RememberedLevels:
    """Of an anchor generator: the shapes of the levels that it was last called with."""

    def forward(self: Any, features: Sequence[Tensor]) -> Any:
        self.level_shapes = feature_shapes(features)
        return super().forward(features)  # type: ignore[misc]


class _FcosLabels:
    """The method of an FCOS that takes its labels from the op."""

    def label_anchors(self: Any, anchors: Any, gt_instances: Sequence[Any]) -> tuple[list[Tensor], list[Tensor]]:
        boxes, labels, offsets = pack_boxes(
            [instances.gt_boxes.tensor for instances in gt_instances],
            [instances.gt_classes for instances in gt_instances],
        )
        generator = self.anchor_generator
        assigner = make_assigner(generator.strides, self.assign_rule, generator.offset)
        assignment = assigner(generator.level_shapes, boxes, labels, offsets)
        # One more row, for points without a box: an empty batch can be gathered from too.
        padded = torch.cat((boxes.float(), boxes.new_zeros(1, 4, dtype=torch.float32)))
        rows = torch.where(assignment.matched >= 0, assignment.matched, boxes.shape[0])
        background = self.num_classes
        return list(to_class_labels(assignment, background, ignore_label=background)), list(padded[rows])
