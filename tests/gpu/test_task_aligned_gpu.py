"""Task-aligned assignment on CUDA: the bits of a CPU, five kernels a call, no wait, and replay with new inputs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from gpu_tools import device_activities, synchronisation_is_an_error
from hypothesis import given
from oracles import assert_same_bits
from samples import STRIDES, training_batch
from task_aligned_samples import (
    DTYPES,
    LAYOUTS,
    PRESETS,
    RULES,
    PredictedSample,
    every_task_aligned,
    task_aligned_calls,
    task_aligned_inputs,
    with_predictions,
)

from pseudo_iou_ops import TaskAligned, assign_top_k, presets, reference_top_k

pytestmark = pytest.mark.gpu

OFFSETS = pytest.mark.parametrize("offsets_device", ["cuda", "cpu"])
SAMPLES = task_aligned_inputs()
MEBIBYTE = 2**20


def check(sample: PredictedSample, offsets_device: str = "cuda") -> None:
    other = sample.to("cuda", offsets_device)
    actual = assign_top_k(*other.args(), **other.kwargs())
    assert {field.device.type for field in actual} == {"cuda"}
    assert_same_bits(actual, assign_top_k(*sample.args(), **sample.kwargs()))


@OFFSETS
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_samples(sample: PredictedSample, offsets_device: str) -> None:
    check(sample, offsets_device)


def test_every_combination_of_switches() -> None:
    batch = training_batch((64, 96), (9, 0, 14))
    for seed, rule in enumerate(every_task_aligned()):
        check(with_predictions(batch, rule, seed), "cpu")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_layouts_and_dtypes(layout: str, dtype: torch.dtype) -> None:
    batch = training_batch((64, 96), (9, 4))
    for box_format, score_kind in (("xyxy", "logits"), ("ltrb", "probabilities")):
        check(with_predictions(batch, PRESETS["yolov8"], 3, layout, dtype, box_format, score_kind))


@given(call=task_aligned_calls())
def test_random_calls(call: PredictedSample) -> None:
    for offsets_device in ("cuda", "cpu"):
        check(call, offsets_device)


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("boxes", [7, 100, 2000])
def test_a_training_batch(boxes: int, rule: TaskAligned) -> None:
    """A box over the whole image among others; few boxes have a block each, many share one."""
    sample = with_predictions(training_batch((800, 1344), (boxes,) * 4), rule)
    sample.boxes[1] = torch.tensor([-9.0, -9.0, 1400.0, 900.0])
    check(sample)


@OFFSETS
@pytest.mark.parametrize("images", [63, 64, 65, 999, 1000, 1001, 70_000])
def test_number_of_images(images: int, offsets_device: str) -> None:
    counts = (0, 3, 1, 2) * (images // 4) + (1,) * (images % 4)
    batch = training_batch((32, 48), counts, strides=STRIDES[:2])
    sizes = torch.randint(0, 50, (images, 2), generator=torch.Generator().manual_seed(0))
    regions = {"ignore_boxes": batch.boxes.flip(0), "ignore_offsets": batch.offsets}
    check(with_predictions(replace(batch, valid_sizes=sizes, **regions), presets.pp_yoloe), offsets_device)


def test_the_reference_on_cuda() -> None:
    for sample in SAMPLES:
        if sample.num_pairs < 20_000:
            other = sample.to("cuda", "cpu")
            actual = reference_top_k.assign_top_k(*other.args(), **other.kwargs())
            assert_same_bits(actual, assign_top_k(*sample.args(), **sample.kwargs()))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_run_to_run(rule: TaskAligned) -> None:
    sample = with_predictions(training_batch((512, 640), (300, 0, 50)), rule).to("cuda")
    first = assign_top_k(*sample.args(), **sample.kwargs())
    for _ in range(50):
        assert_same_bits(assign_top_k(*sample.args(), **sample.kwargs()), first)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_call_starts_five_kernels_or_six_and_does_not_wait(rule: TaskAligned) -> None:
    sample = with_predictions(training_batch((512, 640), (30, 0, 50)), rule).to("cuda")
    activities = device_activities(lambda: assign_top_k(*sample.args(), **sample.kwargs()))
    assert len(activities) == (5 if rule.keep is None else 6), activities
    with synchronisation_is_an_error():
        assign_top_k(*sample.args(), **sample.kwargs())


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_captured_graph_replays_with_new_inputs(rule: TaskAligned) -> None:
    first, second = (
        with_predictions(training_batch((512, 640), counts, seed=seed), rule, seed)
        for counts, seed in (((30, 20), 1), ((5, 45), 2))
    )
    buffers = first.to("cuda")
    assign_top_k(*buffers.args(), **buffers.kwargs())
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = assign_top_k(*buffers.args(), **buffers.kwargs())
    for sample in (first, second, first):
        for name in ("boxes", "labels", "offsets", "pred_boxes", "scores"):
            getattr(buffers, name).copy_(getattr(sample, name))
        graph.replay()
        assert_same_bits(out, assign_top_k(*sample.args(), **sample.kwargs()))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_memory_does_not_grow_with_points_times_boxes(rule: TaskAligned) -> None:
    """5,000 boxes an image and 8,400 points: a table of one byte a pair would take 80 MiB."""
    sample = with_predictions(training_batch((640, 640), (5000, 5000), strides=(8, 16, 32)), rule).to("cuda")
    out = assign_top_k(*sample.args(), **sample.kwargs())
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    assign_top_k(*sample.args(), **sample.kwargs(), out=out)
    torch.cuda.synchronize()
    assert torch.cuda.max_memory_allocated() - before < MEBIBYTE


def test_an_out_that_is_not_aligned_is_refused() -> None:
    sample = with_predictions(training_batch((64, 96), (5, 3)), presets.yolov8).to("cuda")
    out = assign_top_k(*sample.args(), **sample.kwargs())
    ltrb = torch.empty(out.ltrb.numel() + 1, device="cuda")[1:].view(out.ltrb.shape)
    with pytest.raises(RuntimeError, match="ltrb: expected memory aligned to 16 bytes"):
        assign_top_k(*sample.args(), **sample.kwargs(), out=out._replace(ltrb=ltrb))
