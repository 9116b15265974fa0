"""What must not matter: the number of threads, the other images of a batch, the order of the boxes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from oracles import assert_same_bits
from samples import Sample, sample_inputs, training_batch

from pseudo_iou_ops import AssignRule, assign, presets

RULES = {
    "paper": presets.paper,
    "fcos": presets.fcos,
    "max_metric": AssignRule(resolve="max_metric", ignore_threshold=0.2),
}


@pytest.fixture
def restore_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def batch(rule: AssignRule) -> Sample:
    return training_batch((512, 640), (40, 0, 7, 100), rule=rule)


@pytest.mark.usefixtures("restore_threads")
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_number_of_threads(rule: AssignRule) -> None:
    sample = batch(rule)
    torch.set_num_threads(1)
    alone = assign(*sample.args())
    for threads in (2, 3, 8):
        torch.set_num_threads(threads)
        for _ in range(5):
            assert_same_bits(assign(*sample.args()), alone)


@pytest.mark.usefixtures("restore_threads")
def test_number_of_threads_on_samples() -> None:
    for sample in sample_inputs():
        torch.set_num_threads(1)
        alone = assign(*sample.args(), **sample.kwargs())
        torch.set_num_threads(8)
        assert_same_bits(assign(*sample.args(), **sample.kwargs()), alone)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_an_image_alone_and_in_a_batch(rule: AssignRule) -> None:
    sample = batch(rule)
    whole = assign(*sample.args())
    cuts = sample.offsets.tolist()
    for image, (begin, end) in enumerate(pairwise(cuts)):
        part = dataclasses.replace(
            sample,
            boxes=sample.boxes[begin:end],
            labels=sample.labels[begin:end],
            offsets=torch.tensor([0, end - begin]),
        )
        alone = assign(*part.args())
        matched = torch.where(alone.matched >= 0, alone.matched + begin, alone.matched)
        one = slice(image, image + 1)
        assert_same_bits(
            alone._replace(matched=matched),
            (*(field[one] for field in whole[:6]), whole.pos_per_box[begin:end]),
        )


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_order_of_the_boxes_where_nothing_ties(rule: AssignRule) -> None:
    sample = training_batch((512, 640), (60,), rule=rule)
    sides = sample.boxes[:, 2:] - sample.boxes[:, :2]
    assert sides.prod(dim=1).unique().numel() == 60, "two boxes of one area would tie"
    shuffled = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    expected = assign(*sample.args())
    moved = assign(*dataclasses.replace(sample, boxes=sample.boxes[shuffled], labels=sample.labels[shuffled]).args())

    matched = torch.where(moved.matched >= 0, shuffled[moved.matched.clamp(min=0)], moved.matched)
    pos_per_box = torch.empty_like(moved.pos_per_box).index_copy_(0, shuffled, moved.pos_per_box)
    assert_same_bits(moved._replace(matched=matched, pos_per_box=pos_per_box), expected)


def test_counts_are_those_of_the_matches() -> None:
    for sample in sample_inputs():
        out = assign(*sample.args(), **sample.kwargs())
        is_positive = out.matched >= 0
        assert torch.equal(out.num_pos, is_positive.sum(dim=1)), sample.name
        counts = torch.bincount(out.matched[is_positive], minlength=sample.boxes.shape[0])
        assert torch.equal(out.pos_per_box, counts), sample.name
        assert torch.equal(out.labels[is_positive], sample.labels[out.matched[is_positive]]), sample.name
        for field in (out.ltrb, out.pseudo_iou, out.centerness):
            assert not field[~is_positive].any(), sample.name
            assert field.isfinite().all(), sample.name


def test_inputs_are_left_alone() -> None:
    for sample in sample_inputs():
        tensors = [sample.boxes, sample.labels, sample.offsets, *sample.kwargs().values()]
        tensors = [tensor for tensor in tensors if isinstance(tensor, torch.Tensor)]
        before = [tensor.clone() for tensor in tensors]
        assign(*sample.args(), **sample.kwargs())
        for tensor, copy in zip(tensors, before, strict=True):
            assert torch.equal(tensor.nan_to_num(), copy.nan_to_num()), sample.name
