"""The paper's loss: focal + lambda * IoU, over the number of positives of all processes.

Everything is dense and masked: no point is gathered, nothing is read back by the host, and every parameter
gets a gradient even if no point is positive.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision.ops import sigmoid_focal_loss

import pseudo_iou_ops
from pseudo_iou_ops import IGNORED, Assignment

from ..config import LossConfig
from ..distributed import total_over_ranks, world_size
from .head import Predictions


def detection_losses(predictions: Predictions, assignment: Assignment, config: LossConfig) -> dict[str, Tensor]:
    """The terms of the loss, each a scalar; their sum is what is minimised.

    Args:
        predictions: of B images and P points, their distances in the unit of the assignment's.
        assignment: what the points learn.
        config: the loss's switches.

    Returns:
        ``class``, ``box`` and, with a centerness output, ``centerness``.
    """
    sums = total_over_ranks(torch.stack((assignment.num_pos.sum().float(), assignment.centerness.sum())))
    # The mean of the processes' losses, as of their gradients, is then the loss of all images in one process.
    num_positive = sums[0].clamp(min=1) / world_size()
    weight_sum = sums[1].clamp(min=1e-6) / world_size()
    compute = _fused_losses if config.implementation == "fused" else _plain_losses
    losses = compute(predictions, assignment, num_positive, weight_sum, config)
    losses["box"] = config.box_weight * losses["box"]
    return losses


def _fused_losses(
    predictions: Predictions,
    assignment: Assignment,
    num_positive: Tensor,
    weight_sum: Tensor,
    config: LossConfig,
) -> dict[str, Tensor]:
    """By the library's ops: the maps are read where they lie, loss and gradient in one pass."""
    labels = assignment.labels
    is_weighted = config.weight_boxes_by_centerness
    losses = {
        "class": pseudo_iou_ops.sigmoid_focal_loss(
            predictions.class_maps, labels, config.focal_alpha, config.focal_gamma, num_positive
        ),
        "box": pseudo_iou_ops.ltrb_iou_loss(
            predictions.ltrb_maps,
            assignment.ltrb,
            labels,
            weights=assignment.centerness if is_weighted else None,
            kind=config.box,
            normalizer=weight_sum if is_weighted else num_positive,
        ),
    }
    if predictions.centerness_maps is not None:
        losses["centerness"] = pseudo_iou_ops.centerness_loss(
            predictions.centerness_maps, labels, assignment.centerness, num_positive
        )
    return losses


def _plain_losses(
    predictions: Predictions,
    assignment: Assignment,
    num_positive: Tensor,
    weight_sum: Tensor,
    config: LossConfig,
) -> dict[str, Tensor]:
    """In plain torch: what the ops are checked against."""
    is_positive = assignment.labels >= 0
    box_losses = _box_losses(predictions.ltrb, assignment.ltrb, is_positive, config)
    losses = {"class": _class_loss(predictions.class_logits, assignment.labels, config) / num_positive}
    if config.weight_boxes_by_centerness:
        losses["box"] = (box_losses * assignment.centerness).sum() / weight_sum
    else:
        losses["box"] = box_losses.sum() / num_positive
    if predictions.centerness_logits is not None:
        errors = binary_cross_entropy_with_logits(
            predictions.centerness_logits.float(), assignment.centerness, reduction="none"
        )
        losses["centerness"] = (errors * is_positive).sum() / num_positive
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


def _class_loss(logits: Tensor, labels: Tensor, config: LossConfig) -> Tensor:
    classes = torch.arange(logits.shape[-1], device=logits.device)
    targets = (labels.unsqueeze(-1) == classes).float()
    losses = sigmoid_focal_loss(logits.float(), targets, config.focal_alpha, config.focal_gamma)
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
