"""Where the points of a feature pyramid lie on the input image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ._checks import check_levels, check_offset


def level_points(
    level_shapes: Sequence[tuple[int, int]],
    strides: Sequence[float],
    offset: float = 0.5,
    device: torch.device | str | None = None,
) -> Tensor:
    """The points of all levels, in the order of the outputs of :func:`pseudo_iou_ops.assign`.

    Cell (i, j) of a level lies at x = (j + offset) * stride, y = (i + offset) * stride.

    Args:
        level_shapes: L times (H, W), in cells.
        strides: L strides in pixels.
        offset: 0.5 puts a point in the middle of its cell, 0.0 at the corner.
        device: where the result lives; the CPU if None.

    Returns:
        (P, 2) float32, x y in input-image pixels, P = sum(H * W): level-major, then row-major.

    Raises:
        ValueError: the numbers of shapes and strides differ, or an argument is out of its domain.
        TypeError: an argument has the wrong type.

    Examples:
        >>> from pseudo_iou_ops import level_points
        >>> level_points(level_shapes=[(1, 2), (1, 1)], strides=[8, 16])
        tensor([[ 4.,  4.],
                [12.,  4.],
                [ 8.,  8.]])
    """
    check_levels(level_shapes, strides)
    check_offset(offset)
    shift = torch.tensor(offset, dtype=torch.float32, device=device)
    levels = []
    for (height, width), stride in zip(level_shapes, strides, strict=True):
        step = torch.tensor(stride, dtype=torch.float32, device=device)
        x = (torch.arange(width, dtype=torch.float32, device=device) + shift) * step
        y = (torch.arange(height, dtype=torch.float32, device=device) + shift) * step
        grid = torch.stack(torch.broadcast_tensors(x, y[:, None]), dim=-1)
        levels.append(grid.reshape(-1, 2))
    return torch.cat(levels) if levels else torch.empty(0, 2, device=device)
