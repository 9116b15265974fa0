"""decode_topk on CUDA: the CPU's bits, no synchronisation, two kernels, graphs, little memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from decode_samples import DecodeSample, crowded_samples, decode_sample, decode_samples, random_sample
from gpu_tools import device_activities, synchronisation_is_an_error
from torch import Tensor

pytestmark = pytest.mark.gpu

OP = torch.ops.pseudo_iou_ops.decode_topk.default
COCO = ((100, 168), (50, 84), (25, 42), (13, 21), (7, 11))


def on_gpu(sample: DecodeSample) -> tuple[Any, ...]:
    maps = (sample.logits, sample.ltrb, sample.centerness)
    moved = [[level.to("cuda") for level in levels] for levels in maps]
    return (*moved, sample.points.to("cuda"), sample.score_threshold, sample.k)


def assert_same_bits(actual: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for field, reference in zip(actual, expected, strict=True):
        assert torch.equal(field.cpu(), reference.cpu())


def coco_sample(dtype: torch.dtype = torch.float32, layout: str = "planes", threshold: float = 0.05) -> DecodeSample:
    """Few logits of a level pass, as in a trained network."""
    sample = decode_sample(layout, dtype, 80, COCO, 2, score_threshold=threshold, k=1000)
    sample.logits[:] = [level * 0.3 - 6 for level in sample.logits]
    return sample


@pytest.mark.parametrize("sample", decode_samples() + crowded_samples(), ids=str)
def test_samples(sample: DecodeSample) -> None:
    assert_same_bits(OP(*on_gpu(sample)), OP(*sample.args()))


def test_random_calls() -> None:
    for seed in range(300):
        sample = random_sample(seed)
        assert_same_bits(OP(*on_gpu(sample)), OP(*sample.args()))


@pytest.mark.parametrize("threshold", [0.05, 0.0])
@pytest.mark.parametrize("layout", ["planes", "flat", "channels_last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_coco(dtype: torch.dtype, layout: str, threshold: float) -> None:
    sample = coco_sample(dtype, layout, threshold)
    arguments, expected = on_gpu(sample), OP(*sample.args())
    for _ in range(3):
        assert_same_bits(OP(*arguments), expected)


def test_no_synchronisation() -> None:
    arguments = on_gpu(coco_sample())
    OP(*arguments)
    with synchronisation_is_an_error():
        OP(*arguments)


def test_a_call_is_two_kernels_and_one_memset() -> None:
    arguments = on_gpu(coco_sample())
    activities = device_activities(lambda: OP(*arguments))
    assert len(activities) == 3, activities
    assert sum("decode_" in name for name in activities) == 2, activities


def test_memory_is_far_less_than_the_logits() -> None:
    arguments = on_gpu(decode_sample("planes", classes=80, shapes=COCO, images=8, k=1000))
    OP(*arguments)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    OP(*arguments)
    assert torch.cuda.max_memory_allocated() - before < 0.15 * sum(level.nbytes for level in arguments[0])


def test_a_cuda_graph_replays_with_new_logits() -> None:
    arguments = on_gpu(coco_sample())
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        OP(*arguments)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = OP(*arguments)
    for shift in (-3.0, 3.0):  # to fewer candidates, and to more than the lists hold
        for level in arguments[0]:
            level.add_(shift)
        graph.replay()
        assert_same_bits(result, OP(*arguments))


def test_logits_that_begin_between_sixteen_bytes() -> None:
    arguments = on_gpu(coco_sample())
    shifted = [
        torch.empty(level.numel() + 1, device="cuda")[1:].view(level.shape).copy_(level) for level in arguments[0]
    ]
    assert_same_bits(OP(shifted, *arguments[1:]), OP(*arguments))


def test_opcheck() -> None:
    torch.library.opcheck(OP, on_gpu(decode_sample("planes")))
