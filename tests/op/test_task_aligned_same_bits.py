"""Task-aligned assignment: the compiled op on a CPU against the reference, the same bits for every input."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from oracles import assert_same_bits
from samples import op_call, training_batch
from task_aligned_samples import (
    DTYPES,
    LAYOUTS,
    PRESETS,
    RULES,
    PredictedSample,
    every_task_aligned,
    task_aligned_calls,
    task_aligned_inputs,
    task_aligned_registration_inputs,
    with_predictions,
)

from pseudo_iou_ops import TaskAligned, TopKAssignment, assign_top_k, reference_top_k

OP = torch.ops.pseudo_iou_ops.assign_task_aligned


def check(sample: PredictedSample) -> None:
    expected = reference_top_k.assign_top_k(*sample.args(), **sample.kwargs())
    assert_same_bits(assign_top_k(*sample.args(), **sample.kwargs()), expected)


@pytest.mark.parametrize("sample", task_aligned_inputs(), ids=str)
def test_samples(sample: PredictedSample) -> None:
    check(sample)


def test_every_combination_of_switches() -> None:
    batch = training_batch((64, 96), (9, 0, 14))
    positives = 0
    for seed, rule in enumerate(every_task_aligned()):
        sample = with_predictions(batch, rule, seed)
        check(sample)
        positives += int(assign_top_k(*sample.args(), **sample.kwargs()).num_pos.sum())
    assert positives > 1000


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_layouts_and_dtypes(layout: str, dtype: torch.dtype) -> None:
    batch = training_batch((64, 96), (9, 4))
    for box_format, score_kind in (("xyxy", "logits"), ("ltrb", "probabilities")):
        check(with_predictions(batch, PRESETS["yolov8"], 3, layout, dtype, box_format, score_kind))


@given(call=task_aligned_calls())
def test_random_calls(call: PredictedSample) -> None:
    check(call)


@pytest.mark.parametrize("rule", PRESETS.values(), ids=PRESETS.keys())
def test_a_training_batch(rule: TaskAligned) -> None:
    check(with_predictions(training_batch((640, 640), (7, 60)), rule))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_number_of_threads(rule: TaskAligned) -> None:
    sample = with_predictions(training_batch((256, 320), (90, 0, 7)), rule)
    torch.set_num_threads(1)
    alone = assign_top_k(*sample.args(), **sample.kwargs())
    for threads in (2, 3, 8):
        torch.set_num_threads(threads)
        for _ in range(3):
            assert_same_bits(assign_top_k(*sample.args(), **sample.kwargs()), alone)


@pytest.mark.parametrize("overload", ["default", "out"])
@pytest.mark.parametrize("sample", task_aligned_registration_inputs(), ids=str)
def test_opcheck(sample: PredictedSample, overload: str) -> None:
    op, args = op_call(sample, overload)
    assert op is getattr(OP, overload)
    torch.library.opcheck(op, args)


def test_every_element_of_out_is_written() -> None:
    for sample in task_aligned_registration_inputs():
        expected = reference_top_k.assign_top_k(*sample.args(), **sample.kwargs())
        stale = [torch.full_like(field, torch.nan if field.is_floating_point() else -77) for field in expected]
        out = TopKAssignment(*stale)
        assert assign_top_k(*sample.args(), **sample.kwargs(), out=out) is out
        assert_same_bits(out, expected)


@pytest.mark.parametrize(
    ("argument", "change"),
    [
        ("pred_boxes", lambda levels: [levels[0][:, :-1].contiguous()]),
        ("pred_boxes", lambda levels: [levels[0][:, :, :3].contiguous()]),
        ("pred_boxes", lambda levels: []),
        ("pred_boxes", lambda levels: [levels[0].long()]),
        ("scores", lambda levels: [levels[0][:1]]),
        ("scores", lambda levels: [levels[0].int()]),
        ("scores", lambda levels: [levels[0][:, :60].contiguous(), levels[0][:, 60:].contiguous()]),
        ("k", lambda k: 33),
        ("beta", lambda beta: 9),
        ("alpha", lambda alpha: -1.0),
        ("among", lambda code: 3),
        ("keep", lambda keep: -1),
    ],
)
def test_a_bad_direct_call_is_refused(argument: str, change: object) -> None:
    sample = with_predictions(training_batch((64, 96), (5, 3)), TaskAligned())
    op, args = op_call(sample)
    names = [name.name for name in op._schema.arguments]
    values = dict(zip(names, args, strict=True))
    values[argument] = change(values[argument])  # type: ignore[operator]
    with pytest.raises(RuntimeError, match=rf"\b{argument}\b"):
        op(*values.values())
