"""SimOTA: the compiled op on a CPU against the reference, the same bits for every input."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from dynamic_k_samples import (
    PRESETS,
    RULES,
    ObjectnessSample,
    every_sim_ota,
    sim_ota_calls,
    sim_ota_inputs,
    sim_ota_registration_inputs,
    with_objectness,
)
from hypothesis import given
from oracles import assert_same_bits
from samples import op_call, training_batch
from task_aligned_samples import DTYPES, LAYOUTS

from pseudo_iou_ops import SimOta, TopKAssignment, assign_top_k, reference_top_k

OP = torch.ops.pseudo_iou_ops.assign_sim_ota


def check(sample: ObjectnessSample) -> None:
    expected = reference_top_k.assign_top_k(*sample.args(), **sample.kwargs())
    assert_same_bits(assign_top_k(*sample.args(), **sample.kwargs()), expected)


@pytest.mark.parametrize("sample", sim_ota_inputs(), ids=str)
def test_samples(sample: ObjectnessSample) -> None:
    check(sample)


def test_every_combination_of_switches() -> None:
    batch = training_batch((64, 96), (9, 0, 14))
    positives = 0
    for seed, rule in enumerate(every_sim_ota()):
        sample = with_objectness(batch, rule, seed)
        check(sample)
        positives += int(assign_top_k(*sample.args(), **sample.kwargs()).num_pos.sum())
    assert positives > 500


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_layouts_and_dtypes(layout: str, dtype: torch.dtype) -> None:
    batch = training_batch((64, 96), (9, 4))
    for box_format, score_kind, objectness in (("xyxy", "logits", "dense"), ("ltrb", "probabilities", layout)):
        check(
            with_objectness(
                batch, PRESETS["yolox"], 3, layout, dtype, box_format, score_kind, classes=300, objectness=objectness
            )
        )


@given(call=sim_ota_calls())
def test_random_calls(call: ObjectnessSample) -> None:
    check(call)


@pytest.mark.parametrize("rule", PRESETS.values(), ids=PRESETS.keys())
def test_a_training_batch(rule: SimOta) -> None:
    """More valid points than a run of predictions holds, and crowds in which boxes have few points of their own."""
    check(with_objectness(training_batch((640, 640), (7, 300)), rule, classes=80))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_number_of_threads(rule: SimOta) -> None:
    sample = with_objectness(training_batch((256, 320), (90, 0, 7)), rule)
    torch.set_num_threads(1)
    alone = assign_top_k(*sample.args(), **sample.kwargs())
    for threads in (2, 3, 8):
        torch.set_num_threads(threads)
        for _ in range(3):
            assert_same_bits(assign_top_k(*sample.args(), **sample.kwargs()), alone)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_an_image_alone_and_in_a_batch(rule: SimOta) -> None:
    sample = with_objectness(training_batch((256, 320), (40, 0, 7)), rule)
    whole = assign_top_k(*sample.args(), **sample.kwargs())
    for image, (begin, end) in enumerate(pairwise(sample.offsets.tolist())):
        one = slice(image, image + 1)
        names = ("pred_boxes", "scores", "objectness")
        predictions = {name: getattr(sample, name)[one] for name in names}
        alone = assign_top_k(
            sample.boxes[begin:end], sample.labels[begin:end], torch.tensor([0, end - begin]), *sample.args()[3:],
            **predictions,
        )  # fmt: skip
        matched = torch.where(alone.matched >= 0, alone.matched + begin, alone.matched)
        assert_same_bits(
            alone._replace(matched=matched), (*(field[one] for field in whole[:6]), whole.pos_per_box[begin:end])
        )


@pytest.mark.parametrize("overload", ["default", "out"])
@pytest.mark.parametrize("sample", sim_ota_registration_inputs(), ids=str)
def test_opcheck(sample: ObjectnessSample, overload: str) -> None:
    op, args = op_call(sample, overload)
    assert op is getattr(OP, overload)
    torch.library.opcheck(op, args)


def test_every_element_of_out_is_written() -> None:
    for sample in sim_ota_registration_inputs():
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
        ("objectness", lambda levels: [levels[0][:1]]),
        ("objectness", lambda levels: [levels[0][:, :-1].contiguous()]),
        ("objectness", lambda levels: [levels[0].expand(-1, -1, 2).contiguous()]),
        ("objectness", lambda levels: [levels[0].int()]),
        ("top_ious", lambda k: 33),
        ("top_ious", lambda k: 0),
        ("iou_weight", lambda weight: -1.0),
        ("cls_weight", lambda weight: float("nan")),
    ],
)
def test_a_bad_direct_call_is_refused(argument: str, change: object) -> None:
    sample = with_objectness(training_batch((64, 96), (5, 3)), SimOta())
    op, args = op_call(sample)
    names = [name.name for name in op._schema.arguments]
    values = dict(zip(names, args, strict=True))
    op(*values.values())
    values[argument] = change(values[argument])  # type: ignore[operator]
    with pytest.raises(RuntimeError, match=rf"\b{argument}\b"):
        op(*values.values())
