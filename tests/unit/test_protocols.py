"""What assigners and their results have in common: a result with the five fields alone serves every converter."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import pytest
import torch
from samples import LEVEL_SHAPES, STRIDES, random_boxes
from torch import Tensor

from pseudo_iou_ops import (
    Assigner,
    AssignmentLike,
    PointAssigner,
    PointPredictions,
    TopKAssigner,
    TopKAssignment,
    assign,
    assign_top_k,
    level_points,
    make_assigner,
    presets,
    to_class_labels,
    to_mmdetection,
    to_torchvision,
    to_yolo,
)

GENERATOR = torch.Generator().manual_seed(5)
BOXES = random_boxes(9, (64, 96), GENERATOR)
LABELS = torch.randint(80, (9,), generator=GENERATOR)
OFFSETS = torch.tensor([0, 4, 9])


class FiveFields(NamedTuple):
    """What somebody else's assigner may give."""

    matched: Tensor
    labels: Tensor
    ltrb: Tensor
    num_pos: Tensor
    pos_per_box: Tensor


def five_fields(result: AssignmentLike) -> FiveFields:
    return FiveFields(result.matched, result.labels, result.ltrb, result.num_pos, result.pos_per_box)


def test_the_converters_read_the_five_fields_alone() -> None:
    result = assign(BOXES, LABELS, OFFSETS, LEVEL_SHAPES, STRIDES, presets.paper)
    other = five_fields(result)
    assert int(result.num_pos.sum()) > 0
    assert isinstance(other, AssignmentLike)
    assert torch.equal(to_torchvision(other, OFFSETS), to_torchvision(result, OFFSETS))
    assert torch.equal(to_class_labels(other, 80), to_class_labels(result, 80))
    assert torch.equal(to_mmdetection(other, OFFSETS), to_mmdetection(result, OFFSETS))
    for one, two in zip(to_yolo(other, BOXES, OFFSETS, 80), to_yolo(result, BOXES, OFFSETS, 80), strict=True):
        assert torch.equal(one, two)


def test_a_result_that_lacks_a_field_is_none() -> None:
    assert not isinstance(torch.zeros(1), AssignmentLike)
    assert not isinstance(torch.nn.Linear(1, 1), Assigner)


def test_a_point_assigner_takes_predictions_and_does_not_read_them() -> None:
    assigner: Assigner = PointAssigner(STRIDES, presets.paper)
    assert isinstance(assigner, Assigner)
    assert not assigner.needs_predictions
    nothing = PointPredictions(boxes=torch.full((2, 1, 4), torch.nan), scores=torch.full((2, 1, 80), torch.nan))
    without = assigner(LEVEL_SHAPES, BOXES, LABELS, OFFSETS)
    given = assigner(LEVEL_SHAPES, BOXES, LABELS, OFFSETS, predictions=nothing)
    assert all(torch.equal(one, two) for one, two in zip(five_fields(given), five_fields(without), strict=True))


@pytest.mark.parametrize("kind", [PointAssigner, TopKAssigner])
def test_an_assigner_has_the_arguments_of_the_protocol(kind: type) -> None:
    expected = inspect.signature(Assigner.__call__).parameters
    given = inspect.signature(kind.forward).parameters  # type: ignore[attr-defined]
    assert [(p.name, p.kind, p.default) for p in given.values()] == [
        (p.name, p.kind, p.default) for p in expected.values()
    ]


def test_a_top_k_assigner_is_the_op_with_its_settings() -> None:
    assigner: Assigner = make_assigner(STRIDES, presets.atss)
    assert isinstance(assigner, TopKAssigner)
    assert (assigner.offset, assigner.needs_predictions) == (0.0, False)
    assert not assigner.state_dict()
    assert "anchor_iou" in repr(assigner)
    expected = assign_top_k(BOXES, LABELS, OFFSETS, LEVEL_SHAPES, STRIDES, presets.atss)
    packed = assigner(LEVEL_SHAPES, BOXES, LABELS, OFFSETS)
    lists = assigner(LEVEL_SHAPES, [BOXES[:4], BOXES[4:]], [LABELS[:4], LABELS[4:]])
    assert int(expected.num_pos.sum()) > 0
    for result in (packed, lists):
        assert isinstance(result, TopKAssignment)
        assert all(torch.equal(one, two) for one, two in zip(result, expected, strict=True))
    moved = make_assigner(STRIDES, presets.atss, offset=0.5)(LEVEL_SHAPES, BOXES, LABELS, OFFSETS)
    assert not torch.equal(moved.matched, expected.matched)


def some_predictions(seed: int, box_format: str, score_kind: str) -> PointPredictions:
    """Maps of a head with 80 classes, by the level, of the two images."""
    generator = torch.Generator().manual_seed(seed)
    scores = [torch.randn(2, 80, *shape, generator=generator) for shape in LEVEL_SHAPES]
    ltrb = [torch.rand(2, 4, *shape, generator=generator) * 40 for shape in LEVEL_SHAPES]
    if score_kind == "probabilities":
        scores = [level.sigmoid() for level in scores]
    if box_format == "ltrb":
        return PointPredictions(ltrb, scores)
    points = level_points(LEVEL_SHAPES, STRIDES)
    flat = torch.cat([level.flatten(2) for level in ltrb], dim=2).transpose(1, 2)
    return PointPredictions(torch.cat((points - flat[..., :2], points + flat[..., 2:]), dim=-1), scores)


