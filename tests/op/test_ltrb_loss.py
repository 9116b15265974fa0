"""The box losses against float64 torch, at the edges too."""

from __future__ import annotations

import math

import pytest
import torch
from loss_samples import DTYPES, LAYOUTS, HeadSample, box_sample, expected_box_loss
from torch import Tensor

from pseudo_iou_ops import ltrb_iou_loss

KINDS = ("iou", "giou")
SAMPLES = [box_sample(layout, dtype) for layout in LAYOUTS for dtype in DTYPES]


def gradients_of(loss: Tensor, leaves: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, leaves)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_value_and_gradient(sample: HeadSample, kind: str) -> None:
    leaves = [level.requires_grad_() for level in sample.levels]
    exact = [level.detach().double().requires_grad_() for level in sample.levels]
    positive = (sample.labels >= 0).float()
    loss = ltrb_iou_loss(leaves, sample.quality, sample.labels, kind=kind)
    expected = expected_box_loss(exact, sample.quality, positive, kind)
    dtype = sample.levels[0].dtype
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6 if dtype.itemsize < 8 else 1e-12, atol=0)
    unit = {torch.float16: 2**-10, torch.bfloat16: 2**-7, torch.float32: 1e-5, torch.float64: 1e-12}[dtype]
    for leaf, gradient, reference in zip(
        leaves, gradients_of(loss, leaves), gradients_of(expected, exact), strict=True
    ):
        assert (gradient.dtype, gradient.stride()) == (leaf.dtype, leaf.stride())
        torch.testing.assert_close(gradient.double(), reference, rtol=unit, atol=unit / 10)


@pytest.mark.parametrize("kind", KINDS)
def test_weights(kind: str) -> None:
    sample = box_sample()
    weights = torch.rand(sample.labels.shape) * (torch.rand(sample.labels.shape) < 0.5)
    loss = ltrb_iou_loss(sample.levels, sample.quality, weights=weights, kind=kind)
    torch.testing.assert_close(loss.double(), expected_box_loss(sample.levels, sample.quality, weights, kind))
    both = ltrb_iou_loss(sample.levels, sample.quality, sample.labels, weights, kind, normalizer=torch.tensor(4.0))
    masked = weights * (sample.labels >= 0)
    expected = expected_box_loss(sample.levels, sample.quality, masked, kind) / 4
    torch.testing.assert_close(both.double(), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck(kind: str, layout: str) -> None:
    sample = box_sample(layout, torch.float64, shapes=((2, 3), (1, 2)))
    # Away from the kink where a distance equals its target.
    target = sample.quality + 0.5
    leaves = [level.requires_grad_() for level in sample.levels]
    assert torch.autograd.gradcheck(
        lambda *levels: ltrb_iou_loss(list(levels), target, sample.labels, kind=kind), leaves
    )


EDGES = [
    (0.0, 0.0, 0.0, 0.0),
    (0.0, 5.0, 0.0, 5.0),
    (1e-30, 1e-30, 1e-30, 1e-30),
    (0.0, 0.0, 5.0, 5.0),
    (3.0, 4.0, 5.0, 6.0),
    (1e9, 1e9, 1e9, 1e9),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", EDGES)
@pytest.mark.parametrize("prediction", EDGES)
def test_finite_at_the_edges(prediction: tuple[float, ...], target: tuple[float, ...], kind: str) -> None:
    leaf = torch.tensor([[prediction]], requires_grad=True)
    loss = ltrb_iou_loss(leaf, torch.tensor([[target]]), torch.tensor([[0]]), kind=kind)
    (gradient,) = gradients_of(loss, [leaf])
    assert loss.isfinite()
    assert 0 <= loss <= 14  # -log(1e-6) = 13.8
    assert gradient.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_box_without_area_grows(kind: str) -> None:
    leaf = torch.tensor([[[0.0, 4.0, 0.0, 6.0]]], requires_grad=True)
    loss = ltrb_iou_loss(leaf, torch.tensor([[[3.0, 4.0, 5.0, 6.0]]]), torch.tensor([[0]]), kind=kind)
    (gradient,) = gradients_of(loss, [leaf])
    assert gradient[0, 0, 0] < 0
    assert gradient[0, 0, 2] < 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_points_that_do_not_count_are_not_read(layout: str) -> None:
    sample = box_sample(layout)
    nan = sample.map_levels(lambda level: torch.empty_strided(level.shape, level.stride()).fill_(math.nan))
    leaves = [level.requires_grad_() for level in nan.levels]
    nothing = torch.full_like(sample.labels, -1)
    for arguments in ({"labels": nothing}, {"weights": nothing * 0.0}):
        loss = ltrb_iou_loss(leaves, sample.quality * math.nan, **arguments)
        assert loss == 0
        assert not any(gradient.any() for gradient in gradients_of(loss, leaves))


def test_equal_boxes() -> None:
    leaf = box_sample().levels[0].clone().requires_grad_()
    for kind in KINDS:
        loss = ltrb_iou_loss(leaf, leaf.detach(), torch.zeros(leaf.shape[:2], dtype=torch.int64), kind=kind)
        assert abs(float(loss.detach())) < 1e-4
        torch.testing.assert_close(*gradients_of(loss, [leaf]), torch.zeros_like(leaf), atol=1e-6, rtol=0)
