"""`out=`: the same result, in the caller's memory."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from oracles import assert_same_bits
from samples import Sample, sample_inputs, training_batch

from pseudo_iou_ops import Assignment, assign, reference


def stale(assignment: Assignment) -> Assignment:
    """Tensors of the same shapes that hold what no result holds."""
    return Assignment(
        *(torch.full_like(field, torch.nan if field.is_floating_point() else -77) for field in assignment)
    )


@pytest.mark.parametrize("sample", sample_inputs(), ids=str)
def test_every_element_is_written(sample: Sample) -> None:
    expected = reference.assign(*sample.args(), **sample.kwargs())
    out = stale(expected)
    addresses = [field.data_ptr() for field in out]
    assert assign(*sample.args(), **sample.kwargs(), out=out) is out
    assert [field.data_ptr() for field in out] == addresses
    assert_same_bits(out, expected)


def test_an_earlier_result_is_reused() -> None:
    first, second = (training_batch((256, 384), (12, 5), seed=seed) for seed in (1, 2))
    out = assign(*first.args())
    assert assign(*second.args(), out=out) is out
    assert_same_bits(out, assign(*second.args()))


def test_results_do_not_share_memory() -> None:
    sample = training_batch((64, 96), (5, 3))
    one, other = assign(*sample.args()), assign(*sample.args())
    spans = sorted((field.data_ptr(), field.data_ptr() + field.nbytes) for field in (*one, *other))
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))


@pytest.mark.parametrize(
    ("field", "other"), [("labels", "matched"), ("centerness", "pseudo_iou"), ("num_pos", "pos_per_box")]
)
def test_fields_that_share_memory_are_refused(field: str, other: str) -> None:
    sample = training_batch((64, 96), (5, 3))
    out = assign(*sample.args())
    start = getattr(out, other).flatten()[: getattr(out, field).numel()]
    with pytest.raises(RuntimeError, match="out: expected fields that share no memory"):
        assign(*sample.args(), out=out._replace(**{field: start.view(getattr(out, field).shape)}))


def test_views_of_a_larger_buffer() -> None:
    sample = training_batch((64, 96), (5, 3))
    expected = assign(*sample.args())
    buffers = [torch.full((field.numel() + 2,), -5, dtype=field.dtype) for field in expected]
    out = Assignment(*(buffer[1:-1].view(field.shape) for buffer, field in zip(buffers, expected, strict=True)))
    assign(*sample.args(), out=out)
    assert_same_bits(out, expected)
    assert all(buffer[0] == buffer[-1] == -5 for buffer in buffers), "an element beside the output was written"
