"""The box losses of anchor-free detectors, over all points at once: no index lists, nothing read back by the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from . import _head_levels
from ._autograd import fused_loss

KINDS: Final = ("iou", "giou")

_op = torch.ops.pseudo_iou_ops.ltrb_loss.default


def ltrb_iou_loss(
    predictions: Tensor | Sequence[Tensor],
    target: Tensor,
    labels: Tensor | None = None,
    weights: Tensor | None = None,
    kind: str = "iou",
    normalizer: Tensor | None = None,
) -> Tensor:
    """An IoU loss of boxes given as distances from their points, summed over the points that count.

    ``iou`` is -log(IoU) (UnitBox, Yu et al. 2016), ``giou`` is 1 - GIoU (Rezatofighi et al. 2019). The arithmetic is
    float32 (float64 for float64 predictions); gradient, memory and order of the sum are those of
    :func:`pseudo_iou_ops.sigmoid_focal_loss`.

    Loss and gradient are finite for all distances of 0 or more: an IoU below 1e-6 counts as 1e-6, in the value and in
    what the gradient divides by, and two boxes that both have no area give neither loss nor gradient. Where a
    predicted distance equals its target, the gradient is the mean of both sides, as in torch.

    Args:
        predictions: (B, P, 4), or one per level, (B, 4, H, W) or (B, P_l, 4): distances l t r b >= 0, float32,
            float16, bfloat16 or float64, in the target's unit.
        target: (B, P, 4) floating, ``ltrb`` of the assignment. It gets no gradient.
        labels: (B, P) int64; points below 0 do not count: no loss, a gradient of 0, and nothing there is read.
        weights: (B, P) floating, what a point's loss counts, such as the assignment's centerness; 0 is as a label
            below 0. At least one of labels and weights is given. They get no gradient.
        kind: iou or giou.
        normalizer: one number on the predictions' device the loss is divided by; None is 1. Taken as float32; it
            gets no gradient.

    Returns:
        () float32, or float64 for float64 predictions.

    Raises:
        ValueError: a shape, device or value is wrong.
        TypeError: a type or dtype is wrong.
        RuntimeError: the predictions are on a device this install has no kernels for.

    Examples:
        >>> import torch
        >>> from pseudo_iou_ops import ltrb_iou_loss
        >>> predictions, target = torch.full((1, 2, 4), 4.0), torch.full((1, 2, 4), 8.0)
        >>> labels = torch.tensor([[0, -1]])  # the background point does not count
        >>> ltrb_iou_loss(predictions, target, labels)  # an IoU of 1/4: log(4)
        tensor(1.3863)
    """
    levels = _head_levels.as_levels("predictions", predictions, channels=4)
    if labels is None and weights is None:
        raise ValueError("labels: expected a tensor, because weights is not given either, got None")
    _head_levels.check_per_point("target", target, levels, channels=(4,))
    if labels is not None:
        _head_levels.check_labels(labels, levels)
        labels = labels.contiguous()
    if weights is not None:
        _head_levels.check_per_point("weights", weights, levels)
        weights = _head_levels.as_float32(weights)
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    scale = _head_levels.as_normalizer(normalizer, levels[0])
    return fused_loss(_op, levels, _head_levels.as_float32(target), labels, weights, scale, KINDS.index(kind))
