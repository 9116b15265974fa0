"""What the references of the assigners where boxes choose points share: an image, its pairs, who gets a point."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Level(NamedTuple):
    """One level of the pyramid."""

    points: slice
    width: int


class Image(NamedTuple):
    """One image of a call."""

    points: Tensor
    """(P, 2) float32."""
    levels: list[Level]
    strides: Tensor
    """(P,) float32, of the points' levels."""
    is_padding: Tensor
    """(P,) bool."""
    boxes: Tensor
    """(G, 4) float32."""


class Chosen(NamedTuple):
    """Who gets the points of an image."""

    row: Tensor
    """(P,) int64, row within the image, -1: none."""
    value: Tensor
    """(P,) float32, what the point and its box were judged by."""
    score: Tensor
    """(P,) float32."""


def nobody(image: Image) -> Chosen:
    """No box gets a point."""
    nothing = torch.zeros(image.points.shape[0], device=image.points.device)
    return Chosen(torch.full_like(nothing, -1, dtype=torch.int64), nothing, nothing)


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of boxes (..., 4) whose leading dimensions broadcast, in the contract's order of operations."""
    width = torch.minimum(a[..., 2], b[..., 2]) - torch.maximum(a[..., 0], b[..., 0])
    height = torch.minimum(a[..., 3], b[..., 3]) - torch.maximum(a[..., 1], b[..., 1])
    overlap = width.clamp(min=0) * height.clamp(min=0)
    union = (_area(a) + _area(b)) - overlap
    result: Tensor = overlap / union.clamp(min=1e-6)
    return result


def _area(boxes: Tensor) -> Tensor:
    x1, y1, x2, y2 = boxes.unbind(-1)
    area: Tensor = (x2 - x1) * (y2 - y1)
    return area


def resolved(chosen: Tensor, values: Tensor, competing: Tensor) -> Chosen:
    """Give each point that a box chose to one: its own if it is one, else of those competing the largest value.

    Args:
        chosen: (G, P) bool.
        values: (G, P) float32.
        competing: (G, P) bool, or a shape that broadcasts to it.
    """
    choosers = chosen.sum(dim=0)
    taking = torch.where(choosers > 1, competing & (choosers > 0), chosen)
    best = torch.where(taking, values, values.new_tensor(-torch.inf))
    largest = taking & (best == best.amax(dim=0))
    row = torch.where(choosers > 0, largest.to(torch.int8).argmax(dim=0), -1)  # the first of equals
    value = values.gather(0, row.clamp(min=0)[None])[0]
    return Chosen(row, value, torch.ones_like(value))
