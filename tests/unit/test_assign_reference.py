"""`reference.assign` against the brute-force loop, and against the authors' method."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from oracles import assert_same_bits, authors_code_oracle, brute_force
from samples import Sample, assign_calls, every_rule, pack, sample_inputs, training_batch

from pseudo_iou_ops import AssignRule, presets, reference


@pytest.mark.parametrize("sample", sample_inputs(), ids=str)
def test_samples(sample: Sample) -> None:
    actual = reference.assign(*sample.args(), **sample.kwargs())
    assert_same_bits(actual, brute_force(*sample.args(), **sample.kwargs()))


def test_every_combination_of_switches() -> None:
    boxes = [
        [0, 0, 24, 24],
        [2, 2, 14, 14],
        [4, 4, 92, 60],
        [4, 4, 92, 60],
        [-4, -4, 28, 28],
        [16, 8, 80, 72],
    ]
    sample = pack("rules", [boxes], level_shapes=((4, 6), (2, 3)), strides=(16.0, 32.0))
    for rule in every_rule(num_levels=2):
        call = dataclasses.replace(sample, rule=rule)
        assert_same_bits(reference.assign(*call.args()), brute_force(*call.args()))


@given(call=assign_calls())
def test_random_calls(call: Sample) -> None:
    actual = reference.assign(*call.args(), **call.kwargs())
    assert_same_bits(actual, brute_force(*call.args(), **call.kwargs()))


@pytest.mark.parametrize("seed", range(6))
def test_authors_code_preset_labels_as_the_authors_code_does(seed: int) -> None:
    sample = training_batch((256, 384), (8, 0, 25), rule=presets.authors_code, seed=seed)
    expected = authors_code_oracle(*sample.args()[:5])
    actual = reference.assign(*sample.args())
    assert torch.equal(actual.labels, expected)
    assert actual.num_pos.tolist() == (expected >= 0).sum(dim=1).tolist()
    assert actual.num_pos.sum() > 50


@pytest.mark.parametrize("threshold", [0.3, 0.6])
def test_authors_code_at_values_that_touch_threshold_and_range(threshold: float) -> None:
    boxes = [
        [-4, -4, 28, 28],
        [0, 0, 72, 72],
        [0, 0, 72, 72],
        [0, 0, 136, 136],
        [4, 4, 68, 68],
        [20, 20, 20, 90],
    ]
    rule = dataclasses.replace(presets.authors_code, threshold=threshold)
    shapes = ((32, 48), (16, 24), (8, 12), (4, 6), (2, 3))
    sample = pack("touching", [boxes], level_shapes=shapes, rule=rule)
    expected = authors_code_oracle(*sample.args()[:5], threshold=threshold)
    assert torch.equal(reference.assign(*sample.args()).labels, expected)


def test_a_threshold_of_zero_is_the_baseline() -> None:
    sample = training_batch((256, 384), (8, 25))
    baseline = reference.assign(*sample.args()[:5], presets.paper_baseline)
    for threshold in (0.0, 1 / 7 - 1e-6):
        assert_same_bits(reference.assign(*sample.args()[:5], AssignRule(threshold=threshold)), baseline)


def test_out_is_written_in_place() -> None:
    sample = training_batch((64, 96), (5, 3))
    expected = reference.assign(*sample.args())
    out = reference.Assignment(*(torch.full_like(field, 7) for field in expected))
    assert reference.assign(*sample.args(), out=out) is out
    assert_same_bits(out, expected)
