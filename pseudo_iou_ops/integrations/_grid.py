"""The levels' shapes, where another project keeps them only implicitly."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def feature_shapes(features: Sequence[Tensor]) -> list[tuple[int, int]]:
    """L times (H, W), from L feature maps (B, C, H, W)."""
    return [(feature.shape[-2], feature.shape[-1]) for feature in features]


def grid_shapes(points: Tensor, strides: Sequence[float]) -> list[tuple[int, int]]:
    """L times (H, W) of regular grids, from their points alone; this waits for the device.

    Args:
        points: (P, 2) floating, x y in pixels, level-major, then row-major.
        strides: L strides in pixels.

    Raises:
        ValueError: the points are not one regular grid per stride, one after another.
    """
    listed = [(x, y) for x, y in points.tolist()]
    shapes, first = [], 0
    for stride in strides:
        height, width = _grid_shape(listed[first:], stride)
        shapes.append((height, width))
        first += height * width
    if first != len(listed):
        raise ValueError(
            f"points: expected one regular grid per stride {tuple(strides)}, got {len(listed) - first} more"
        )
    return shapes


def _grid_shape(points: Sequence[tuple[float, float]], stride: float) -> tuple[int, int]:
    """Returns the (H, W) of the grid that a list of points begins with."""
    if not points:
        return 0, 0
    x, y = points[0]
    width = _steps(points, [(x + column * stride, y) for column in range(len(points))])
    height = _steps(points[::width], [(x, y + row * stride) for row in range(len(points))])
    return height, width


def _steps(points: Sequence[tuple[float, float]], expected: Sequence[tuple[float, float]]) -> int:
    """How many points are the expected ones, from the first on."""
    agree = [point == other for point, other in zip(points, expected, strict=False)]
    return agree.index(False) if False in agree else len(agree)
