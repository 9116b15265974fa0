"""`reference_top_k.assign_top_k` with a `SoftLabel` against the brute-force loop."""

from __future__ import annotations

import pytest
from dynamic_k_oracles import brute_force_dynamic_k
from dynamic_k_samples import SOFT_LABELS, soft_label_calls, soft_label_inputs
from hypothesis import given
from oracles import assert_same_bits
from samples import training_batch
from task_aligned_samples import PredictedSample, with_predictions

from pseudo_iou_ops import reference_top_k


def check(sample: PredictedSample) -> None:
    actual = reference_top_k.assign_top_k(*sample.args(), **sample.kwargs())
    assert_same_bits(actual, brute_force_dynamic_k(*sample.args(), **sample.kwargs()))


@pytest.mark.parametrize("sample", [s for s in soft_label_inputs() if s.num_pairs < 3_000], ids=str)
def test_samples(sample: PredictedSample) -> None:
    check(sample)


def test_every_rule() -> None:
    batch = training_batch((64, 96), (6,), strides=(16.0, 32.0))
    for seed, rule in enumerate(SOFT_LABELS):
        check(with_predictions(batch, rule, seed, classes=11))


@given(call=soft_label_calls())
def test_random_calls(call: PredictedSample) -> None:
    check(call)
