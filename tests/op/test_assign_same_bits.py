"""The compiled op on a CPU against the reference: the same bits for every input."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from oracles import assert_same_bits
from samples import STRIDES, Sample, assign_calls, every_rule, sample_inputs, training_batch

from pseudo_iou_ops import AssignRule, assign, presets, reference


def assert_op_equals_reference(sample: Sample) -> None:
    assert_same_bits(assign(*sample.args(), **sample.kwargs()), reference.assign(*sample.args(), **sample.kwargs()))


@pytest.mark.parametrize("sample", sample_inputs(), ids=str)
def test_samples(sample: Sample) -> None:
    assert_op_equals_reference(sample)


@pytest.mark.parametrize("metric", ["pseudo_iou", "centerness", "scaled_box", "center_radius", "none"])
def test_every_combination_of_switches(metric: str) -> None:
    sample = training_batch((64, 96), (9, 0, 14))
    for rule in every_rule():
        if rule.metric == metric:
            assert_op_equals_reference(dataclasses.replace(sample, rule=rule))


@given(call=assign_calls())
def test_random_calls(call: Sample) -> None:
    assert_op_equals_reference(call)


@pytest.mark.parametrize("rule", [presets.paper, presets.authors_code, presets.fcos], ids=["paper", "code", "fcos"])
def test_a_training_batch(rule: AssignRule) -> None:
    assert_op_equals_reference(training_batch((800, 1344), (7, 93), rule=rule))


@pytest.mark.parametrize("seed", range(4))
def test_sizes_that_split_unevenly_over_tasks(seed: int) -> None:
    """Levels wider and higher than any tile, and strides that no float32 holds exactly."""
    sample = training_batch((617, 1033), (30,), strides=(2.1, 4.3, 8.7), seed=seed)
    assert_op_equals_reference(dataclasses.replace(sample, offset=1 / 3))


def test_more_boxes_than_points() -> None:
    assert_op_equals_reference(training_batch((64, 64), (3000, 0, 3000), strides=STRIDES[:2]))
