"""The CUDA kernels of SimOTA and dynamic soft labels, executed on the CPU, equal the CPU op in every bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

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
from emulated.top_k_call import run_dynamic_k
from hypothesis import given, settings
from oracles import assert_same_bits
from samples import training_batch
from task_aligned_samples import DTYPES, LAYOUTS, PredictedSample

from pseudo_iou_ops import SimOta, SoftLabel, assign_top_k, presets

SAMPLES = [*sim_ota_inputs(), *soft_label_inputs()]
SCHEDULES = [("forward", 0), ("reverse", 0), ("shuffled", 1)]


def check(sample: PredictedSample, **run: Any) -> None:
    assert_same_bits(run_dynamic_k(sample, **run), assign_top_k(*sample.args(), **sample.kwargs()))


@pytest.mark.parametrize(("schedule", "seed"), SCHEDULES)
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{type(sample.rule).__name__}-{sample}")
def test_samples(sample: PredictedSample, schedule: str, seed: int) -> None:
    check(sample, schedule=schedule, seed=seed)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{type(sample.rule).__name__}-{sample}")
def test_offsets_by_value(sample: PredictedSample) -> None:
    check(sample, offsets_on_host=True)


def test_every_combination_of_switches() -> None:
    batch = training_batch((64, 96), (9, 0, 4))
    for seed, rule in enumerate((*every_sim_ota(), *SOFT_LABELS)):
        check(predicted(batch, rule, seed))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_layouts_and_dtypes(layout: str, dtype: torch.dtype) -> None:
    batch = training_batch((64, 96), (9, 4))
    for box_format, score_kind, classes in (("xyxy", "logits", 300), ("ltrb", "probabilities", 13)):
        ways = {"layout": layout, "dtype": dtype, "box_format": box_format, "classes": classes}
        check(predicted(batch, presets.yolox, 3, score_kind=score_kind, objectness=layout, **ways))
        check(predicted(batch, presets.rtmdet, 3, **ways))


@pytest.mark.parametrize("rule", [*RULES, *SOFT_LABELS], ids=str)
def test_boxes_of_all_sizes(rule: SimOta | SoftLabel) -> None:
    """One covers everything, another more than the image; points of several blocks; levels that end in a warp."""
    sample = predicted(training_batch((192, 256), (14, 0, 5, 3)), rule)
    large = torch.tensor([[0.0, 0.0, 256.0, 192.0], [-50.0, 3.0, 900.0, 180.0]])
    check(replace(sample, boxes=torch.cat((large, sample.boxes[2:]))), schedule="shuffled", seed=2)


@pytest.mark.parametrize("rule", [*RULES, *SOFT_LABELS], ids=str)
def test_many_boxes_at_the_same_points(rule: SimOta | SoftLabel) -> None:
    """Every point is contested, by more boxes than a warp has lanes."""
    check(predicted(training_batch((64, 64), (120,)), rule), schedule="reverse")


@settings(max_examples=200, deadline=None)
@given(sample=sim_ota_calls())
def test_any_call_of_sim_ota(sample: PredictedSample) -> None:
    check(sample, schedule="shuffled", seed=3)


@settings(max_examples=200, deadline=None)
@given(sample=soft_label_calls())
def test_any_call_of_soft_label(sample: PredictedSample) -> None:
    check(sample, schedule="shuffled", seed=3)
