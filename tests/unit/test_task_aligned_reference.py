"""`reference_top_k.assign_top_k` with a `TaskAligned` against the brute-force loop."""

from __future__ import annotations

import pytest
from hypothesis import given
from oracles import assert_same_bits
from samples import training_batch
from task_aligned_oracles import brute_force_task_aligned
from task_aligned_samples import (
    PredictedSample,
    every_task_aligned,
    task_aligned_calls,
    task_aligned_inputs,
    with_predictions,
)

from pseudo_iou_ops import reference_top_k


def check(sample: PredictedSample) -> None:
    actual = reference_top_k.assign_top_k(*sample.args(), **sample.kwargs())
    assert_same_bits(actual, brute_force_task_aligned(*sample.args(), **sample.kwargs()))


@pytest.mark.parametrize("sample", [s for s in task_aligned_inputs() if s.num_pairs < 3_000], ids=str)
def test_samples(sample: PredictedSample) -> None:
    check(sample)


def test_every_combination_of_switches() -> None:
    batch = training_batch((64, 96), (6,), strides=(16.0, 32.0))
    for seed, rule in enumerate(every_task_aligned()):
        check(with_predictions(batch, rule, seed))


@given(call=task_aligned_calls())
def test_random_calls(call: PredictedSample) -> None:
    check(call)
