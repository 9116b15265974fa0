"""Dynamic soft labels: the compiled op on a CPU against the reference, the same bits for every input."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from dynamic_k_samples import SOFT_LABELS, soft_label_calls, soft_label_inputs, soft_label_registration_inputs
from hypothesis import given
from oracles import assert_same_bits
from samples import op_call, training_batch
from task_aligned_samples import DTYPES, LAYOUTS, PredictedSample, with_predictions

from pseudo_iou_ops import SoftLabel, TopKAssignment, assign_top_k, presets, reference_top_k

OP = torch.ops.pseudo_iou_ops.assign_soft_label


def check(sample: PredictedSample) -> int:
    """Returns the number of positives."""
    expected = reference_top_k.assign_top_k(*sample.args(), **sample.kwargs())
    assert_same_bits(assign_top_k(*sample.args(), **sample.kwargs()), expected)
    return int(expected.num_pos.sum())


@pytest.mark.parametrize("sample", soft_label_inputs(), ids=str)
def test_samples(sample: PredictedSample) -> None:
    check(sample)


def test_every_rule() -> None:
    batch = training_batch((64, 96), (9, 0, 14))
    assert sum(check(with_predictions(batch, rule, seed)) for seed in range(4) for rule in SOFT_LABELS) > 200


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_layouts_and_dtypes(layout: str, dtype: torch.dtype) -> None:
    batch = training_batch((64, 96), (9, 4))
    for box_format in ("xyxy", "ltrb"):
        check(with_predictions(batch, presets.rtmdet, 3, layout, dtype, box_format, classes=300))


@given(call=soft_label_calls())
def test_random_calls(call: PredictedSample) -> None:
    check(call)


def test_a_training_batch() -> None:
    """More valid points than a run of predictions holds, and crowds of boxes smaller than the finest stride."""
    check(with_predictions(training_batch((640, 640), (7, 300)), presets.rtmdet, classes=80))


@pytest.mark.parametrize("rule", SOFT_LABELS, ids=str)
def test_number_of_threads(rule: SoftLabel) -> None:
    sample = with_predictions(training_batch((256, 320), (90, 0, 7)), rule, classes=11)
    torch.set_num_threads(1)
    alone = assign_top_k(*sample.args(), **sample.kwargs())
    for threads in (2, 3, 8):
        torch.set_num_threads(threads)
        for _ in range(3):
            assert_same_bits(assign_top_k(*sample.args(), **sample.kwargs()), alone)


@pytest.mark.parametrize("rule", SOFT_LABELS, ids=str)
def test_an_image_alone_and_in_a_batch(rule: SoftLabel) -> None:
    sample = with_predictions(training_batch((256, 320), (40, 0, 7)), rule, classes=11)
    whole = assign_top_k(*sample.args(), **sample.kwargs())
    for image, (begin, end) in enumerate(pairwise(sample.offsets.tolist())):
        one = slice(image, image + 1)
        alone = assign_top_k(
            sample.boxes[begin:end], sample.labels[begin:end], torch.tensor([0, end - begin]), *sample.args()[3:],
            pred_boxes=sample.pred_boxes[one], scores=sample.scores[one],
        )  # fmt: skip
        matched = torch.where(alone.matched >= 0, alone.matched + begin, alone.matched)
        assert_same_bits(
            alone._replace(matched=matched), (*(field[one] for field in whole[:6]), whole.pos_per_box[begin:end])
        )


@pytest.mark.parametrize("overload", ["default", "out"])
@pytest.mark.parametrize("sample", soft_label_registration_inputs(), ids=str)
def test_opcheck(sample: PredictedSample, overload: str) -> None:
    op, args = op_call(sample, overload)
    assert op is getattr(OP, overload)
    torch.library.opcheck(op, args)


def test_every_element_of_out_is_written() -> None:
    for sample in soft_label_registration_inputs():
        expected = reference_top_k.assign_top_k(*sample.args(), **sample.kwargs())
        stale = [torch.full_like(field, torch.nan if field.is_floating_point() else -77) for field in expected]
        out = TopKAssignment(*stale)
        assert assign_top_k(*sample.args(), **sample.kwargs(), out=out) is out
        assert_same_bits(out, expected)


@pytest.mark.parametrize(
    ("argument", "change"),
    [
        ("pred_boxes", lambda levels: [levels[0][:, :-1].contiguous()]),
        ("scores", lambda levels: [levels[0][:1]]),
        ("top_ious", lambda k: 33),
        ("top_ious", lambda k: 0),
        ("radius", lambda radius: -1.0),
        ("iou_weight", lambda weight: float("nan")),
    ],
)
def test_a_bad_direct_call_is_refused(argument: str, change: object) -> None:
    sample = with_predictions(training_batch((64, 96), (5, 3)), SoftLabel())
    op, args = op_call(sample)
    names = [name.name for name in op._schema.arguments]
    values = dict(zip(names, args, strict=True))
    op(*values.values())
    values[argument] = change(values[argument])  # type: ignore[operator]
    with pytest.raises(RuntimeError, match=rf"\b{argument}\b"):
        op(*values.values())
