"""Every bad call of `assign` is refused before anything runs, by one line that names the argument."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from pseudo_iou_ops import Assignment, AssignRule, assign, reference

Change = Callable[[dict[str, Any]], dict[str, Any]]


def good_call() -> dict[str, Any]:
    """Two images, three boxes, six points."""
    return {
        "boxes": torch.zeros(3, 4),
        "labels": torch.zeros(3, dtype=torch.int64),
        "offsets": torch.zeros(3, dtype=torch.int64),
        "level_shapes": [(2, 2), (1, 2)],
        "strides": [8, 16],
        "rule": AssignRule(),
        "ignore_boxes": torch.zeros(2, 4),
        "ignore_offsets": torch.zeros(3, dtype=torch.int64),
        "valid_sizes": torch.zeros(2, 2),
    }


def set_to(**arguments: Any) -> Change:
    return lambda call: arguments


def turned(name: str, change: Callable[[Tensor], Any]) -> Change:
    return lambda call: {name: change(call[name])}


INTEGERS = (torch.int32, torch.uint8, torch.float32, torch.bool)

BAD_CALLS: list[tuple[str, str, Change]] = [
    ("boxes", "NoneType", set_to(boxes=None)),
    ("boxes", "list", set_to(boxes=[[0.0, 0, 1, 1]])),
    ("boxes", r"\(3, 5\)", lambda call: {"boxes": torch.zeros(3, 5)}),
    ("boxes", r"\(4,\)", lambda call: {"boxes": torch.zeros(4)}),
    ("boxes", r"\(1, 3, 4\)", turned("boxes", lambda t: t[None])),
    ("boxes", r"\(0,\)", lambda call: {"boxes": torch.zeros(0)}),
    ("boxes", "int64", turned("boxes", lambda t: t.long())),
    ("boxes", "complex64", turned("boxes", lambda t: t.to(torch.complex64))),
    ("boxes", "bool", turned("boxes", lambda t: t.bool())),
    ("labels", "list", set_to(labels=[0, 1, 2])),
    ("labels", r"\(2,\)", turned("labels", lambda t: t[:2])),
    ("labels", r"\(3, 1\)", turned("labels", lambda t: t[:, None])),
    *(("labels", str(dtype), turned("labels", lambda t, dtype=dtype: t.to(dtype))) for dtype in INTEGERS),
    ("labels", "meta", turned("labels", lambda t: torch.empty(3, dtype=torch.int64, device="meta"))),
    ("offsets", "list", set_to(offsets=[0, 1, 3])),
    ("offsets", r"\(0,\)", turned("offsets", lambda t: t[:0])),
    ("offsets", r"\(\)", turned("offsets", lambda t: t[0])),
    ("offsets", r"\(3, 1\)", turned("offsets", lambda t: t[:, None])),
    *(("offsets", str(dtype), turned("offsets", lambda t, dtype=dtype: t.to(dtype))) for dtype in INTEGERS),
    ("offsets", "meta", turned("offsets", lambda t: torch.empty(3, dtype=torch.int64, device="meta"))),
    ("level_shapes", "int", set_to(level_shapes=6)),
    ("level_shapes", "NoneType", set_to(level_shapes=None)),
    ("level_shapes", "str", set_to(level_shapes="22")),
    ("level_shapes", "8", set_to(level_shapes=[8, 16])),
    ("level_shapes", r"\(2, 2, 2\)", set_to(level_shapes=[(2, 2, 2), (1, 2)])),
    ("level_shapes", r"2\.0", set_to(level_shapes=[(2.0, 2.0), (1, 2)])),
    ("level_shapes", "-2", set_to(level_shapes=[(2, -2), (1, 2)])),
    ("strides", "1", set_to(strides=[8])),
    ("strides", "3", set_to(strides=[8, 16, 32])),
    ("strides", "int", set_to(strides=8)),
    ("strides", "str", set_to(strides="88")),
    ("strides", "'8'", set_to(strides=["8", "16"])),
    *(("strides", str(bad), set_to(strides=[8, bad])) for bad in (0, -8, math.nan, math.inf)),
    ("rule", "str", set_to(rule="pseudo_iou")),
    ("rule", "NoneType", set_to(rule=None)),
    ("rule", "dict", set_to(rule={"metric": "pseudo_iou"})),
    ("rule.regress_ranges", "5", set_to(rule=AssignRule(regress_ranges=((0, 1),) * 5))),
    ("rule.regress_ranges", "0", set_to(rule=AssignRule(regress_ranges=()))),
    ("offset", "'0.5'", set_to(offset="0.5")),
    ("offset", "nan", set_to(offset=math.nan)),
    ("offset", "inf", set_to(offset=-math.inf)),
    ("ignore_offsets", "None", set_to(ignore_offsets=None)),
    ("ignore_boxes", "None", set_to(ignore_boxes=None)),
    ("ignore_boxes", "list", set_to(ignore_boxes=[])),
    ("ignore_boxes", r"\(2, 5\)", lambda call: {"ignore_boxes": torch.zeros(2, 5)}),
    ("ignore_boxes", "int64", turned("ignore_boxes", lambda t: t.long())),
    ("ignore_boxes", "meta", turned("ignore_boxes", lambda t: torch.empty(2, 4, device="meta"))),
    ("ignore_offsets", r"\(2,\)", turned("ignore_offsets", lambda t: t[:2])),
    ("ignore_offsets", r"\(3, 1\)", turned("ignore_offsets", lambda t: t[:, None])),
    ("ignore_offsets", "int32", turned("ignore_offsets", lambda t: t.int())),
    (
        "ignore_offsets",
        "meta",
        turned("ignore_offsets", lambda t: torch.empty(3, dtype=torch.int64, device="meta")),
    ),
    ("valid_sizes", "list", set_to(valid_sizes=[(8, 8), (8, 8)])),
    ("valid_sizes", r"\(1, 2\)", turned("valid_sizes", lambda t: t[:1])),
    ("valid_sizes", r"\(2, 1\)", turned("valid_sizes", lambda t: t[:, :1])),
    ("valid_sizes", r"\(2,\)", turned("valid_sizes", lambda t: t[0])),
    ("valid_sizes", "complex64", turned("valid_sizes", lambda t: t.to(torch.complex64))),
    ("valid_sizes", "meta", turned("valid_sizes", lambda t: torch.empty(2, 2, device="meta"))),
]


@pytest.mark.parametrize("function", [assign, reference.assign], ids=["op", "reference"])
@pytest.mark.parametrize("mode", [nullcontext, FakeTensorMode], ids=["real", "fake"])
@pytest.mark.parametrize(("argument", "got", "change"), BAD_CALLS, ids=[f"{a}-{g}" for a, g, _ in BAD_CALLS])
def test_bad_call(
    argument: str, got: str, change: Change, mode: Callable[[], Any], function: Callable[..., Any]
) -> None:
    with mode():
        call = good_call()
        call |= change(call)
        with pytest.raises((ValueError, TypeError), match=rf"^{argument}\b.*expected.*got.*{got}") as error:
            function(**call)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("mode", [nullcontext, FakeTensorMode], ids=["real", "fake"])
def test_the_call_that_the_bad_ones_vary_is_good(mode: Callable[[], Any]) -> None:
    with mode():
        out = assign(**good_call())
    assert out.matched.shape == (2, 6)


def good_out() -> dict[str, Tensor]:
    call = good_call()
    return reference.assign(**call)._asdict()


WRONG_DTYPES = {torch.int64: torch.int32, torch.float32: torch.float64}

BAD_FIELDS: list[tuple[str, str, Callable[[Tensor], Any]]] = [
    ("shape", r"got \(", lambda t: torch.zeros((*t.shape[:-1], t.shape[-1] + 1), dtype=t.dtype)),
    ("dtype", "got torch", lambda t: t.to(WRONG_DTYPES[t.dtype])),
    ("device", "got meta", lambda t: t.to("meta")),
    ("type", "got list", lambda t: t.tolist()),
]


@pytest.mark.parametrize("field", Assignment._fields)
@pytest.mark.parametrize(("got", "change"), [bad[1:] for bad in BAD_FIELDS], ids=[bad[0] for bad in BAD_FIELDS])
def test_bad_field_of_out(field: str, got: str, change: Callable[[Tensor], Any]) -> None:
    fields = good_out()
    before = {name: tensor.clone() for name, tensor in fields.items()}
    fields[field] = change(fields[field])
    with pytest.raises((ValueError, TypeError), match=rf"^out\.{field}\b.*expected.*{got}"):
        assign(**good_call(), out=Assignment(**fields))
    for name in before.keys() - {field}:
        assert torch.equal(fields[name], before[name]), f"{name} was written before the check"


@pytest.mark.parametrize("out", [(), {}, "out"], ids=repr)
def test_out_that_is_no_assignment(out: Any) -> None:
    with pytest.raises(TypeError, match=r"^out\b.*expected.*got"):
        assign(**good_call(), out=out)


def test_out_that_is_not_contiguous() -> None:
    fields = good_out()
    fields["ltrb"] = fields["ltrb"].transpose(1, 2).contiguous().transpose(1, 2)
    with pytest.raises(ValueError, match=r"^out\.ltrb\b.*expected.*contiguous"):
        assign(**good_call(), out=Assignment(**fields))


@pytest.mark.parametrize("function", [assign, reference.assign], ids=["op", "reference"])
@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("offsets", [0, 2, 1]),
        ("offsets", [0, 2, 4]),
        ("offsets", [-1, 2, 3]),
        ("ignore_offsets", [0, 2, 1]),
        ("ignore_offsets", [0, 1, 3]),
        ("labels", [0, -1, 2]),
    ],
    ids=str,
)
def test_validate_reads_the_values(argument: str, values: list[int], function: Callable[..., Any]) -> None:
    call = good_call() | {"offsets": torch.tensor([0, 1, 3]), "ignore_offsets": torch.tensor([0, 2, 2])}
    function(**call, validate=True)
    call[argument] = torch.tensor(values)
    function(**call)  # clamped
    with pytest.raises(ValueError, match=rf"^{argument}\b.*expected.*got"):
        function(**call, validate=True)


@pytest.mark.parametrize("function", [assign, reference.assign], ids=["op", "reference"])
def test_validate_accepts_rows_that_no_image_owns(function: Callable[..., Any]) -> None:
    """A buffer of fixed capacity, as a captured CUDA graph replays it."""
    function(**good_call() | {"offsets": torch.tensor([0, 1, 2])}, validate=True)
