"""The ops where boxes choose points as torch sees them: schema, metadata, autograd, checks of a direct call."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from oracles import assert_same_bits
from samples import Sample, op_call, training_batch
from top_k_samples import atss_registration_inputs

from pseudo_iou_ops import Atss, TopKAssignment, assign_top_k, reference_top_k

OP = torch.ops.pseudo_iou_ops.assign_atss
SAMPLE = replace(training_batch((64, 96), (5, 3)), rule=Atss())


@pytest.mark.parametrize("overload", ["default", "out"])
@pytest.mark.parametrize("sample", atss_registration_inputs(), ids=str)
def test_opcheck(sample: Sample, overload: str) -> None:
    op, args = op_call(sample, overload)
    assert op is getattr(OP, overload)
    torch.library.opcheck(op, args)


@pytest.mark.parametrize("use_out", [False, True], ids=["new", "out"])
def test_outputs_carry_no_gradient(use_out: bool) -> None:
    boxes = SAMPLE.boxes.clone().requires_grad_()
    out = assign_top_k(*SAMPLE.args()) if use_out else None
    result = assign_top_k(boxes, *SAMPLE.args()[1:], ignore_boxes=boxes, ignore_offsets=SAMPLE.offsets, out=out)
    assert not any(field.requires_grad for field in result)


def test_autocast_does_not_lower_the_precision() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = assign_top_k(*SAMPLE.args())
    assert_same_bits(result, assign_top_k(*SAMPLE.args()))


def test_every_element_of_out_is_written() -> None:
    for sample in atss_registration_inputs():
        expected = reference_top_k.assign_top_k(*sample.args(), **sample.kwargs())
        stale = [torch.full_like(field, torch.nan if field.is_floating_point() else -77) for field in expected]
        out = TopKAssignment(*stale)
        assert assign_top_k(*sample.args(), **sample.kwargs(), out=out) is out
        assert_same_bits(out, expected)


def arguments(**changes: Any) -> list[Any]:
    """The op's own positional arguments, some of them replaced by name."""
    sample = next(sample for sample in atss_registration_inputs() if sample.name == "every_option")
    op, args = op_call(sample)
    names = [argument.name for argument in op._schema.arguments]
    values = dict(zip(names, args, strict=True))
    assert changes.keys() <= values.keys()
    return [changes[name](value) if name in changes else value for name, value in values.items()]


def test_the_direct_call_that_the_bad_ones_vary_is_good() -> None:
    OP.default(*arguments())


@pytest.mark.parametrize(
    ("argument", "change"),
    [
        ("boxes", lambda t: t.double()),
        ("boxes", lambda t: t[:, :3].contiguous()),
        ("labels", lambda t: t[:-1]),
        ("offsets", lambda t: t[:0]),
        ("offsets", lambda t: t.int()),
        ("level_shapes", lambda sides: sides[:-1]),
        ("level_shapes", lambda sides: [-1, *sides[1:]]),
        ("strides", lambda strides: [0.0, *strides[1:]]),
        ("offset", lambda offset: float("nan")),
        ("k", lambda k: 0),
        ("k", lambda k: 33),
        ("metric", lambda code: 3),
        ("metric", lambda code: -1),
        ("ignore_boxes", lambda t: None),
        ("ignore_offsets", lambda t: t[:-1]),
        ("valid_sizes", lambda t: t[:-1]),
    ],
)
def test_a_bad_direct_call_is_refused(argument: str, change: Any) -> None:
    with pytest.raises(RuntimeError, match=rf"\b{argument}\b"):
        OP.default(*arguments(**{argument: change}))


@pytest.mark.parametrize(("field", "other"), [("labels", "matched"), ("score", "iou"), ("iou", "ltrb")])
def test_fields_of_out_that_share_memory_are_refused(field: str, other: str) -> None:
    """A label in the place of a claim was the row of a box that is not there."""
    out = assign_top_k(*SAMPLE.args())
    start = getattr(out, other).flatten()[: getattr(out, field).numel()]
    with pytest.raises(RuntimeError, match="out: expected fields that share no memory"):
        assign_top_k(*SAMPLE.args(), out=out._replace(**{field: start.view(getattr(out, field).shape)}))


@pytest.mark.parametrize("field", ["matched", "matched_labels", "ltrb", "iou", "score", "num_pos", "pos_per_box"])
@pytest.mark.parametrize(
    "change", [lambda t: t[..., :-1].contiguous(), lambda t: t.to(torch.int32)], ids=["shape", "dtype"]
)
def test_a_bad_output_of_a_direct_call_is_refused(field: str, change: Any) -> None:
    op, args = op_call(SAMPLE, "out")
    names = [argument.name for argument in op._schema.arguments]
    values = dict(zip(names, args, strict=True))
    values[field] = change(values[field])
    with pytest.raises(RuntimeError, match=field.removeprefix("matched_")):
        op(*values.values())
