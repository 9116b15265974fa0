"""The CUDA kernels where boxes choose points, executed on the CPU, equal the CPU op in every bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from emulated.top_k_call import run_atss
from hypothesis import given, settings
from oracles import assert_same_bits
from samples import Sample, training_batch
from top_k_samples import atss_calls, atss_inputs, every_atss

from pseudo_iou_ops import assign_top_k

SAMPLES = atss_inputs()


def check(sample: Sample, **run: Any) -> None:
    assert_same_bits(run_atss(sample, **run), assign_top_k(*sample.args(), **sample.kwargs()))


@pytest.mark.parametrize(("schedule", "seed"), [("forward", 0), ("reverse", 0), ("shuffled", 1)])
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_samples(sample: Sample, schedule: str, seed: int) -> None:
    check(sample, schedule=schedule, seed=seed)


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.num_images <= 1000], ids=str)
def test_offsets_by_value(sample: Sample) -> None:
    check(sample, offsets_on_host=True)


def test_every_combination_of_switches() -> None:
    sample = training_batch((64, 96), (9, 0, 4))
    for rule in every_atss():
        check(replace(sample, rule=rule))


@settings(max_examples=150, deadline=None)
@given(sample=atss_calls())
def test_any_call(sample: Sample) -> None:
    check(sample, schedule="shuffled", seed=3)
