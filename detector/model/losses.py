"""The paper's loss: focal + lambda * IoU, over the number of positives of all processes; and its soft form.

Everything is dense and masked: no point is gathered, nothing is read back by the host, and every parameter
gets a gradient even if no point is positive.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision.ops import sigmoid_focal_loss

import pseudo_iou_ops
from pseudo_iou_ops import IGNORED, Assignment, AssignmentLike
from pseudo_iou_ops.metrics import centerness_of

from ..config import LossConfig
from ..distributed import total_over_ranks, world_size
from .head import Predictions


class _Weighting(NamedTuple):
    """How much a point counts, and what the sums are divided by."""

    num_positive: Tensor
    """() the mean of the processes' numbers of positives, at least one in all."""
    weights: Tensor | None
    """(B, P) of the box losses; None: every positive counts 1."""
    weight_sum: Tensor
    """() the mean of the processes' sums of them, or ``num_positive``."""
    centerness: Tensor | None
    """(B, P) what the centerness output learns, where it is asked for."""


def detection_losses(
    predictions: Predictions, assignment: AssignmentLike, config: LossConfig, quality: Tensor | None = None
) -> dict[str, Tensor]:
    """The terms of the loss, each a scalar; their sum is what is minimised.

    Args:
        predictions: of B images and P points, their distances in the unit of the assignment's.
        assignment: what the points learn.
        config: the loss's switches.
        quality: (B, P) float32 in [0, 1], the soft targets of the class scores, which weigh the boxes too and whose
            sum divides both terms, the quality focal loss and the box loss; None: a class score learns 1 at every
            positive, by the focal loss.

    Returns:
        ``class``, ``box`` and, with a centerness output, ``centerness``.
    """
    weighting = _weighting(predictions, assignment, config, quality)
    compute = _fused_losses if config.implementation == "fused" else _plain_losses
    losses = compute(predictions, assignment, weighting, config, quality)
    losses["box"] = config.box_weight * losses["box"]
    return losses


def _weighting(
    predictions: Predictions, assignment: AssignmentLike, config: LossConfig, quality: Tensor | None
) -> _Weighting:
    needs_centerness = predictions.centerness_maps is not None or config.weight_boxes_by_centerness
    centerness = _centerness(assignment) if needs_centerness else None
    weights = centerness if config.weight_boxes_by_centerness else quality
    num_positive = assignment.num_pos.sum().float()
    sums = total_over_ranks(torch.stack((num_positive, num_positive if weights is None else weights.sum())))
    # The mean of the processes' losses, as of their gradients, is then the loss of all images in one process.
    num_positive = sums[0].clamp(min=1) / world_size()
    if weights is None:
        return _Weighting(num_positive, None, num_positive, centerness)
    # A batch of few or poor matches weighs no more than others: the YOLO family's bound of 1.
    smallest = 1e-6 if quality is None else 1.0
    return _Weighting(num_positive, weights, sums[1].clamp(min=smallest) / world_size(), centerness)


def _centerness(assignment: AssignmentLike) -> Tensor:
    """(B, P) FCOS's centerness of the positive points, 0 elsewhere."""
    if isinstance(assignment, Assignment):
        return assignment.centerness
    is_positive = assignment.labels >= 0
    inside = torch.where(is_positive.unsqueeze(-1), assignment.ltrb, 1.0)
    return centerness_of(*inside.unbind(-1)) * is_positive


def _fused_losses(
    predictions: Predictions,
    assignment: AssignmentLike,
    weighting: _Weighting,
    config: LossConfig,
    quality: Tensor | None,
) -> dict[str, Tensor]:
    """By the library's ops: the maps are read where they lie, loss and gradient in one pass."""
    labels, maps = assignment.labels, predictions.class_maps
    if quality is None:
        class_loss = pseudo_iou_ops.sigmoid_focal_loss(
            maps, labels, config.focal_alpha, config.focal_gamma, weighting.num_positive
        )
    else:
        class_loss = pseudo_iou_ops.quality_focal_loss(maps, labels, quality, config.quality_beta, weighting.weight_sum)
    losses = {
        "class": class_loss,
        "box": pseudo_iou_ops.ltrb_iou_loss(
            predictions.ltrb_maps,
            assignment.ltrb,
            labels,
            weights=weighting.weights,
            kind=config.box,
            normalizer=weighting.weight_sum,
        ),
    }
    if predictions.centerness_maps is not None and weighting.centerness is not None:
        losses["centerness"] = pseudo_iou_ops.centerness_loss(
            predictions.centerness_maps, labels, weighting.centerness, weighting.num_positive
        )
    return losses


