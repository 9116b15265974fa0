"""The CUDA kernel, executed on the CPU, equals the CPU op in every bit."""

from __future__ import annotations

import pytest
from emulated import emulated_call
from hypothesis import given, settings
from oracles import assert_same_bits
from samples import Sample, assign_calls, every_rule, sample_inputs, training_batch

from pseudo_iou_ops import AssignRule, assign

SCHEDULES = [("forward", 0), ("reverse", 0), ("shuffled", 1)]
SAMPLES = sample_inputs()


def check(sample: Sample, **run: object) -> None:
    emulated = emulated_call.assign(sample, **run)
    assert_same_bits(emulated, assign(*sample.args(), **sample.kwargs()))


def judges_every_candidate(rule: AssignRule) -> bool:
    """Such a rule has one kernel, with one point a thread."""
    return rule.order == "filter_then_choose" or rule.resolve == "max_metric"


@pytest.mark.parametrize(("schedule", "seed"), SCHEDULES)
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_samples(sample: Sample, schedule: str, seed: int) -> None:
    check(sample, schedule=schedule, seed=seed)


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.num_images <= 1000], ids=str)
def test_offsets_by_value(sample: Sample) -> None:
    check(sample, offsets_on_host=True)


@pytest.mark.parametrize("sample", [s for s in SAMPLES if not judges_every_candidate(s.rule)], ids=str)
def test_the_other_number_of_points_per_thread(sample: Sample) -> None:
    check(sample, other_points=True)


def test_every_rule() -> None:
    for rule in every_rule():
        check(training_batch((64, 96), (9, 0, 4), rule=rule))


@settings(max_examples=150, deadline=None)
@given(sample=assign_calls())
def test_any_call(sample: Sample) -> None:
    check(sample, schedule="shuffled", seed=3)
    check(sample, other_points=True)
