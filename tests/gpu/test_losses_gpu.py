"""The losses on CUDA: the CPU's values, run-to-run bits, no synchronisation, few kernels, graphs, torch.compile."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from gpu_tools import device_activities, synchronisation_is_an_error
from loss_samples import DTYPES, LAYOUTS, HeadSample, box_sample, class_sample, class_samples
from torch import Tensor

from pseudo_iou_ops import (
    centerness_loss,
    ltrb_iou_loss,
    quality_focal_loss,
    sigmoid_focal_loss,
)

pytestmark = pytest.mark.gpu

Loss = Callable[[list[Tensor], HeadSample], Tensor]
LOSSES: dict[str, Loss] = {
    "focal": lambda levels, s: sigmoid_focal_loss(levels, s.labels, normalizer=(s.labels >= 0).sum().clamp(min=1)),
    "focal_gamma": lambda levels, s: sigmoid_focal_loss(levels, s.labels, 0.6, 1.5),
    "quality": lambda levels, s: quality_focal_loss(levels, s.labels, s.quality),
}
BOX_LOSSES: dict[str, Loss] = {
    kind: lambda levels, s, kind=kind: ltrb_iou_loss(levels, s.quality, s.labels, kind=kind)  # type: ignore[misc]
    for kind in ("iou", "giou")
}
UNITS = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2, torch.float64: 1e-12}


def step(loss: Loss, sample: HeadSample, scale: float = 1.0) -> tuple[Tensor, list[Tensor]]:
    leaves = [level.detach().requires_grad_() for level in sample.levels]
    value = loss(leaves, sample)
    (scale * value).backward()
    return value.detach(), [leaf.grad for leaf in leaves]  # type: ignore[misc]


def check(loss: Loss, sample: HeadSample, scale: float = 1.0) -> None:
    value, gradients = step(loss, sample.to("cuda"), scale)
    expected, expected_gradients = step(loss, sample, scale)
    unit = UNITS[sample.levels[0].dtype]
    torch.testing.assert_close(value.cpu(), expected, rtol=min(2e-6, max(unit, 1e-12)), atol=0)
    for gradient, reference, level in zip(gradients, expected_gradients, sample.levels, strict=True):
        assert gradient.stride() == level.stride()
        torch.testing.assert_close(gradient.cpu(), reference, rtol=unit, atol=unit * scale / 4)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("sample", class_samples(), ids=str)
def test_class_losses_are_the_cpus(sample: HeadSample, name: str) -> None:
    check(LOSSES[name], sample)
    check(LOSSES[name], sample, scale=8.0)


@pytest.mark.parametrize("kind", BOX_LOSSES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_box_losses_are_the_cpus(layout: str, dtype: torch.dtype, kind: str) -> None:
    check(BOX_LOSSES[kind], box_sample(layout, dtype))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_centerness_loss_is_the_cpus(layout: str) -> None:
    check(lambda levels, s: centerness_loss(levels, s.labels, s.quality), class_sample(layout, classes=1))


def coco_sample(dtype: torch.dtype, images: int = 4) -> HeadSample:
    shapes = ((100, 168), (50, 84), (25, 42), (13, 21), (7, 11))
    return class_sample("planes", dtype, classes=80, shapes=shapes, images=images).to("cuda")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_run_to_run(dtype: torch.dtype) -> None:
    sample = coco_sample(dtype)
    first, first_gradients = step(LOSSES["focal"], sample)
    for _ in range(20):
        value, gradients = step(LOSSES["focal"], sample)
        assert torch.equal(value, first)
        assert all(torch.equal(*pair) for pair in zip(gradients, first_gradients, strict=True))


def test_no_synchronisation() -> None:
    sample, boxes = coco_sample(torch.float32), box_sample().to("cuda")
    with synchronisation_is_an_error():
        for loss in LOSSES.values():
            step(loss, sample, scale=2.0)
        for loss in BOX_LOSSES.values():
            step(loss, boxes)


def test_a_loss_is_two_kernels_and_its_backward_one() -> None:
    sample = coco_sample(torch.float32)
    leaves = [level.requires_grad_() for level in sample.levels]
    forward = device_activities(lambda: sigmoid_focal_loss(leaves, sample.labels))
    assert len(forward) == 2, forward
    one = torch.ones((), device="cuda")
    loss = sigmoid_focal_loss(leaves, sample.labels)
    torch.autograd.grad(loss, leaves, one, retain_graph=True)
    backward = device_activities(lambda: torch.autograd.grad(sigmoid_focal_loss(leaves, sample.labels), leaves, one))
    assert len(backward) == 3, backward


def test_peak_memory_is_the_gradient() -> None:
    sample = coco_sample(torch.float32, images=8)
    step(LOSSES["focal"], sample)
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step(LOSSES["focal"], sample, scale=4.0)
    peak = torch.cuda.max_memory_allocated() - before
    assert peak < 1.1 * sum(level.nbytes for level in sample.levels)


@pytest.mark.parametrize("name", LOSSES)
def test_a_cuda_graph_replays_with_new_labels_and_logits(name: str) -> None:
    sample = class_sample("planes", classes=20, shapes=((16, 24), (8, 12))).to("cuda")
    leaves = [level.requires_grad_() for level in sample.levels]

    def run() -> tuple[Tensor, tuple[Tensor, ...]]:
        loss = 2 * LOSSES[name](leaves, sample)
        return loss.detach(), torch.autograd.grad(loss, leaves)

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        value, gradients = run()
    for seed in (1, 2):
        fresh = class_sample("planes", classes=20, shapes=((16, 24), (8, 12)), seed=seed).to("cuda")
        sample.labels.copy_(fresh.labels)
        sample.quality.copy_(fresh.quality)
        with torch.no_grad():
            for leaf, level in zip(leaves, fresh.levels, strict=True):
                leaf.copy_(level)
        graph.replay()
        expected, expected_gradients = step(LOSSES[name], fresh, scale=2.0)
        assert torch.equal(value, 2 * expected)
        assert all(torch.equal(*pair) for pair in zip(gradients, expected_gradients, strict=True))


@pytest.mark.parametrize("name", LOSSES)
def test_compile(name: str) -> None:
    torch._dynamo.reset()
    sample = class_sample("channels_last", torch.bfloat16).to("cuda")
    compiled = torch.compile(LOSSES[name], fullgraph=True)
    value, gradients = step(compiled, sample, scale=2.0)
    expected, expected_gradients = step(LOSSES[name], sample, scale=2.0)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradients, expected_gradients)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_opcheck(layout: str) -> None:
    sample, boxes = class_sample(layout).to("cuda"), box_sample(layout).to("cuda")
    torch.library.opcheck(
        torch.ops.pseudo_iou_ops.class_loss.default,
        (sample.levels, sample.labels, None, None, 0.75, 0.25, 2.0, False, True),
    )
    torch.library.opcheck(
        torch.ops.pseudo_iou_ops.ltrb_loss.default, (boxes.levels, boxes.quality, boxes.labels, None, None, 1, True)
    )


def test_logits_that_begin_between_sixteen_bytes() -> None:
    sample = class_sample(classes=8)
    aligned = sample.to("cuda")
    shifted = [
        torch.empty(level.numel() + 1, device="cuda")[1:].view(level.shape).copy_(level) for level in aligned.levels
    ]
    value, gradients = step(LOSSES["focal"], HeadSample("shifted", shifted, aligned.labels, aligned.quality))
    expected, expected_gradients = step(LOSSES["focal"], aligned)
    torch.testing.assert_close(value, expected)
    assert all(torch.equal(*pair) for pair in zip(gradients, expected_gradients, strict=True))
