"""`Atss` and `assign_top_k` refuse by name what they can not mean."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from samples import training_batch

from pseudo_iou_ops import AssignRule, Atss, assign, assign_top_k, presets, reference_top_k
from pseudo_iou_ops.top_k_rules import AMONG, ATSS_METRICS, Among, AtssMetric

SAMPLE = replace(training_batch((64, 96), (5, 3)), rule=Atss())

BAD_SWITCHES: list[tuple[str, Any]] = [
    *(("k", value) for value in (0, -1, 33, 9.0, True, "9", None)),
    *(("metric", value) for value in ("iou", None, 0, ["product"])),
    *(("anchor_scale", value) for value in (0.0, -8.0, math.nan, math.inf, 10**400, "8", None)),
    *(("inclusive", value) for value in (1, "yes", None)),
    *(("inside_margin", value) for value in (-0.01, math.nan, math.inf, "0", None)),
    *(("among", value) for value in ("holders", True, None)),
    *(("offset", value) for value in (math.nan, math.inf, "0.5", None)),
]


@pytest.mark.parametrize(("argument", "value"), BAD_SWITCHES, ids=str)
def test_bad_value_is_refused_by_name(argument: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"^{argument}\b.*expected.*got") as error:
        Atss(**{argument: value})
    assert "\n" not in str(error.value)


def test_values_inside_their_domains_are_kept() -> None:
    rule = Atss(k=32, metric="product", anchor_scale=5, inclusive=False, inside_margin=0.01, among="all", offset=-1)
    assert dataclasses.astuple(rule) == (32, "product", 5.0, False, 0.01, "all", -1.0)


def test_the_codes_are_those_of_the_types() -> None:
    assert get_args(AtssMetric) == ATSS_METRICS
    assert get_args(Among) == AMONG


def test_presets_hold_the_published_values() -> None:
    """Zhang et al. 2020: k = 9, anchors of 8 strides, equality passes; PaddleDetection: 5 strides, above it."""
    assert presets.atss == Atss(k=9, anchor_scale=8, inclusive=True, inside_margin=0.01, offset=0.0)
    assert presets.pp_yoloe_atss == Atss(k=9, anchor_scale=5, inclusive=False, among="all", offset=0.5)
    assert presets.pseudo_iou_atss == Atss(metric="product")
    with pytest.raises(dataclasses.FrozenInstanceError):
        presets.atss.k = 3  # type: ignore[misc]


@pytest.mark.parametrize("function", [assign_top_k, reference_top_k.assign_top_k], ids=["op", "reference"])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"rule": AssignRule()}, TypeError, "rule: expected an Atss, TaskAligned, SimOta or SoftLabel, got AssignRule"),
        ({"rule": "atss"}, TypeError, "rule: expected an Atss, TaskAligned, SimOta or SoftLabel, got str"),
        ({"boxes": torch.zeros(8, 5)}, ValueError, r"boxes: expected shape \(M, 4\), got \(8, 5\)"),
        ({"labels": torch.zeros(7, dtype=torch.int64)}, ValueError, "labels: expected"),
        ({"offsets": torch.zeros(3)}, TypeError, "offsets: expected"),
        ({"strides": (8.0,)}, ValueError, "strides: expected"),
        ({"level_shapes": ((-1, 2),) * 5}, ValueError, "level_shapes: expected"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_call_is_refused_by_name(
    function: Callable[..., Any], change: dict[str, Any], error: type[Exception], message: str
) -> None:
    names = ("boxes", "labels", "offsets", "level_shapes", "strides", "rule")
    arguments = {**dict(zip(names, SAMPLE.args(), strict=True)), **change}
    with pytest.raises(error, match=message):
        function(*arguments.values())


@pytest.mark.parametrize("function", [assign_top_k, reference_top_k.assign_top_k], ids=["op", "reference"])
def test_a_bad_out_is_refused_by_name(function: Callable[..., Any]) -> None:
    out = assign_top_k(*SAMPLE.args())
    with pytest.raises(TypeError, match="out: expected a TopKAssignment, got Assignment"):
        function(*SAMPLE.args(), out=assign(*SAMPLE.args()[:5]))
    with pytest.raises(ValueError, match=r"out.iou: expected shape \(2, 129\), got \(2, 128\)"):
        function(*SAMPLE.args(), out=out._replace(iou=out.iou[:, 1:]))
    with pytest.raises(TypeError, match=r"out\.score: expected dtype torch\.float32, got torch\.float64"):
        function(*SAMPLE.args(), out=out._replace(score=out.score.double()))


def test_validate_looks_at_values() -> None:
    offsets = torch.tensor([0, 9, 8])
    assign_top_k(*SAMPLE.args()[:2], offsets, *SAMPLE.args()[3:])
    with pytest.raises(ValueError, match="offsets: expected"):
        assign_top_k(*SAMPLE.args()[:2], offsets, *SAMPLE.args()[3:], validate=True)
