"""Boxes choose points on CUDA: the bits of a CPU, three kernels a call, no wait, and replay with new counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from gpu_tools import device_activities, synchronisation_is_an_error
from hypothesis import given
from oracles import assert_same_bits
from samples import STRIDES, Sample, training_batch
from top_k_samples import PRESETS, atss_calls, atss_inputs, every_atss

from pseudo_iou_ops import Atss, assign_top_k, presets, reference_top_k

pytestmark = pytest.mark.gpu

OFFSETS = pytest.mark.parametrize("offsets_device", ["cuda", "cpu"])
SAMPLES = atss_inputs()


def check(sample: Sample, offsets_device: str) -> None:
    moved = sample.to("cuda", offsets_device)
    actual = assign_top_k(*moved.args(), **moved.kwargs())
    assert {field.device.type for field in actual} == {"cuda"}
    assert_same_bits(actual, assign_top_k(*sample.args(), **sample.kwargs()))


@OFFSETS
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_samples(sample: Sample, offsets_device: str) -> None:
    check(sample, offsets_device)


def test_every_combination_of_switches() -> None:
    sample = training_batch((64, 96), (9, 0, 14))
    for rule in every_atss():
        check(replace(sample, rule=rule), "cpu")


@given(call=atss_calls())
def test_random_calls(call: Sample) -> None:
    for offsets_device in ("cuda", "cpu"):
        check(call, offsets_device)


@pytest.mark.parametrize("rule", PRESETS.values(), ids=PRESETS.keys())
@pytest.mark.parametrize("boxes", [7, 100, 2000])
def test_a_training_batch(boxes: int, rule: Atss) -> None:
    check(replace(training_batch((800, 1344), (boxes,) * 4), rule=rule), "cuda")


@OFFSETS
@pytest.mark.parametrize("images", [63, 64, 65, 999, 1000, 1001, 5000])
def test_number_of_images(images: int, offsets_device: str) -> None:
    counts = (0, 3, 1, 2) * (images // 4) + (1,) * (images % 4)
    sample = replace(training_batch((32, 48), counts, strides=STRIDES[:2]), rule=presets.pp_yoloe_atss)
    sizes = torch.randint(0, 50, (images, 2), generator=torch.Generator().manual_seed(0))
    regions = {"ignore_boxes": sample.boxes.flip(0), "ignore_offsets": sample.offsets}
    check(replace(sample, valid_sizes=sizes, **regions), offsets_device)


def test_the_reference_on_cuda() -> None:
    for sample in SAMPLES:
        if sample.num_pairs < 20_000:
            moved = sample.to("cuda", "cpu")
            actual = reference_top_k.assign_top_k(*moved.args(), **moved.kwargs())
            assert_same_bits(actual, assign_top_k(*sample.args(), **sample.kwargs()))


def test_run_to_run() -> None:
    sample = replace(training_batch((512, 640), (300, 0, 50)), rule=presets.pp_yoloe_atss).to("cuda")
    first = assign_top_k(*sample.args())
    for _ in range(50):
        assert_same_bits(assign_top_k(*sample.args()), first)


def test_a_call_starts_three_kernels_and_does_not_wait() -> None:
    sample = replace(training_batch((512, 640), (30, 0, 50)), rule=presets.atss).to("cuda")
    activities = device_activities(lambda: assign_top_k(*sample.args()))
    assert len(activities) == 3, activities
    with synchronisation_is_an_error():
        assign_top_k(*sample.args())


def test_a_captured_graph_replays_with_new_boxes() -> None:
    first, second = (
        replace(training_batch((512, 640), counts, seed=seed), rule=presets.pp_yoloe_atss)
        for counts, seed in (((30, 20), 1), ((5, 45), 2))
    )
    buffers = first.to("cuda")
    assign_top_k(*buffers.args())
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = assign_top_k(*buffers.args())
    for sample in (first, second, first):
        for name in ("boxes", "labels", "offsets"):
            getattr(buffers, name).copy_(getattr(sample, name))
        graph.replay()
        assert_same_bits(out, assign_top_k(*sample.args()))


def test_an_out_that_is_not_aligned_is_refused() -> None:
    sample = replace(training_batch((64, 96), (5, 3)), rule=presets.atss).to("cuda")
    out = assign_top_k(*sample.args())
    ltrb = torch.empty(out.ltrb.numel() + 1, device="cuda")[1:].view(out.ltrb.shape)
    with pytest.raises(RuntimeError, match="ltrb: expected memory aligned to 16 bytes"):
        assign_top_k(*sample.args(), out=out._replace(ltrb=ltrb))
