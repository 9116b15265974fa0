"""SimOTA and dynamic soft labels on CUDA: the bits of a CPU, five kernels a call, no wait, replay with new inputs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from dynamic_k_samples import (
    RULES,
    SOFT_LABELS,
    every_sim_ota,
    predicted,
    sim_ota_calls,
    sim_ota_inputs,
    soft_label_calls,
    soft_label_inputs,
)
from gpu_tools import device_activities, synchronisation_is_an_error
from hypothesis import given
from oracles import assert_same_bits
from samples import STRIDES, training_batch
from task_aligned_samples import DTYPES, LAYOUTS, PredictedSample

from pseudo_iou_ops import SimOta, SoftLabel, assign_top_k, presets, reference_top_k

pytestmark = pytest.mark.gpu

OFFSETS = pytest.mark.parametrize("offsets_device", ["cuda", "cpu"])
EVERY_RULE = pytest.mark.parametrize("rule", [*RULES, *SOFT_LABELS], ids=str)
SAMPLES = [*sim_ota_inputs(), *soft_label_inputs()]
MEBIBYTE = 2**20


def check(sample: PredictedSample, offsets_device: str = "cuda") -> None:
    other = sample.to("cuda", offsets_device)
    actual = assign_top_k(*other.args(), **other.kwargs())
    assert {field.device.type for field in actual} == {"cuda"}
    assert_same_bits(actual, assign_top_k(*sample.args(), **sample.kwargs()))


@OFFSETS
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{type(sample.rule).__name__}-{sample}")
def test_samples(sample: PredictedSample, offsets_device: str) -> None:
    check(sample, offsets_device)


def test_every_combination_of_switches() -> None:
    batch = training_batch((64, 96), (9, 0, 14))
    for seed, rule in enumerate((*every_sim_ota(), *SOFT_LABELS)):
        check(predicted(batch, rule, seed), "cpu")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_layouts_and_dtypes(layout: str, dtype: torch.dtype) -> None:
    batch = training_batch((64, 96), (9, 4))
    for box_format, score_kind, classes in (("xyxy", "logits", 300), ("ltrb", "probabilities", 13)):
        ways = {"layout": layout, "dtype": dtype, "box_format": box_format, "classes": classes}
        check(predicted(batch, presets.yolox, 3, score_kind=score_kind, objectness=layout, **ways))
        check(predicted(batch, presets.rtmdet, 3, **ways))


@given(call=sim_ota_calls())
def test_random_calls_of_sim_ota(call: PredictedSample) -> None:
    for offsets_device in ("cuda", "cpu"):
        check(call, offsets_device)


@given(call=soft_label_calls())
def test_random_calls_of_soft_label(call: PredictedSample) -> None:
    for offsets_device in ("cuda", "cpu"):
        check(call, offsets_device)


@EVERY_RULE
@pytest.mark.parametrize("boxes", [7, 100, 700])
def test_a_training_batch(boxes: int, rule: SimOta | SoftLabel) -> None:
    """A box over the whole image among others, and points that more boxes want than a warp has lanes."""
    sample = predicted(training_batch((640, 640), (boxes,) * 2), rule)
    sample.boxes[1] = torch.tensor([-9.0, -9.0, 700.0, 700.0])
    check(sample)


@OFFSETS
@pytest.mark.parametrize("images", [63, 64, 65, 999, 1000, 1001, 70_000])
def test_number_of_images(images: int, offsets_device: str) -> None:
    counts = (0, 3, 1, 2) * (images // 4) + (1,) * (images % 4)
    batch = training_batch((32, 48), counts, strides=STRIDES[:2])
    sizes = torch.randint(0, 50, (images, 2), generator=torch.Generator().manual_seed(0))
    regions = {"ignore_boxes": batch.boxes.flip(0), "ignore_offsets": batch.offsets}
    for rule in (presets.yolox, presets.rtmdet):
        check(predicted(replace(batch, valid_sizes=sizes, **regions), rule), offsets_device)


def test_the_reference_on_cuda() -> None:
    for sample in SAMPLES:
        if sample.num_pairs < 20_000:
            other = sample.to("cuda", "cpu")
            actual = reference_top_k.assign_top_k(*other.args(), **other.kwargs())
            assert_same_bits(actual, assign_top_k(*sample.args(), **sample.kwargs()))


@EVERY_RULE
def test_run_to_run(rule: SimOta | SoftLabel) -> None:
    sample = predicted(training_batch((512, 640), (300, 0, 50)), rule).to("cuda")
    first = assign_top_k(*sample.args(), **sample.kwargs())
    for _ in range(50):
        assert_same_bits(assign_top_k(*sample.args(), **sample.kwargs()), first)


@EVERY_RULE
def test_a_call_starts_five_kernels_and_does_not_wait(rule: SimOta | SoftLabel) -> None:
    sample = predicted(training_batch((512, 640), (30, 0, 50)), rule).to("cuda")
    activities = device_activities(lambda: assign_top_k(*sample.args(), **sample.kwargs()))
    assert len(activities) == 5, activities
    with synchronisation_is_an_error():
        assign_top_k(*sample.args(), **sample.kwargs())


@EVERY_RULE
def test_a_captured_graph_replays_with_new_inputs(rule: SimOta | SoftLabel) -> None:
    first, second = (
        predicted(training_batch((512, 640), counts, seed=seed), rule, seed)
        for counts, seed in (((30, 20), 1), ((5, 45), 2))
    )
    buffers = first.to("cuda")
    assign_top_k(*buffers.args(), **buffers.kwargs())
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = assign_top_k(*buffers.args(), **buffers.kwargs())
    names = [
        "boxes",
        "labels",
        "offsets",
        "pred_boxes",
        "scores",
        *(["objectness"] if isinstance(rule, SimOta) else []),
    ]
    for sample in (first, second, first):
        for name in names:
            getattr(buffers, name).copy_(getattr(sample, name))
        graph.replay()
        assert_same_bits(out, assign_top_k(*sample.args(), **sample.kwargs()))


@EVERY_RULE
def test_no_memory_beyond_the_outputs(rule: SimOta | SoftLabel) -> None:
    """5,000 boxes an image and 8,400 points: a table of one byte a pair would take 80 MiB."""
    sample = predicted(training_batch((640, 640), (5000, 5000), strides=(8, 16, 32)), rule).to("cuda")
    out = assign_top_k(*sample.args(), **sample.kwargs())
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    assign_top_k(*sample.args(), **sample.kwargs(), out=out)
    torch.cuda.synchronize()
    assert torch.cuda.max_memory_allocated() - before < MEBIBYTE
