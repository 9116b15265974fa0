"""The metrics as plain torch functions, for research and for the reference.

Each takes points and boxes whose leading dimensions broadcast: ``pseudo_iou(points, boxes)`` with (N, 2) and
(N, 4) is elementwise, ``pseudo_iou(points[:, None], boxes)`` with (P, 1, 2) and (M, 4) is the (P, M) table.
They are differentiable, and exactly 0 for a point that is not strictly inside its box.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# A side beyond this, or an area below it, leaves float32's range in a metric; no real box comes near.
LARGEST_SIDE = 2.0**63
SMALLEST_AREA = 2.0**-126


def side_distances(points: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Distances (l, t, r, b) in pixels from points (..., 2) to the sides of boxes (..., 4)."""
    x, y = points.unbind(-1)
    x1, y1, x2, y2 = boxes.unbind(-1)
    return x - x1, y - y1, x2 - x, y2 - y


def is_valid_box(boxes: Tensor) -> Tensor:
    """(...) bool of boxes (..., 4): False for zero-area, inverted, NaN and infinite boxes."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    width, height = x2 - x1, y2 - y1
    sides = (width > 0) & (width <= LARGEST_SIDE) & (height > 0) & (height <= LARGEST_SIDE)
    return sides & (width * height >= SMALLEST_AREA)


def is_inside(l: Tensor, t: Tensor, r: Tensor, b: Tensor) -> Tensor:
    """True where a point is strictly inside: a point on the border is outside."""
    return (l > 0) & (t > 0) & (r > 0) & (b > 0)


def pseudo_iou_of(l: Tensor, t: Tensor, r: Tensor, b: Tensor) -> Tensor:
    """Algorithm 1 of the paper in its order of operations, for inside points."""
    half_width, half_height = (l + r) / 2, (t + b) / 2
    overlap_width = torch.minimum(half_width, l) + torch.minimum(half_width, r)
    overlap_height = torch.minimum(half_height, t) + torch.minimum(half_height, b)
    intersection = overlap_width * overlap_height
    area = (l + r) * (t + b)
    return intersection / ((area + area) - intersection)


def centerness_of(l: Tensor, t: Tensor, r: Tensor, b: Tensor) -> Tensor:
    """FCOS's centerness of inside points, its root correctly rounded."""
    ratio_x = torch.minimum(l, r) / torch.maximum(l, r)
    ratio_y = torch.minimum(t, b) / torch.maximum(t, b)
    product = ratio_x * ratio_y
    # torch's float32 root can be one unit off on a CPU; the float64 root rounded once more can not.
    return product.double().sqrt().to(product.dtype)


def scaled_box_of(l: Tensor, t: Tensor, r: Tensor, b: Tensor) -> Tensor:
    """1 at the center of the box, 0 at its border: 1 - s of the smallest scaled box that reaches the point."""
    return 1 - torch.maximum((l - r).abs() / (l + r), (t - b).abs() / (t + b))


def pseudo_iou(points: Tensor, boxes: Tensor) -> Tensor:
    """IoU of a box and the box of the same size centered on the point (paper, Algorithm 1).

    Args:
        points: (..., 2) floating, x y in pixels.
        boxes: (..., 4) floating, x1 y1 x2 y2 in pixels.

    Returns:
        (...) floating, in [1/7, 1] inside a box, 0 elsewhere.

    Examples:
        >>> import torch
        >>> from pseudo_iou_ops import pseudo_iou
        >>> points = torch.tensor([[12.0, 12.0], [4.0, 12.0], [4.0, 4.0], [30.0, 12.0]])
        >>> pseudo_iou(points, torch.tensor([0.0, 0.0, 24.0, 24.0]))
        tensor([1.0000, 0.5000, 0.2857, 0.0000])
    """
    return _inside_values(points, boxes, pseudo_iou_of)


def centerness(points: Tensor, boxes: Tensor) -> Tensor:
    """FCOS's centerness, sqrt(min(l, r) / max(l, r) * min(t, b) / max(t, b)).

    The paper (section 4.2) prints the root over the first ratio alone; only the product reproduces its Table 2.

    Args:
        points: (..., 2) floating, x y in pixels.
        boxes: (..., 4) floating, x1 y1 x2 y2 in pixels.

    Returns:
        (...) floating, in (0, 1] inside a box, 0 elsewhere.

    Examples:
        >>> import torch
        >>> from pseudo_iou_ops import centerness
        >>> points = torch.tensor([[12.0, 12.0], [4.0, 12.0], [4.0, 4.0], [30.0, 12.0]])
        >>> centerness(points, torch.tensor([0.0, 0.0, 24.0, 24.0]))
        tensor([1.0000, 0.4472, 0.2000, 0.0000])
    """
    return _inside_values(points, boxes, centerness_of)


def scaled_box(points: Tensor, boxes: Tensor) -> Tensor:
    """How deep a point lies in its box: above 1 - s inside the box scaled by s (paper, section 4.2).

    Args:
        points: (..., 2) floating, x y in pixels.
        boxes: (..., 4) floating, x1 y1 x2 y2 in pixels.

    Returns:
        (...) floating, in (0, 1] inside a box (1 at its center), 0 elsewhere.

    Examples:
        >>> import torch
        >>> from pseudo_iou_ops import scaled_box
        >>> points = torch.tensor([[12.0, 12.0], [4.0, 12.0], [4.0, 4.0], [30.0, 12.0]])
        >>> scaled_box(points, torch.tensor([0.0, 0.0, 24.0, 24.0]))
        tensor([1.0000, 0.3333, 0.3333, 0.0000])
    """
    return _inside_values(points, boxes, scaled_box_of)


def _inside_values(points: Tensor, boxes: Tensor, metric: Callable[..., Tensor]) -> Tensor:
    _check("points", points, 2)
    _check("boxes", boxes, 4)
    distances = torch.broadcast_tensors(*side_distances(points, boxes))
    inside = is_inside(*distances) & is_valid_box(boxes)
    # Ones outside keep the division, and its gradient, finite where the value is thrown away.
    safe = (torch.where(inside, d, torch.ones_like(d)) for d in distances)
    value = metric(*safe)
    return torch.where(inside, value, torch.zeros_like(value))


def _check(name: str, tensor: object, size: int) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(tensor).__name__}")
    if tensor.ndim < 1 or tensor.shape[-1] != size:
        raise ValueError(f"{name}: expected shape (..., {size}), got {tuple(tensor.shape)}")
    if not tensor.is_floating_point():
        raise TypeError(f"{name}: expected a floating dtype, got {tensor.dtype}")