@pytest.mark.parametrize("score_kind", ["logits", "probabilities"])
@pytest.mark.parametrize("box_format", ["xyxy", "ltrb"])
def test_predictions_reach_the_op_in_the_encodings_of_the_assigner(box_format: Any, score_kind: Any) -> None:
    assigner = make_assigner(STRIDES, presets.pp_yoloe, None, box_format, score_kind)
    assert assigner.needs_predictions
    assert f"box_format='{box_format}', score_kind='{score_kind}'" in repr(assigner)
    predictions = some_predictions(3, box_format, score_kind)
    for levels in (predictions.boxes, predictions.scores):
        for level in levels:
            level.requires_grad_()
    result = assigner(LEVEL_SHAPES, BOXES, LABELS, OFFSETS, predictions=predictions)
    expected = assign_top_k(
        BOXES,
        LABELS,
        OFFSETS,
        LEVEL_SHAPES,
        STRIDES,
        presets.pp_yoloe,
        pred_boxes=predictions.boxes,
        scores=predictions.scores,
        box_format=box_format,
        score_kind=score_kind,
    )
    assert isinstance(result, TopKAssignment)
    assert int(result.num_pos.sum()) > 9
    assert all(torch.equal(one, two) for one, two in zip(result, expected, strict=True))
    assert not result.score.requires_grad


@pytest.mark.parametrize("rule", [presets.paper, presets.atss, presets.tood])
@pytest.mark.parametrize("argument", ["box_format", "score_kind"])
def test_an_encoding_that_is_none_is_refused_under_any_rule(rule: Any, argument: str) -> None:
    with pytest.raises(ValueError, match=rf"^{argument}: expected .* got 'none'$"):
        make_assigner(STRIDES, rule, **{argument: "none"})


def test_probabilities_are_refused_where_logits_are_read() -> None:
    with pytest.raises(ValueError, match=r"^score_kind: expected 'logits', which a SoftLabel reads"):
        make_assigner(STRIDES, presets.rtmdet, score_kind="probabilities")


def test_a_rule_that_reads_predictions_has_to_get_those_it_reads() -> None:
    assigner = make_assigner(STRIDES, presets.tood, box_format="ltrb")
    with pytest.raises(
        ValueError, match=r"^predictions: expected PointPredictions, which a TaskAligned reads, got None$"
    ):
        assigner(LEVEL_SHAPES, BOXES, LABELS, OFFSETS)
    with pytest.raises(TypeError, match=r"^predictions: expected PointPredictions, got tuple$"):
        assigner(LEVEL_SHAPES, BOXES, LABELS, OFFSETS, predictions=tuple(some_predictions(3, "ltrb", "logits")))  # type: ignore[arg-type]
    objectness = [torch.zeros(2, 1, *shape) for shape in LEVEL_SHAPES]
    with pytest.raises(ValueError, match=r"^objectness: expected None, because a TaskAligned reads none"):
        assigner(
            LEVEL_SHAPES,
            BOXES,
            LABELS,
            OFFSETS,
            predictions=some_predictions(3, "ltrb", "logits")._replace(objectness=objectness),
        )


def test_objectness_reaches_a_rule_that_reads_it() -> None:
    assigner = make_assigner(STRIDES, presets.yolox, box_format="ltrb")
    predictions = some_predictions(3, "ltrb", "logits")
    objectness = [torch.full((2, 1, *shape), -4.0) for shape in LEVEL_SHAPES]
    objectness[0][0] = 4.0
    with_objectness = predictions._replace(objectness=objectness)
    result = assigner(LEVEL_SHAPES, BOXES, LABELS, OFFSETS, predictions=with_objectness)
    expected = assign_top_k(
        BOXES,
        LABELS,
        OFFSETS,
        LEVEL_SHAPES,
        STRIDES,
        presets.yolox,
        pred_boxes=predictions.boxes,
        scores=predictions.scores,
        objectness=objectness,
        box_format="ltrb",
    )
    assert all(torch.equal(one, two) for one, two in zip(result, expected, strict=True))
    without = assigner(LEVEL_SHAPES, BOXES, LABELS, OFFSETS, predictions=predictions)
    assert not torch.equal(result.matched, without.matched)


def test_an_atss_takes_predictions_and_does_not_read_them() -> None:
    assigner = make_assigner(STRIDES, presets.pp_yoloe_atss, box_format="ltrb")
    assert not assigner.needs_predictions
    without = assigner(LEVEL_SHAPES, BOXES, LABELS, OFFSETS)
    given = assigner(LEVEL_SHAPES, BOXES, LABELS, OFFSETS, predictions=some_predictions(3, "ltrb", "logits"))
    assert all(torch.equal(one, two) for one, two in zip(five_fields(given), five_fields(without), strict=True))


def test_the_family_of_a_rule_decides_the_class_of_its_assigner() -> None:
    assert isinstance(make_assigner(STRIDES, presets.fcos), PointAssigner)
    assert isinstance(make_assigner(STRIDES, presets.pp_yoloe_atss), TopKAssigner)
    assert isinstance(make_assigner(STRIDES, presets.tood), TopKAssigner)


@pytest.mark.parametrize(
    ("argument", "arguments"),
    [
        ("strides", {"strides": [0], "rule": presets.atss}),
        ("rule", {"strides": [8], "rule": presets.paper}),
        ("offset", {"strides": [8], "rule": presets.atss, "offset": "0"}),
        ("box_format", {"strides": [8], "rule": presets.tood, "box_format": "cxcywh"}),
        ("score_kind", {"strides": [8], "rule": presets.tood, "score_kind": "sigmoid"}),
    ],
)
def test_a_bad_top_k_assigner_is_refused_when_made(argument: str, arguments: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"^{argument}: expected .*, got "):
        TopKAssigner(**arguments)