def _plain_losses(
    predictions: Predictions,
    assignment: AssignmentLike,
    weighting: _Weighting,
    config: LossConfig,
    quality: Tensor | None,
) -> dict[str, Tensor]:
    """In plain torch: what the ops are checked against."""
    is_positive = assignment.labels >= 0
    box_losses = _box_losses(predictions.ltrb, assignment.ltrb, is_positive, config)
    if weighting.weights is not None:
        box_losses = box_losses * weighting.weights
    class_sum = _class_loss(predictions.class_logits, assignment.labels, config, quality)
    losses = {
        "class": class_sum / (weighting.num_positive if quality is None else weighting.weight_sum),
        "box": box_losses.sum() / weighting.weight_sum,
    }
    if predictions.centerness_logits is not None and weighting.centerness is not None:
        errors = binary_cross_entropy_with_logits(
            predictions.centerness_logits.float(), weighting.centerness, reduction="none"
        )
        losses["centerness"] = (errors * is_positive).sum() / weighting.num_positive
    return losses


def iou_loss(ltrb: Tensor, target: Tensor) -> Tensor:
    """-log(IoU) (UnitBox, Yu et al. 2016) of boxes given as distances (..., 4) > 0 from the same points."""
    intersection, union, _ = _areas(ltrb, target)
    return -(intersection / union).log()


def giou_loss(ltrb: Tensor, target: Tensor) -> Tensor:
    """1 - GIoU (Rezatofighi et al. 2019) of boxes given as distances (..., 4) > 0 from the same points.

    torchvision's generalized_box_iou_loss indexes with a mask, which waits for the device; boxes around one
    point always meet, so no mask is needed here.
    """
    intersection, union, hull = _areas(ltrb, target)
    return 1 - intersection / union + (hull - union) / hull


def _class_loss(logits: Tensor, labels: Tensor, config: LossConfig, quality: Tensor | None) -> Tensor:
    """The focal loss of targets of 1, or the quality focal loss of soft ones; summed."""
    logits = logits.float()
    classes = torch.arange(logits.shape[-1], device=logits.device)
    targets = (labels.unsqueeze(-1) == classes).float()
    if quality is None:
        losses = sigmoid_focal_loss(logits, targets, config.focal_alpha, config.focal_gamma)
    else:
        targets = targets * quality.unsqueeze(-1)
        errors = (targets - logits.sigmoid()).abs()
        losses = errors**config.quality_beta * binary_cross_entropy_with_logits(logits, targets, reduction="none")
    total: Tensor = (losses * (labels != IGNORED).unsqueeze(-1)).sum()
    return total


def _box_losses(ltrb: Tensor, target: Tensor, is_positive: Tensor, config: LossConfig) -> Tensor:
    """(B, P), 0 where not positive."""
    # A box that is not there becomes the prediction's own size: its loss is finite, and masked.
    safe_target = torch.where(is_positive.unsqueeze(-1), target, ltrb.detach())
    losses = iou_loss(ltrb, safe_target) if config.box == "iou" else giou_loss(ltrb, safe_target)
    return losses * is_positive


def _areas(ltrb: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Areas of the intersection, of the union and of the smallest box around both."""
    smaller, larger = torch.minimum(ltrb, target), torch.maximum(ltrb, target)
    intersection = _area(smaller)
    return intersection, _area(ltrb) + _area(target) - intersection, _area(larger)


def _area(ltrb: Tensor) -> Tensor:
    left, top, right, bottom = ltrb.unbind(-1)
    return (left + right) * (top + bottom)
