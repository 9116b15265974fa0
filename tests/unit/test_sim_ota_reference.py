"""`reference_top_k.assign_top_k` with a `SimOta` against the brute-force loop."""

from __future__ import annotations

import pytest
from dynamic_k_oracles import brute_force_dynamic_k
from dynamic_k_samples import ObjectnessSample, every_sim_ota, sim_ota_calls, sim_ota_inputs, with_objectness
from hypothesis import given
from oracles import assert_same_bits
from samples import training_batch

from pseudo_iou_ops import reference_top_k


def check(sample: ObjectnessSample) -> None:
    actual = reference_top_k.assign_top_k(*sample.args(), **sample.kwargs())
    assert_same_bits(actual, brute_force_dynamic_k(*sample.args(), **sample.kwargs()))


@pytest.mark.parametrize("sample", [s for s in sim_ota_inputs() if s.num_pairs < 3_000], ids=str)
def test_samples(sample: ObjectnessSample) -> None:
    check(sample)


def test_every_combination_of_switches() -> None:
    batch = training_batch((64, 96), (6,), strides=(16.0, 32.0))
    for seed, rule in enumerate(every_sim_ota()):
        check(with_objectness(batch, rule, seed))


@given(call=sim_ota_calls())
def test_random_calls(call: ObjectnessSample) -> None:
    check(call)
