"""The op as torch sees it: schema, metadata, autograd, and the checks that hold for a direct call."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from oracles import assert_same_bits
from samples import Sample, op_call, registration_inputs, training_batch

from pseudo_iou_ops import assign, reference

OP = torch.ops.pseudo_iou_ops.assign


@pytest.mark.parametrize("overload", ["default", "out"])
@pytest.mark.parametrize("sample", registration_inputs(), ids=str)
def test_opcheck(sample: Sample, overload: str) -> None:
    op, args = op_call(sample, overload)
    assert op is getattr(OP, overload)
    torch.library.opcheck(op, args)


def test_one_call_runs_one_op() -> None:
    """Not counting casts and copies of inputs that are not float32, contiguous and on the device already."""
    sample = training_batch((64, 96), (5, 3))
    with torch.profiler.profile() as profile:
        assign(*sample.args())
    ours = [event for event in profile.events() if event.name.startswith("pseudo_iou_ops::")]
    assert len(ours) == 1


@pytest.mark.parametrize("use_out", [False, True], ids=["new", "out"])
def test_outputs_carry_no_gradient(use_out: bool) -> None:
    sample = training_batch((64, 96), (5, 3))
    boxes = sample.boxes.clone().requires_grad_()
    out = assign(*sample.args()) if use_out else None
    result = assign(boxes, *sample.args()[1:], ignore_boxes=boxes, ignore_offsets=sample.offsets, out=out)
    assert not any(field.requires_grad for field in result)
    assert all(field.grad_fn is None for field in result)


def test_a_result_of_boxes_inside_a_graph() -> None:
    sample = training_batch((64, 96), (5, 3))
    boxes = sample.boxes.clone().requires_grad_()
    assert_same_bits(assign(boxes * 1, *sample.args()[1:]), assign(*sample.args()))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_grad_modes(mode: Any) -> None:
    sample = training_batch((64, 96), (5, 3))
    with mode():
        assert_same_bits(assign(*sample.args()), reference.assign(*sample.args()))


def test_autocast_does_not_lower_the_precision() -> None:
    sample = training_batch((64, 96), (5, 3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = assign(*sample.args())
    assert_same_bits(result, assign(*sample.args()))


def arguments(**changes: Any) -> list[Any]:
    """The op's own positional arguments, some of them replaced by name."""
    sample = next(sample for sample in registration_inputs() if sample.name == "every_option")
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
        ("boxes", lambda t: t.t().contiguous().t()),
        ("boxes", lambda t: t[0]),
        ("labels", lambda t: t[:-1]),
        ("labels", lambda t: t.int()),
        ("offsets", lambda t: t[:0]),
        ("offsets", lambda t: t.int()),
        ("offsets", lambda t: t[:, None]),
        ("level_shapes", lambda sides: sides[:-1]),
        ("level_shapes", lambda sides: sides[:-2]),
        ("level_shapes", lambda sides: [-1, *sides[1:]]),
        ("level_shapes", lambda sides: [2**31 - 64, *sides[1:]]),
        ("strides", lambda strides: [0.0, *strides[1:]]),
        ("strides", lambda strides: [float("nan"), *strides[1:]]),
        ("metric", lambda code: 5),
        ("metric", lambda code: -1),
        ("order", lambda code: 2),
        ("resolve", lambda code: -1),
        ("regress_ranges", lambda bounds: bounds[:-1]),
        ("ignore_boxes", lambda t: t.half()),
        ("ignore_boxes", lambda t: None),
        ("ignore_offsets", lambda t: t[:-1]),
        ("ignore_offsets", lambda t: None),
        ("valid_sizes", lambda t: t[:-1]),
        ("valid_sizes", lambda t: t.long()),
        ("valid_sizes", lambda t: t.t().contiguous()),
    ],
)
def test_a_bad_direct_call_is_refused(argument: str, change: Any) -> None:
    with pytest.raises(RuntimeError, match=argument):
        OP.default(*arguments(**{argument: change}))


@pytest.mark.parametrize(
    "field", ["matched", "matched_labels", "ltrb", "pseudo_iou", "centerness", "num_pos", "pos_per_box"]
)
@pytest.mark.parametrize(
    "change", [lambda t: t[..., :-1].contiguous(), lambda t: t.to(torch.int32)], ids=["shape", "dtype"]
)
def test_a_bad_output_of_a_direct_call_is_refused(field: str, change: Any) -> None:
    op, args = op_call(registration_inputs()[0], "out")
    names = [argument.name for argument in op._schema.arguments]
    values = dict(zip(names, args, strict=True))
    values[field] = change(values[field])
    with pytest.raises(RuntimeError, match=field.removeprefix("matched_")):
        op(*values.values())


def test_more_points_than_64_bits_count_are_refused() -> None:
    """Level sizes whose sum wraps around to 4 must not write past outputs of 4 points."""
    script = (
        "import torch\n"
        "from pseudo_iou_ops import assign\n"
        "shapes = [(2**31 - 1, 2**31 - 1)] * 4 + [(2**17, 2**17)]\n"
        "try:\n"
        "    one_box = torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64), torch.tensor([0, 1])\n"
        "    assign(*one_box, shapes, [8] * 5)\n"
        "except (ValueError, RuntimeError) as error:\n"
        "    print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, f"exit {result.returncode}: {result.stderr[-500:]}"
    assert "level_shapes" in result.stdout
