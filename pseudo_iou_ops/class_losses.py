"""Classification losses from integer labels: loss and gradient in one pass over the logits, as they lie in memory.

The logits of a head come as one tensor per level, (B, C, H, W) in either memory format or (B, P, C), and are read in
place: nothing is permuted, concatenated or made one-hot, and nothing is read back by the host. Labels are those of
:func:`pseudo_iou_ops.assign`. The arithmetic is float32 (float64 for float64 logits), whatever the logits' dtype, and
autocast does not change it. The sum is made in one fixed order: runs give the same bits.

The backward pass scales the gradient that the forward pass made, in place; a second one over a retained graph makes
it anew. Differentiating twice raises a RuntimeError.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from . import _checks, _head_levels
from ._autograd import fused_loss

_op = torch.ops.pseudo_iou_ops.class_loss.default


def sigmoid_focal_loss(
    logits: Tensor | Sequence[Tensor],
    labels: Tensor,
    alpha: float = 0.25,
    gamma: float = 2.0,
    normalizer: Tensor | None = None,
) -> Tensor:
    """The focal loss (Lin et al. 2017, equation 5), summed over all points and classes.

    Args:
        logits: (B, P, C), or one per level, (B, C, H, W) or (B, P_l, C): float32, float16, bfloat16 or float64.
        labels: (B, P) int64, the points of all levels one after another. 0..C-1 is a class; -1, and C and above, are
            background; below -1 is ignored: no loss, and a gradient of 0.
        alpha: weight of a match; 1 - alpha is that of all else. Below 0 both are 1.
        gamma: how much easy logits count less, 0 or more; 2 is the fastest.
        normalizer: one number on the logits' device the loss is divided by, such as ``num_pos.sum().clamp(min=1)``;
            None is 1. Taken as float32; it gets no gradient.

    Returns:
        () float32, or float64 for float64 logits.

    Raises:
        ValueError: a shape, device or value is wrong.
        TypeError: a type or dtype is wrong.
        RuntimeError: the logits are on a device this install has no kernels for.

    Examples:
        >>> import torch
        >>> from pseudo_iou_ops import sigmoid_focal_loss
        >>> logits = torch.zeros(1, 3, 2, requires_grad=True)  # one image, three points, two classes
        >>> labels = torch.tensor([[1, -1, -2]])  # class 1, background, ignored
        >>> sigmoid_focal_loss(logits, labels).backward()
        >>> logits.grad
        tensor([[[ 0.2237, -0.0746],
                 [ 0.2237,  0.2237],
                 [ 0.0000,  0.0000]]])
    """
    levels = _head_levels.as_levels("logits", logits)
    _head_levels.check_labels(labels, levels)
    _checks.check_number("alpha", alpha, at_most=1.0)
    _checks.check_number("gamma", gamma, at_least=0.0)
    negative, matched = (1.0, 1.0) if alpha < 0 else (1.0 - alpha, alpha)
    scale = _head_levels.as_normalizer(normalizer, levels[0])
    return fused_loss(_op, levels, labels.contiguous(), None, scale, negative, matched, gamma, False)


def quality_focal_loss(
    logits: Tensor | Sequence[Tensor],
    labels: Tensor,
    quality: Tensor,
    beta: float = 2.0,
    normalizer: Tensor | None = None,
) -> Tensor:
    """The quality focal loss (Li et al. 2020, "Generalized Focal Loss", equation 3), summed over points and classes.

    A logit's loss is ``|y - sigmoid|^beta`` times the binary cross entropy with the target y, which is the quality at
    a point's class and 0 elsewhere.

    Args:
        logits: as in :func:`sigmoid_focal_loss`.
        labels: as in :func:`sigmoid_focal_loss`.
        quality: (B, P) floating in [0, 1], read where a point has a class: ``pseudo_iou`` or ``centerness`` of the
            assignment. It gets no gradient.
        beta: how much logits near their target count less, 0 or more; 2 is the fastest.
        normalizer: as in :func:`sigmoid_focal_loss`.

    Returns:
        () float32, or float64 for float64 logits.

    Raises:
        ValueError: a shape, device or value is wrong.
        TypeError: a type or dtype is wrong.
        RuntimeError: the logits are on a device this install has no kernels for.

    Examples:
        >>> import torch
        >>> from pseudo_iou_ops import quality_focal_loss
        >>> logits = torch.zeros(1, 2, 2)  # one image, two points, two classes
        >>> labels, quality = torch.tensor([[1, -1]]), torch.tensor([[0.5, 0.0]])
        >>> quality_focal_loss(logits, labels, quality)  # the sigmoid of 0 is 0.5: the match itself costs nothing
        tensor(0.5199)
    """
    levels = _head_levels.as_levels("logits", logits)
    _head_levels.check_labels(labels, levels)
    _head_levels.check_per_point("quality", quality, levels)
    _checks.check_number("beta", beta, at_least=0.0)
    scale = _head_levels.as_normalizer(normalizer, levels[0])
    return fused_loss(_op, levels, labels.contiguous(), _head_levels.as_float32(quality), scale, 1.0, 1.0, beta, False)


def centerness_loss(
    logits: Tensor | Sequence[Tensor],
    labels: Tensor,
    centerness: Tensor,
    normalizer: Tensor | None = None,
) -> Tensor:
    """Binary cross entropy of a centerness or IoU branch (FCOS, Tian et al. 2019, section 3.2), summed over positives.

    Args:
        logits: (B, P), or one per level, (B, 1, H, W) or (B, P_l, 1); dtypes as in :func:`sigmoid_focal_loss`.
        labels: (B, P) int64; points below 0 have no loss, and a gradient of 0.
        centerness: (B, P) floating in [0, 1], the target of positive points. It gets no gradient.
        normalizer: as in :func:`sigmoid_focal_loss`.

    Returns:
        () float32, or float64 for float64 logits.

    Raises:
        ValueError: a shape, device or value is wrong.
        TypeError: a type or dtype is wrong.
        RuntimeError: the logits are on a device this install has no kernels for.

    Examples:
        >>> import torch
        >>> from pseudo_iou_ops import centerness_loss
        >>> labels, centerness = torch.tensor([[1, -1]]), torch.tensor([[0.5, 0.0]])
        >>> centerness_loss(torch.zeros(1, 2), labels, centerness)  # the background point does not count
        tensor(0.6931)
    """
    if isinstance(logits, Tensor) and logits.ndim == 2:
        logits = logits.unsqueeze(-1)
    levels = _head_levels.as_levels("logits", logits, channels=1)
    _head_levels.check_labels(labels, levels)
    _head_levels.check_per_point("centerness", centerness, levels)
    scale = _head_levels.as_normalizer(normalizer, levels[0])
    return fused_loss(_op, levels, labels.contiguous(), _head_levels.as_float32(centerness), scale, 0.0, 1.0, 0.0, True)
