"""The losses' CUDA kernels, executed on the CPU: the gradients are the CPU op's in every bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from emulated import build, loss_call
from emulated.loss_call import memory, name_of, unwritten
from loss_samples import DTYPES, LAYOUTS, SHAPES, HeadSample, box_sample, class_sample, class_samples

import pseudo_iou_ops  # noqa: F401, its ops

SCHEDULES = [("forward", 0), ("reverse", 0), ("shuffled", 1)]
CLASS_LOSS = torch.ops.pseudo_iou_ops.class_loss.default
LTRB_LOSS = torch.ops.pseudo_iou_ops.ltrb_loss.default
SCALE = torch.ops.pseudo_iou_ops.scale_

# negative_weight, matched_weight, exponent, class_agnostic
SETTINGS = [(0.75, 0.25, 2.0, False), (1.0, 1.0, 1.25, False), (0.0, 1.0, 0.0, True)]

# A level that no vector of 16 bytes divides, and one of several tiles.
LARGE = ((40, 64), (7, 9))


def check_class_loss(sample: HeadSample, settings: tuple[Any, ...], *order: Any, normalizer: float = 3.0) -> None:
    scale = torch.tensor(normalizer)
    targets = sample.quality if settings[2] != 2 else None
    expected, expected_gradients = CLASS_LOSS(sample.levels, sample.labels, targets, scale, *settings, True)
    gradients = unwritten(sample.levels)
    for given in (gradients, None):
        call = loss_call.class_loss(sample, settings, targets, normalizer, given)
        loss = build.load().class_loss(*call["positional"], *order)
        assert loss == pytest.approx(float(expected), rel=1e-5)
    for actual, reference in zip(gradients, expected_gradients, strict=True):
        assert np.array_equal(memory(actual), memory(reference))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("sample", [s for s in class_samples() if "1500" not in s.name], ids=str)
def test_class_loss(sample: HeadSample, settings: tuple[Any, ...]) -> None:
    check_class_loss(sample, settings, "forward", 0)


@pytest.mark.parametrize(("schedule", "seed"), SCHEDULES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_class_loss_of_many_tiles(layout: str, dtype: torch.dtype, schedule: str, seed: int) -> None:
    sample = class_sample(layout, dtype, classes=20, shapes=LARGE)
    check_class_loss(sample, SETTINGS[0], schedule, seed)


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_ltrb_loss(layout: str, dtype: torch.dtype, kind: int) -> None:
    sample = box_sample(layout, dtype)
    weights, scale = torch.rand(sample.labels.shape), torch.tensor(0.5)
    for labels, weighting in ((sample.labels, None), (None, weights), (sample.labels, weights)):
        arguments = (sample.quality, labels, weighting, scale, kind)
        expected, expected_gradients = LTRB_LOSS(sample.levels, *arguments, True)
        gradients = unwritten(sample.levels)
        call = loss_call.ltrb_loss(sample, kind, labels, weighting, float(scale), gradients)
        loss = build.load().ltrb_loss(*call["positional"], "reverse", 0)
        assert loss == pytest.approx(float(expected), rel=1e-5)
        for actual, reference in zip(gradients, expected_gradients, strict=True):
            assert np.array_equal(memory(actual), memory(reference))


@pytest.mark.parametrize("factor", [1.0, 0.3, 65536.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_scale(dtype: torch.dtype, factor: float) -> None:
    tensors = [torch.randn(size).to(dtype) for size in (9000, 1, 17)]
    expected = [tensor.clone() for tensor in tensors]
    SCALE(expected, torch.tensor(factor, dtype=torch.float64 if dtype == torch.float64 else torch.float32))
    build.load().scale([memory(tensor) for tensor in tensors], name_of(dtype), factor, "shuffled", 2)
    assert all(torch.equal(*pair) for pair in zip(tensors, expected, strict=True))


def test_the_shapes_have_levels_that_no_vector_divides() -> None:
    assert any(height * width % 4 for height, width in (*SHAPES, *LARGE))
