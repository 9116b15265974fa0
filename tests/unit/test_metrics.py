"""The metrics against closed forms that do not follow their order of operations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pseudo_iou_ops import centerness, pseudo_iou, scaled_box

UNIT_BOX = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64)
METRICS = (pseudo_iou, centerness, scaled_box)


def inner_grid(side: int) -> Tensor:
    """(side * side, 2) cell centers of the unit box, float64."""
    ticks = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    return torch.cartesian_prod(ticks, ticks)


def random_points_and_boxes(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(count, 2, generator=generator) * 500 - 100
    sides = torch.rand(count, 2, generator=generator) * 300 + 1
    fractions = torch.rand(count, 2, generator=generator) * 0.98 + 0.01
    return corners + fractions * sides, torch.cat((corners, corners + sides), dim=1)


def test_pseudo_iou_is_the_iou_with_the_box_moved_onto_the_point() -> None:
    points, boxes = (tensor.double() for tensor in random_points_and_boxes(1000))
    sides = boxes[:, 2:] - boxes[:, :2]
    moved = torch.cat((points - sides / 2, points + sides / 2), dim=1)
    overlap = torch.minimum(moved[:, 2:], boxes[:, 2:]) - torch.maximum(moved[:, :2], boxes[:, :2])
    intersection = overlap.prod(dim=1)
    union = 2 * sides.prod(dim=1) - intersection
    torch.testing.assert_close(pseudo_iou(points, boxes), intersection / union, rtol=1e-12, atol=0)


def test_pseudo_iou_closed_form() -> None:
    points, boxes = (tensor.double() for tensor in random_points_and_boxes(1000))
    center, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    q = (1 - (points - center).abs() / sides).prod(dim=1)
    torch.testing.assert_close(pseudo_iou(points, boxes), q / (2 - q), rtol=1e-12, atol=0)


def test_pseudo_iou_is_never_below_a_seventh() -> None:
    points, boxes = random_points_and_boxes(200_000)
    value = pseudo_iou(points, boxes)
    inside = value > 0
    assert inside.sum() > 190_000
    assert value[inside].min() >= np.float32(1 / 7)
    assert value.max() <= 1
    corner = torch.tensor([1e-9, 1e-9], dtype=torch.float64)
    assert pseudo_iou(corner, UNIT_BOX).item() == pytest.approx(1 / 7, abs=1e-8)


def test_pseudo_iou_at_the_center_and_at_the_middle_of_an_edge() -> None:
    points = torch.tensor([[0.5, 0.5], [1e-12, 0.5], [0.5, 1 - 1e-12]], dtype=torch.float64)
    assert pseudo_iou(points, UNIT_BOX).tolist() == pytest.approx([1, 1 / 3, 1 / 3], abs=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pseudo_iou_a_quarter_off_the_center_is_exactly_three_fifths(dtype: torch.dtype) -> None:
    points = torch.tensor([[4, 12], [20, 12], [12, 4], [12, 20]], dtype=dtype)
    box = torch.tensor([-4, -4, 28, 28], dtype=dtype)
    assert torch.equal(pseudo_iou(points, box), torch.full((4,), 0.6, dtype=dtype))


@pytest.mark.parametrize(
    ("threshold", "share"),
    [(0.0, 1.0), (0.2, 0.95), (0.3, 0.71), (0.4, 0.435), (0.5, 0.252), (0.6, 0.137), (0.7, 0.066)],
)
def test_share_of_a_box_kept_by_a_threshold(threshold: float, share: float) -> None:
    kept = (pseudo_iou(inner_grid(1000), UNIT_BOX) > threshold).double().mean().item()
    assert kept == pytest.approx(share, abs=0.005)


def test_centerness_has_the_root_over_the_product() -> None:
    points = torch.tensor([[0.5, 0.5], [0.2, 0.5], [0.2, 0.2], [0.1, 0.75]], dtype=torch.float64)
    expected = [1, math.sqrt(0.25), 0.25, math.sqrt(1 / 9 * 1 / 3)]
    assert centerness(points, UNIT_BOX).tolist() == pytest.approx(expected, rel=1e-14)


def test_the_root_of_centerness_is_correctly_rounded() -> None:
    points, boxes = random_points_and_boxes(100_000)
    value = centerness(points, boxes).numpy()
    x, y = points.numpy().T
    x1, y1, x2, y2 = boxes.numpy().T
    left, top, right, bottom = x - x1, y - y1, x2 - x, y2 - y
    product = np.minimum(left, right) / np.maximum(left, right) * (np.minimum(top, bottom) / np.maximum(top, bottom))
    inside = np.minimum(np.minimum(left, right), np.minimum(top, bottom)) > 0
    root = np.sqrt(product[inside].astype(np.float64)).astype(np.float32)
    np.testing.assert_array_equal(value[inside], root)


def test_scaled_box_is_how_far_the_box_must_shrink_to_lose_the_point() -> None:
    points = torch.tensor([[0.5, 0.5], [0.25, 0.5], [0.5, 0.875], [0.375, 0.75]], dtype=torch.float64)
    assert scaled_box(points, UNIT_BOX).tolist() == [1.0, 0.5, 0.25, 0.5]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.__name__)
@pytest.mark.parametrize(
    "box",
    [
        (4, 0, 8, 8),  # the point lies on the border
        (5, 5, 8, 8),
        (8, 8, 0, 0),
        (0, 8, 8, 0),
        (4, 4, 4, 4),
        (math.nan, 0, 8, 8),
        (-math.inf, -math.inf, math.inf, math.inf),
        (-1e30, -1e30, 1e30, 1e30),
    ],
    ids=str,
)
def test_a_point_that_no_box_holds_has_the_value_zero(metric: Callable[..., Tensor], box: tuple[float, ...]) -> None:
    value = metric(torch.tensor([4.0, 4.0]), torch.tensor(box, dtype=torch.float32))
    assert value.item() == 0
    assert not math.copysign(1, value.item()) < 0


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.__name__)
def test_leading_dimensions_broadcast(metric: Callable[..., Tensor]) -> None:
    points, boxes = random_points_and_boxes(5)
    table = metric(points[:, None], boxes[:3])
    assert table.shape == (5, 3)
    for i in range(5):
        for j in range(3):
            assert torch.equal(table[i, j], metric(points[i], boxes[j]))
    assert metric(torch.empty(0, 2), torch.empty(0, 4)).shape == (0,)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.__name__)
def test_gradients_are_finite_inside_and_zero_outside(metric: Callable[..., Tensor]) -> None:
    points, boxes = (tensor.double() for tensor in random_points_and_boxes(8))
    assert torch.autograd.gradcheck(metric, (points, boxes.requires_grad_()))

    outside = torch.tensor([[0.0, 0, 0, 0], [4, 4, 8, 8], [math.inf, 0, 8, 8]], requires_grad=True)
    metric(torch.tensor([4.0, 4.0]), outside).sum().backward()
    assert torch.equal(outside.grad, torch.zeros(3, 4))


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.__name__)
@pytest.mark.parametrize(
    ("argument", "points", "boxes"),
    [
        ("points", [4.0, 4.0], torch.zeros(4)),
        ("points", torch.zeros(3), torch.zeros(4)),
        ("points", torch.zeros(2, dtype=torch.int64), torch.zeros(4)),
        ("boxes", torch.zeros(2), None),
        ("boxes", torch.zeros(2), torch.zeros(5)),
        ("boxes", torch.zeros(2), torch.tensor(1.0)),
        ("boxes", torch.zeros(2), torch.zeros(4, dtype=torch.int32)),
    ],
)
def test_bad_arguments_are_refused_by_name(
    metric: Callable[..., Tensor], argument: str, points: Any, boxes: Any
) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"^{argument}\b.*expected.*got"):
        metric(points, boxes)
