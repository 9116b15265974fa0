"""The levels' shapes, where another project keeps them only implicitly."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
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


def grid_offset(points: Tensor, stride: float) -> float:
    """Where points lie in their cells, from the first of a level; 0.5 if there is none. This waits for the device."""
    return float(points[0, 0]) / stride if len(points) else 0.5


class GridReader:
    """The shapes and the offset of regular grids, read from their points once for as many points, if they are square.

    A steady training then never waits for the device. Grids that are not square are read each time, because others of
    as many points may follow: images of one longer side, wide and tall. Of these a square alone has the most points.
    If others come nevertheless, points on a CPU are read anew, and points on a device fail an assertion there.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], tuple[Tensor, list[tuple[int, int]], float]] = {}

    @torch.compiler.disable
    def read(self, points: Tensor, strides: Sequence[float]) -> tuple[list[tuple[int, int]], float]:
        """L times (H, W), and where points lie in their cells; the arguments are those of :func:`grid_shapes`."""
        key = len(points), points.device, points.dtype, tuple(strides)
        if key in self._known:
            known, shapes, offset = self._known[key]
            agree = (points == known).all()
            if not points.is_cpu:
                torch._assert_async(agree, "points: expected the grids of earlier calls with as many points")
            if not points.is_cpu or agree:
                return shapes, offset
        shapes, offset = grid_shapes(points, strides), grid_offset(points, strides[0])
        if all(height == width for height, width in shapes):
            self._known[key] = points.detach().clone(), shapes, offset
        return shapes, offset

    def __reduce__(self) -> tuple[type[GridReader], tuple[()]]:
        """A copy reads for itself: what is known may lie on a device that it has not."""
        return GridReader, ()


def grids_of_priors(points: Tensor, strides: Tensor) -> tuple[list[tuple[int, int]], list[float], float]:
    """Shapes, strides and offset of regular grids, from each point and its stride; this waits for the device.

    Args:
        points: (P, 2) floating, x y in pixels, level-major, then row-major.
        strides: (P,) floating, the stride of each point's level.

    Raises:
        ValueError: the points are not one regular grid per stride, one after another, or the first points of the levels
            do not lie alike in their cells.
    """
    levels = torch.unique_consecutive(strides).tolist()
    offset, shapes, first = grid_offset(points, levels[0]) if levels else 0.5, grid_shapes(points, levels), 0
    for stride, (height, width) in zip(levels, shapes, strict=True):
        begin = points[first].tolist()
        if not all(math.isclose(side, offset * stride, rel_tol=1e-5) for side in begin):
            raise ValueError(f"points: expected level {stride:g} to begin at {offset * stride:g}, got {begin}")
        first += height * width
    return shapes, levels, offset


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
