"""`level_points`: where the points are and in which order."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from oracles import _points
from samples import sample_inputs

from pseudo_iou_ops import level_points


def test_points_are_level_major_then_row_major_x_y() -> None:
    points = level_points([(2, 3), (1, 1)], [8, 16])
    assert points.tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12], [8, 8]]
    assert points.dtype == torch.float32


def test_offset() -> None:
    assert level_points([(1, 2)], [8], 0.0).tolist() == [[0, 0], [8, 0]]
    assert level_points([(1, 2)], [7]).tolist() == [[3.5, 3.5], [10.5, 3.5]]


@pytest.mark.parametrize("shapes", [[], [(0, 0)], [(0, 5), (3, 0)]], ids=str)
def test_no_points(shapes: list[tuple[int, int]]) -> None:
    points = level_points(shapes, [8.0] * len(shapes))
    assert (points.shape, points.dtype) == ((0, 2), torch.float32)


def test_points_equal_the_oracle_s_bit_for_bit() -> None:
    for sample in sample_inputs():
        offset = sample.rule.offset if sample.offset is None else sample.offset
        expected = [(point.x, point.y) for _, point in _points(sample.level_shapes, sample.strides, offset)]
        actual = level_points(sample.level_shapes, sample.strides, offset)
        assert torch.equal(actual, torch.tensor(expected).reshape(-1, 2)), sample.name


@pytest.mark.parametrize(
    ("argument", "shapes", "strides"),
    [
        ("strides", [(1, 1)], [8, 16]),
        ("strides", [(1, 1)], [0]),
        ("strides", [(1, 1)], ["8"]),
        ("level_shapes", [(1, -1)], [8]),
        ("level_shapes", [(1, 1, 1)], [8]),
        ("level_shapes", [(1.0, 1.0)], [8]),
        ("level_shapes", 3, [8]),
    ],
)
def test_bad_levels_are_refused_by_name(argument: str, shapes: Any, strides: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"^{argument}\b.*expected.*got"):
        level_points(shapes, strides)


@pytest.mark.parametrize("offset", ["0.5", None, float("nan"), float("inf"), 1e39], ids=str)
def test_bad_offsets_are_refused_by_name(offset: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=r"^offset: expected.*got"):
        level_points([(1, 1)], [8], offset)
