"""`torch.compile(fullgraph=True)` of the losses, forward and backward, and their fake tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from loss_samples import LAYOUTS, SHAPES, box_sample, class_sample
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from pseudo_iou_ops import centerness_loss, ltrb_iou_loss, quality_focal_loss, sigmoid_focal_loss

TARGET = box_sample().quality

Loss = Callable[[list[Tensor], Tensor, Tensor], Tensor]


def focal(levels: list[Tensor], labels: Tensor, quality: Tensor) -> Tensor:
    normalizer = (labels >= 0).sum().clamp(min=1)
    return sigmoid_focal_loss([2 * level for level in levels], labels, normalizer=normalizer)


def quality(levels: list[Tensor], labels: Tensor, quality: Tensor) -> Tensor:
    return 3 * quality_focal_loss(levels, labels, quality)


def centerness(levels: list[Tensor], labels: Tensor, quality: Tensor) -> Tensor:
    return centerness_loss([level[..., :1] for level in levels], labels, quality)


def boxes(levels: list[Tensor], labels: Tensor, quality: Tensor) -> Tensor:
    return ltrb_iou_loss([level[..., :4].exp() for level in levels], TARGET, labels, kind="giou")


FLAT_LOSSES = (focal, quality, centerness, boxes)


def value_and_gradients(loss: Loss, sample: Any) -> tuple[Tensor, list[Tensor]]:
    leaves = [level.detach().requires_grad_() for level in sample.levels]
    value = loss(leaves, sample.labels, sample.quality)
    (2 * value).backward()
    return value.detach(), [leaf.grad for leaf in leaves]


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize("loss", FLAT_LOSSES)
def test_the_bits_of_eager_mode(loss: Loss, backend: str) -> None:
    sample = class_sample()
    compiled = torch.compile(loss, fullgraph=True, backend=backend)
    value, gradients = value_and_gradients(compiled, sample)
    expected, expected_gradients = value_and_gradients(loss, sample)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("loss", [focal, quality])
def test_layouts(loss: Loss, layout: str, dtype: torch.dtype) -> None:
    sample = class_sample(layout, dtype)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    value, gradients = value_and_gradients(compiled, sample)
    expected, expected_gradients = value_and_gradients(loss, sample)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-2, atol=1e-4)
    assert [gradient.dtype for gradient in gradients] == [dtype] * len(SHAPES)


def test_any_shape_without_another_graph() -> None:
    compiled = torch.compile(focal, fullgraph=True, dynamic=True, backend="aot_eager")
    with torch._dynamo.config.patch(error_on_recompile=True):
        for seed, shapes in enumerate([((7, 9), (4, 5)), ((8, 13), (3, 6)), ((11, 10), (5, 2))]):
            sample = class_sample("planes", shapes=shapes, seed=seed, images=2 + seed, classes=6)
            value, gradients = value_and_gradients(compiled, sample)
            expected, expected_gradients = value_and_gradients(focal, sample)
            torch.testing.assert_close(value, expected)
            torch.testing.assert_close(gradients, expected_gradients)


def test_under_autocast() -> None:
    sample = class_sample(dtype=torch.bfloat16)

    def loss(levels: list[Tensor], labels: Tensor, quality: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return sigmoid_focal_loss(levels, labels)

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    assert torch.equal(value_and_gradients(compiled, sample)[0], value_and_gradients(loss, sample)[0])


def test_without_gradient() -> None:
    sample = class_sample()
    compiled = torch.compile(focal, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        value = compiled(sample.levels, sample.labels, sample.quality)
    assert torch.equal(value, focal(sample.levels, sample.labels, sample.quality))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("with_gradients", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_fake_outputs_are_like_the_real_ones(layout: str, with_gradients: bool, device: str) -> None:
    op = torch.ops.pseudo_iou_ops.class_loss.default
    sample = class_sample(layout, torch.bfloat16)
    real = op(sample.levels, sample.labels, None, None, 1.0, 1.0, 2.0, False, with_gradients)
    mode = FakeTensorMode()

    def fake(tensor: Tensor) -> Tensor:
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)

    with mode:
        levels = [fake(level) for level in sample.levels]
        faked = op(levels, fake(sample.labels), None, None, 1.0, 1.0, 2.0, False, with_gradients)

    def metadata(loss: Tensor, gradients: list[Tensor]) -> list[tuple[Any, ...]]:
        return [(t.shape, t.dtype, t.stride()) for t in (loss, *gradients)]

    assert metadata(*faked) == metadata(*real)
    assert faked[0].device.type == device
