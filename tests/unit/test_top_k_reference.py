"""`reference_top_k.assign_top_k` against the brute-force loop."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from oracles import assert_same_bits
from samples import Sample, pack
from top_k_oracles import brute_force_atss
from top_k_samples import atss_calls, atss_inputs, every_atss

from pseudo_iou_ops import reference_top_k


def check(sample: Sample) -> None:
    actual = reference_top_k.assign_top_k(*sample.args(), **sample.kwargs())
    assert_same_bits(actual, brute_force_atss(*sample.args(), **sample.kwargs()))


@pytest.mark.parametrize("sample", [s for s in atss_inputs() if s.num_pairs < 20_000], ids=str)
def test_samples(sample: Sample) -> None:
    check(sample)


def test_every_combination_of_switches() -> None:
    boxes = [[0, 0, 24, 24], [2, 2, 14, 14], [4, 4, 92, 60], [4, 4, 92, 60], [-4, -4, 28, 28], [16, 8, 80, 72]]
    sample = pack("rules", [boxes], level_shapes=((4, 6), (2, 3)), strides=(16.0, 32.0))
    for rule in every_atss():
        check(replace(sample, rule=rule))


@given(call=atss_calls())
def test_random_calls(call: Sample) -> None:
    check(call)
