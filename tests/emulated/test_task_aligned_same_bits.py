"""The CUDA kernels of the task-aligned assignment, executed on the CPU, equal the CPU op in every bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from emulated.top_k_call import run_task_aligned
from hypothesis import given, settings
from oracles import assert_same_bits
from samples import training_batch
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

from pseudo_iou_ops import TaskAligned, assign_top_k, presets

SAMPLES = task_aligned_inputs()
SCHEDULES = [("forward", 0), ("reverse", 0), ("shuffled", 1)]


def check(sample: PredictedSample, **run: Any) -> None:
    assert_same_bits(run_task_aligned(sample, **run), assign_top_k(*sample.args(), **sample.kwargs()))


@pytest.mark.parametrize(("schedule", "seed"), SCHEDULES)
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_samples(sample: PredictedSample, schedule: str, seed: int) -> None:
    check(sample, schedule=schedule, seed=seed)


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.num_images <= 1000], ids=str)
def test_offsets_by_value(sample: PredictedSample) -> None:
    check(sample, offsets_on_host=True)


def test_every_combination_of_switches() -> None:
    batch = training_batch((64, 96), (9, 0, 4))
    for seed, rule in enumerate(every_task_aligned()):
        check(with_predictions(batch, rule, seed))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_layouts_and_dtypes(layout: str, dtype: torch.dtype) -> None:
    batch = training_batch((64, 96), (9, 4))
    for box_format, score_kind in (("xyxy", "logits"), ("ltrb", "probabilities")):
        check(with_predictions(batch, PRESETS["yolov8"], 3, layout, dtype, box_format, score_kind))


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("wanted_blocks", [1, 3, 1000])
def test_boxes_that_share_a_block(rule: TaskAligned, wanted_blocks: int) -> None:
    """Some are visited by their warp, some by the block; neither may wait for the other, or take its points."""
    sample = with_predictions(training_batch((192, 256), (14, 0, 5, 3)), rule)
    large = torch.tensor([[0.0, 0.0, 256.0, 192.0], [-50.0, 3.0, 900.0, 180.0]])
    sample = replace(sample, boxes=torch.cat((large, sample.boxes[2:])))
    check(sample, wanted_blocks=wanted_blocks, schedule="shuffled", seed=wanted_blocks)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_many_boxes_at_the_same_points(rule: TaskAligned) -> None:
    """Every point is contested, and the best points of a warp change with every step."""
    sample = with_predictions(training_batch((64, 64), (120,)), rule)
    check(sample, schedule="reverse")


@settings(max_examples=200, deadline=None)
@given(sample=task_aligned_calls())
def test_any_call(sample: PredictedSample) -> None:
    check(sample, schedule="shuffled", seed=3)


@pytest.mark.parametrize("keep", [1, 4])
def test_a_box_that_has_more_points_than_it_chose(keep: int) -> None:
    """All predictions are one box: the points that others chose are its own."""
    sample = with_predictions(training_batch((64, 64), (40,)), replace(presets.pp_yoloe, keep=keep))
    predictions = sample.boxes[:1].expand(1, sample.num_points, 4).contiguous()
    sample = replace(sample, pred_boxes=predictions)
    assert assign_top_k(*replace(sample, rule=presets.pp_yoloe).args(), **sample.kwargs()).pos_per_box[0] > 13
    check(sample)
