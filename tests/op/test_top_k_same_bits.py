"""Boxes choose points: the compiled op on a CPU against the reference, the same bits for every input."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from oracles import assert_same_bits
from samples import Sample, training_batch
from top_k_samples import PRESETS, atss_calls, atss_inputs, every_atss

from pseudo_iou_ops import Atss, assign_top_k, reference_top_k


def check(sample: Sample) -> None:
    expected = reference_top_k.assign_top_k(*sample.args(), **sample.kwargs())
    assert_same_bits(assign_top_k(*sample.args(), **sample.kwargs()), expected)


@pytest.mark.parametrize("sample", atss_inputs(), ids=str)
def test_samples(sample: Sample) -> None:
    check(sample)


def test_every_combination_of_switches() -> None:
    sample = training_batch((64, 96), (9, 0, 14))
    for rule in every_atss():
        check(replace(sample, rule=rule))


@given(call=atss_calls())
def test_random_calls(call: Sample) -> None:
    check(call)


@pytest.mark.parametrize("rule", PRESETS.values(), ids=PRESETS.keys())
def test_a_training_batch(rule: Atss) -> None:
    check(replace(training_batch((800, 1344), (7, 93)), rule=rule))


def test_more_boxes_than_points() -> None:
    sample = training_batch((64, 64), (700, 0, 300), strides=(8.0, 16.0))
    check(replace(sample, rule=PRESETS["pp_yoloe_atss"]))
