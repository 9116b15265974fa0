"""What torch needs to know about the ops beside their kernels: the metadata of their outputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from . import _loader as _loader  # defines the ops


@torch.library.register_fake("pseudo_iou_ops::assign")
def _assign(
    boxes: Tensor, labels: Tensor, offsets: Tensor, level_shapes: Sequence[int], *_: object
) -> tuple[Tensor, ...]:
    batch = offsets.shape[0] - 1
    points = sum(h * w for h, w in zip(level_shapes[::2], level_shapes[1::2], strict=True))
    return (
        boxes.new_empty(batch, points, dtype=torch.int64),
        boxes.new_empty(batch, points, dtype=torch.int64),
        boxes.new_empty(batch, points, 4),
        boxes.new_empty(batch, points),
        boxes.new_empty(batch, points),
        boxes.new_empty(batch + boxes.shape[0], dtype=torch.int64),
    )


@torch.library.register_fake("pseudo_iou_ops::assign.out")
def _assign_out(*_: object) -> None:
    """Writes into its last seven arguments and returns nothing."""
