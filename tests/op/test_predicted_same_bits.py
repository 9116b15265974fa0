"""The rules that read predictions: the compiled ops on a CPU against the reference, the same bits for every input."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import assert_same_bits
from predicted_families import EVERY_FAMILY, SIM_OTA, SOFT_LABEL, TASK_ALIGNED, Family, of_every_family
from samples import op_call, training_batch
from task_aligned_samples import DTYPES, LAYOUTS, PredictedSample

from pseudo_iou_ops import TopKAssignment, assign_top_k, reference_top_k


def check(sample: PredictedSample) -> int:
    """Returns the number of positives."""
    expected = reference_top_k.assign_top_k(*sample.args(), **sample.kwargs())
    assert_same_bits(assign_top_k(*sample.args(), **sample.kwargs()), expected)
    return int(expected.num_pos.sum())


@pytest.mark.parametrize(("family", "sample"), of_every_family(lambda family: family.inputs()))
def test_samples(family: Family, sample: PredictedSample) -> None:
    check(sample)


@EVERY_FAMILY
def test_every_combination_of_switches(family: Family) -> None:
    batch = training_batch((64, 96), (9, 0, 14))
    samples = [family.with_predictions(batch, rule, seed) for seed, rule in enumerate(family.every())]
    assert sum(map(check, samples)) > 10 * len(samples)


@EVERY_FAMILY
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_layouts_and_dtypes(family: Family, layout: str, dtype: torch.dtype) -> None:
    """With more classes than a run of 256, and objectness as the other predictions lie."""
    batch, rule = training_batch((64, 96), (9, 4)), family.presets[-1]
    extra = {"objectness": layout} if family is SIM_OTA else {}
    for box_format, score_kind in zip(("xyxy", "ltrb"), family.score_kinds, strict=True):
        arguments = (rule, 3, layout, dtype, box_format, score_kind)
        check(family.with_predictions(batch, *arguments, classes=300, **extra))


@EVERY_FAMILY
@given(data=st.data())
def test_random_calls(family: Family, data: st.DataObject) -> None:
    check(data.draw(family.calls()))


@pytest.mark.parametrize(("family", "rule"), of_every_family(lambda family: family.presets))
def test_a_training_batch(family: Family, rule: Any) -> None:
    """More points than a run of predictions holds, and crowds of boxes smaller than the finest stride."""
    check(family.with_predictions(training_batch((640, 640), (7, 300)), rule, classes=80))


@pytest.mark.parametrize(("family", "rule"), of_every_family(lambda family: family.rules))
def test_number_of_threads(family: Family, rule: Any) -> None:
    sample = family.with_predictions(training_batch((256, 320), (90, 0, 7)), rule, classes=11)
    torch.set_num_threads(1)
    alone = assign_top_k(*sample.args(), **sample.kwargs())
    for threads in (2, 3, 8):
        torch.set_num_threads(threads)
        for _ in range(3):
            assert_same_bits(assign_top_k(*sample.args(), **sample.kwargs()), alone)


@pytest.mark.parametrize(("family", "rule"), of_every_family(lambda family: family.rules))
def test_an_image_alone_and_in_a_batch(family: Family, rule: Any) -> None:
    sample = family.with_predictions(training_batch((256, 320), (40, 0, 7)), rule, classes=11)
    whole = assign_top_k(*sample.args(), **sample.kwargs())
    for image, (begin, end) in enumerate(pairwise(sample.offsets.tolist())):
        one = slice(image, image + 1)
        predictions = {
            name: value[one] if isinstance(value, torch.Tensor) else value for name, value in sample.kwargs().items()
        }
        alone = assign_top_k(
            sample.boxes[begin:end], sample.labels[begin:end], torch.tensor([0, end - begin]), *sample.args()[3:],
            **predictions,
        )  # fmt: skip
        matched = torch.where(alone.matched >= 0, alone.matched + begin, alone.matched)
        assert_same_bits(
            alone._replace(matched=matched), (*(field[one] for field in whole[:6]), whole.pos_per_box[begin:end])
        )


@pytest.mark.parametrize("overload", ["default", "out"])
@pytest.mark.parametrize(("family", "sample"), of_every_family(lambda family: family.registration_inputs()))
def test_opcheck(family: Family, sample: PredictedSample, overload: str) -> None:
    op, args = op_call(sample, overload)
    assert op is getattr(getattr(torch.ops.pseudo_iou_ops, family.op), overload)
    torch.library.opcheck(op, args)


@EVERY_FAMILY
def test_every_element_of_out_is_written(family: Family) -> None:
    for sample in family.registration_inputs():
        expected = reference_top_k.assign_top_k(*sample.args(), **sample.kwargs())
        stale = [torch.full_like(field, torch.nan if field.is_floating_point() else -77) for field in expected]
        out = TopKAssignment(*stale)
        assert assign_top_k(*sample.args(), **sample.kwargs(), out=out) is out
        assert_same_bits(out, expected)


def one_level_changed(change: Any) -> Any:
    return lambda levels: [change(levels[0])]


BAD_PREDICTIONS: list[tuple[str, Any]] = [
    ("pred_boxes", one_level_changed(lambda level: level[:, :-1].contiguous())),
    ("pred_boxes", one_level_changed(lambda level: level[:, :, :3].contiguous())),
    ("pred_boxes", lambda levels: []),
    ("pred_boxes", one_level_changed(torch.Tensor.long)),
    ("scores", one_level_changed(lambda level: level[:1])),
    ("scores", one_level_changed(torch.Tensor.int)),
    ("scores", lambda levels: [levels[0][:, :60].contiguous(), levels[0][:, 60:].contiguous()]),
]
BAD_OBJECTNESS: list[tuple[str, Any]] = [
    ("objectness", one_level_changed(lambda level: level[:1])),
    ("objectness", one_level_changed(lambda level: level[:, :-1].contiguous())),
    ("objectness", one_level_changed(lambda level: level.expand(-1, -1, 2).contiguous())),
    ("objectness", one_level_changed(torch.Tensor.int)),
]
BAD_SWITCHES: list[tuple[Family, dict[str, tuple[float, ...]]]] = [
    (TASK_ALIGNED, {"k": (33,), "beta": (9,), "alpha": (-1.0,), "among": (3,), "keep": (-1,)}),
    (SIM_OTA, {"top_ious": (33, 0), "iou_weight": (-1.0,), "cls_weight": (float("nan"),)}),
    (SOFT_LABEL, {"top_ious": (33, 0), "radius": (-1.0,), "iou_weight": (float("nan"),)}),
]


@pytest.mark.parametrize(
    ("family", "argument", "change"),
    [
        *((family, *bad) for family in (TASK_ALIGNED, SIM_OTA, SOFT_LABEL) for bad in BAD_PREDICTIONS),
        *((SIM_OTA, *bad) for bad in BAD_OBJECTNESS),
        *(
            (family, name, lambda _, value=value: value)
            for family, switches in BAD_SWITCHES
            for name, values in switches.items()
            for value in values
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "op", ""),
)
def test_a_bad_direct_call_is_refused(family: Family, argument: str, change: Any) -> None:
    sample = family.with_predictions(training_batch((64, 96), (5, 3)), family.rules[0])
    op, args = op_call(sample)
    names = [name.name for name in op._schema.arguments]
    values = dict(zip(names, args, strict=True))
    op(*values.values())
    values[argument] = change(values[argument])
    with pytest.raises(RuntimeError, match=rf"\b{argument}\b"):
        op(*values.values())
