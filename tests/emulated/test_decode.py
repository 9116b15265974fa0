"""The CUDA kernels of decode_topk, executed on the CPU: the CPU op's results in every bit."""

from __future__ import annotations

import pytest
import torch
from decode_samples import DecodeSample, crowded_samples, decode_sample, decode_samples, random_sample
from emulated import build, decode_call

import pseudo_iou_ops  # noqa: F401, its ops

OP = torch.ops.pseudo_iou_ops.decode_topk.default
SCHEDULES = [("forward", 0), ("reverse", 0), ("shuffled", 1)]


def check(sample: DecodeSample, schedule: str, seed: int) -> None:
    outputs = decode_call.unwritten(sample)
    build.load().decode_topk(*decode_call.decode_topk(sample, outputs)["positional"], schedule, seed)
    for actual, expected in zip(outputs, OP(*sample.args()), strict=True):
        assert torch.equal(actual, expected)


@pytest.mark.parametrize("sample", decode_samples(), ids=str)
def test_samples(sample: DecodeSample) -> None:
    check(sample, "forward", 0)


@pytest.mark.parametrize("sample", crowded_samples(), ids=str)
def test_more_candidates_than_the_lists_hold(sample: DecodeSample) -> None:
    check(sample, "reverse", 0)


@pytest.mark.parametrize(("schedule", "seed"), SCHEDULES)
@pytest.mark.parametrize("k", [3, 5000])
def test_the_order_of_threads_and_blocks_does_not_matter(k: int, schedule: str, seed: int) -> None:
    sample = decode_sample("planes", classes=16, shapes=((24, 32), (5, 7)), step=0.5, score_threshold=0.2, k=k)
    check(sample, schedule, seed)


@pytest.mark.parametrize("seed", range(40))
def test_random_calls(seed: int) -> None:
    check(random_sample(seed), *SCHEDULES[seed % 3])
