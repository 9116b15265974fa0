"""How many boxes no point learns, by the level they would belong to."""

from __future__ import annotations

import torch
from torch import Tensor

LEVELS = ("p3", "p4", "p5", "p6", "p7")
# FCOS's ranges: a point in the middle of a box regresses half its longer side, in pixels.
LARGEST_HALF_SIDES = (64.0, 128.0, 256.0, 512.0)


def boxes_by_level(boxes: Tensor, pos_per_box: Tensor) -> tuple[Tensor, Tensor]:
    """Count the boxes of each level, and those of them that have no positive point.

    A box belongs to the level whose FCOS range holds half its longer side, whatever ranges the rule uses, so
    that the figures of different rules compare.

    Args:
        boxes: (M, 4) float, x1 y1 x2 y2 in pixels of the resized image.
        pos_per_box: (M,) int64, the assignment's.

    Returns:
        (5,) int64 all boxes and (5,) int64 boxes without a positive, P3 first, on the boxes' device.
    """
    half_sides = (boxes[:, 2:] - boxes[:, :2]).amax(1) / 2
    # No tensor is made of the bounds: on a GPU, copying it there would wait.
    level = torch.stack([half_sides > bound for bound in LARGEST_HALF_SIDES]).sum(0)
    belongs = level.unsqueeze(1) == torch.arange(len(LEVELS), device=boxes.device)
    return belongs.sum(0), (belongs & (pos_per_box == 0).unsqueeze(1)).sum(0)
