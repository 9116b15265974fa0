"""torchvision's FCOS and RetinaNet, trained through the op. Tried with torchvision 0.29.1.

    model = use_in_fcos(torchvision.models.detection.fcos_resnet50_fpn(), presets.authors_code)

The model is changed in place: its class becomes a subclass with another ``compute_loss``, and its images are padded to
multiples of 128. In torchvision points lie at the corner of their cells, so a rule's own offset is not read.
"""

from __future__ import annotations

from typing import Any, TypeVar

from torch import Tensor, nn

from .. import presets
from ..encodings import to_torchvision
from ..packing import pack_boxes
from ..top_k_assigner import make_assigner
from ._adapted import adapt
from ._grid import feature_shapes
from ._rules import StaticRule, check_static_rule

_CORNER = 0.0

Model = TypeVar("Model", bound=nn.Module)


def use_in_fcos(model: Model, rule: StaticRule = presets.torchvision_fcos) -> Model:
    """Let torchvision's ``FCOS`` take its positives from the op.

    Ignored points become background: its loss has no third state.

    Args:
        model: a ``torchvision.models.detection.FCOS``; changed in place.
        rule: the switches, of an AssignRule or an Atss.

    Returns:
        The model.

    Raises:
        TypeError: the model is not built like torchvision's.

    Examples:
        >>> import torch
        >>> from torchvision.models.detection import fcos_resnet50_fpn
        >>> from pseudo_iou_ops import presets
        >>> from pseudo_iou_ops.integrations.torchvision import use_in_fcos
        >>> model = fcos_resnet50_fpn(weights=None, weights_backbone=None, min_size=128)
        >>> model = use_in_fcos(model, presets.authors_code)
        >>> target = {"boxes": torch.tensor([[0.0, 0.0, 64.0, 64.0]]), "labels": torch.tensor([7])}
        >>> sorted(model([torch.rand(3, 128, 128)], [target]))
        ['bbox_ctrness', 'bbox_regression', 'classification']
    """
    return _use_in(model, rule, _FcosLoss)


def use_in_retinanet(model: Model, rule: StaticRule = presets.authors_code) -> Model:
    """Let torchvision's ``RetinaNet`` take its positives from the op.

    Every anchor of a location learns what the location's point is assigned. Ignored points count neither way, as
    the anchors "between thresholds" of its own matcher.

    Args:
        model: a ``torchvision.models.detection.RetinaNet``; changed in place.
        rule: the switches, of an AssignRule or an Atss.

    Returns:
        The model.

    Raises:
        TypeError: the model is not built like torchvision's.

    Examples:
        >>> import torch
        >>> from torchvision.models.detection import retinanet_resnet50_fpn
        >>> from pseudo_iou_ops import presets
        >>> from pseudo_iou_ops.integrations.torchvision import use_in_retinanet
        >>> model = retinanet_resnet50_fpn(weights=None, weights_backbone=None, min_size=128)
        >>> model = use_in_retinanet(model, presets.authors_code)
        >>> target = {"boxes": torch.tensor([[0.0, 0.0, 64.0, 64.0]]), "labels": torch.tensor([7])}
        >>> sorted(model([torch.rand(3, 128, 128)], [target]))
        ['bbox_regression', 'classification']
    """
    return _use_in(model, rule, _RetinaNetLoss)


def _use_in(model: Model, rule: StaticRule, methods: type) -> Model:
    for name in ("anchor_generator", "transform", "head", "compute_loss"):
        if not hasattr(model, name):
            raise TypeError(f"model: expected a torchvision dense detector with {name!r}, got {type(model).__name__}")
    check_static_rule(rule)
    settings: Any = model
    # In torchvision a stride is image size // map size: right only where the coarsest stride divides the image.
    settings.transform.size_divisible = max(settings.transform.size_divisible, 128)
    adapt(settings.anchor_generator, _RememberedLevels)
    settings.assign_rule = rule
    return adapt(model, methods)


class _RememberedLevels:
    """Of an anchor generator: the shapes and the strides of the levels that it was last called with."""

    def forward(self: Any, image_list: Any, feature_maps: list[Tensor]) -> Any:
        height, width = image_list.tensors.shape[-2:]
        self.level_shapes = feature_shapes(feature_maps)
        self.level_strides = []
        for rows, columns in self.level_shapes:
            if height // rows != width // columns:
                raise ValueError(
                    "images: expected padding to a multiple of the coarsest stride, got "
                    f"{height} x {width} for {rows} x {columns} cells; raise model.transform.size_divisible"
                )
            self.level_strides.append(height // rows)
        return super().forward(image_list, feature_maps)  # type: ignore[misc]


class _FcosLoss:
    def compute_loss(
        self: Any,
        targets: list[dict[str, Tensor]],
        head_outputs: dict[str, Tensor],
        anchors: list[Tensor],
        num_anchors_per_level: list[int],
    ) -> Any:
        return self.head.compute_loss(targets, head_outputs, anchors, list(_matched(self, targets)))


class _RetinaNetLoss:
    def compute_loss(
        self: Any, targets: list[dict[str, Tensor]], head_outputs: dict[str, Tensor], anchors: list[Tensor]
    ) -> Any:
        (per_location,) = set(self.anchor_generator.num_anchors_per_location())
        matched = _matched(self, targets).repeat_interleave(per_location, dim=1)
        return self.head.compute_loss(targets, head_outputs, anchors, list(matched))


def _matched(model: Any, targets: list[dict[str, Tensor]]) -> Tensor:
    """(B, P) int64, torchvision's ``matched_idxs``."""
    boxes, labels, offsets = pack_boxes([t["boxes"] for t in targets], [t["labels"] for t in targets])
    generator = model.anchor_generator
    assigner = make_assigner(generator.level_strides, model.assign_rule, offset=_CORNER)
    return to_torchvision(assigner(generator.level_shapes, boxes, labels, offsets), offsets)
