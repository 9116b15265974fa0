"""`reference_top_k.assign_top_k` with the rules that read predictions against brute-force loops."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import assert_same_bits
from predicted_families import EVERY_FAMILY, Family, of_every_family
from samples import training_batch
from task_aligned_samples import PredictedSample

from pseudo_iou_ops import reference_top_k


def check(family: Family, sample: PredictedSample) -> None:
    actual = reference_top_k.assign_top_k(*sample.args(), **sample.kwargs())
    assert_same_bits(actual, family.oracle(*sample.args(), **sample.kwargs()))


def small_inputs(family: Family) -> list[PredictedSample]:
    return [sample for sample in family.inputs() if sample.num_pairs < 3_000]


@pytest.mark.parametrize(("family", "sample"), of_every_family(small_inputs))
def test_samples(family: Family, sample: PredictedSample) -> None:
    check(family, sample)


@EVERY_FAMILY
def test_every_combination_of_switches(family: Family) -> None:
    batch = training_batch((64, 96), (6,), strides=(16.0, 32.0))
    for seed, rule in enumerate(family.every()):
        check(family, family.with_predictions(batch, rule, seed))


@EVERY_FAMILY
@given(data=st.data())
def test_random_calls(family: Family, data: st.DataObject) -> None:
    check(family, data.draw(family.calls()))
