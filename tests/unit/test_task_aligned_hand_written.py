"""`assign_top_k` with a `TaskAligned`: cases worked out by hand, for the op and the reference, and every error."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch

from pseudo_iou_ops import Atss, TaskAligned, TopKAssignment, assign_top_k, presets, reference_top_k
from pseudo_iou_ops import top_k_rules as rules

FUNCTIONS = pytest.mark.parametrize("function", [assign_top_k, reference_top_k.assign_top_k], ids=["op", "reference"])
Function = Callable[..., TopKAssignment]
BOX = [0.0, 0.0, 16.0, 16.0]


def call(
    function: Function, boxes: list[list[float]], predicted: list[list[float]], scores: list[float], **switches: Any
) -> TopKAssignment:
    """Points (4, 4), (12, 4), (20, 4), ... in a row; all boxes are of class 0, the only one."""
    count = len(boxes)
    packed = torch.tensor(boxes).reshape(-1, 4), torch.zeros(count, dtype=torch.int64), torch.tensor([0, count])
    predictions = {"pred_boxes": torch.tensor([predicted]), "scores": torch.tensor([scores])[..., None]}
    rule = TaskAligned(**switches)
    return function(*packed, [(1, len(scores))], [8], rule, **predictions, score_kind="probabilities")


@FUNCTIONS
def test_scores_are_alignments_scaled_to_the_best_overlap(function: Function) -> None:
    """IoU 1 and 1/2, p 1/2 and 1: with beta 1 both align by 1/2, so that both score 1/2 / 1/2 * 1."""
    result = call(function, [BOX], [BOX, [0.0, 0.0, 8.0, 16.0]], [0.5, 1.0], beta=1)
    assert result.matched.tolist() == [[0, 0]]
    assert result.iou.tolist() == [[1.0, 0.5]]
    assert result.score.tolist() == [[1.0, 1.0]]
    assert result.ltrb[0].tolist() == [[4.0, 4.0, 12.0, 12.0], [12.0, 4.0, 4.0, 12.0]]
    assert (result.num_pos.tolist(), result.pos_per_box.tolist()) == ([2], [2])
    # With beta 2 they align by 1/2 and 1/4.
    assert call(function, [BOX], [BOX, [0.0, 0.0, 8.0, 16.0]], [0.5, 1.0], beta=2).score.tolist() == [[1.0, 0.5]]


@FUNCTIONS
def test_the_best_k_are_chosen_and_the_lower_point_wins_a_tie(function: Function) -> None:
    for scores, chosen in (([0.5, 0.75], [-1, 0]), ([0.75, 0.5], [0, -1]), ([0.5, 0.5], [0, -1])):
        assert call(function, [BOX], [BOX, BOX], scores, k=1).matched.tolist() == [chosen]


@FUNCTIONS
def test_an_alignment_of_zero_is_never_chosen(function: Function) -> None:
    far, none = [40.0, 0.0, 56.0, 16.0], [8.0, 0.0, 8.0, 16.0]
    for predicted, score in ((far, 1.0), (none, 1.0), (BOX, 0.0), (BOX, math.nan), ([math.nan] * 4, 1.0)):
        result = call(function, [BOX], [predicted, BOX], [score, 1.0])
        assert result.matched.tolist() == [[-1, 0]]


@FUNCTIONS
def test_probabilities_are_clamped(function: Function) -> None:
    result = call(function, [BOX], [BOX, BOX], [7.0, 1.0], k=1)
    assert result.matched.tolist() == [[0, -1]]  # both are 1


@FUNCTIONS
def test_points_outside_take_places_only_among_all_candidates(function: Function) -> None:
    """The third point lies outside the box and predicts it best."""
    predicted, scores = [BOX, BOX, BOX], [0.25, 0.5, 1.0]
    assert call(function, [BOX], predicted, scores, k=2).matched.tolist() == [[0, 0, -1]]
    assert call(function, [BOX], predicted, scores, k=2, candidates="all").matched.tolist() == [[-1, 0, -1]]


@FUNCTIONS
def test_margin_and_grown_sides(function: Function) -> None:
    """Point 4 lies 4 pixels inside; grown to 24 about its center 8, the box reaches from -4 to 20, and holds 4, 12."""
    assert call(function, [BOX], [BOX] * 3, [1.0] * 3, inside_margin=4.0).matched.tolist() == [[-1, -1, -1]]
    assert call(function, [BOX], [BOX] * 3, [1.0] * 3, inside_margin=3.5).matched.tolist() == [[0, 0, -1]]
    small = [7.0, 0.0, 9.0, 8.0]
    assert call(function, [small], [small] * 3, [1.0] * 3).matched.tolist() == [[-1, -1, -1]]
    result = call(function, [small], [small] * 3, [1.0] * 3, min_side=16.0)
    assert result.matched.tolist() == [[0, 0, -1]]
    assert result.ltrb[0, 0].tolist() == [-3.0, 4.0, 5.0, 4.0]  # of the box itself


@FUNCTIONS
def test_which_boxes_compete(function: Function) -> None:
    """The prediction at 4 overlaps the boxes by 0.3, 0.35, 0.65 and 1. The first two choose it, the third holds the
    point and chooses the other, the last does not even hold it."""
    boxes = [[0.0, 0.0, right, 16.0] for right in (10.0, 11.0, 17.0)] + [[4.0, 0.0, 20.0, 16.0]]
    predicted = [boxes[3], boxes[2]]
    for among, winner in (("choosers", 1), ("holders", 2), ("all", 3)):
        result = call(function, boxes, predicted, [0.5, 0.5], k=1, among=among)
        assert result.matched.tolist() == [[winner, 2]]


@FUNCTIONS
def test_a_box_keeps_its_best(function: Function) -> None:
    """What it does not keep is background, and counts neither in the largest overlap nor in the counts."""
    result = call(function, [BOX], [[0.0, 0.0, 8.0, 16.0], BOX], [1.0, 0.25], beta=1, keep=1)
    assert result.matched.tolist() == [[0, -1]]
    assert result.labels.tolist() == [[0, -1]]
    assert result.score.tolist() == [[0.5, 0.0]]
    assert result.pos_per_box.tolist() == [1]


@FUNCTIONS
def test_complete_iou(function: Function) -> None:
    """The prediction is the left half: IoU 1/2, centers 4 apart, enclosed by 16 x 16: 16 / 512; atan(1) - atan(1/2)."""
    result = call(function, [BOX], [[0.0, 0.0, 8.0, 16.0]], [1.0], iou="ciou")
    v = 4 / math.pi**2 * (math.atan(1) - math.atan(0.5)) ** 2
    assert result.iou.item() == pytest.approx(0.5 - 16 / 512 - v * v / (v - 0.5 + 1), abs=1e-6)


@FUNCTIONS
def test_distances_from_the_point_and_logits(function: Function) -> None:
    packed = torch.tensor([BOX]), torch.tensor([1]), torch.tensor([0, 1])
    maps = torch.tensor([4.0, 4.0, 12.0, 12.0]).view(1, 4, 1, 1), torch.tensor([5.0, 0.0]).view(1, 2, 1, 1)
    result = function(
        *packed, [(1, 1)], [8], TaskAligned(eps=1.0), pred_boxes=[maps[0]], scores=[maps[1]], box_format="ltrb"
    )
    assert result.iou.tolist() == [[1.0]]
    assert result.score.tolist() == [[pytest.approx(0.5 / 1.5)]]


@FUNCTIONS
def test_a_class_that_the_head_does_not_have_scores_nothing(function: Function) -> None:
    for label in (1, -1, 2**40):
        packed = torch.tensor([BOX]), torch.tensor([label]), torch.tensor([0, 1])
        predictions = {"pred_boxes": torch.tensor([[BOX]]), "scores": torch.ones(1, 1, 1)}
        assert function(*packed, [(1, 1)], [8], TaskAligned(), **predictions).num_pos.tolist() == [0]


BAD_SWITCHES: list[tuple[str, Any]] = [
    *(("k", value) for value in (0, 33, 9.0, True, None)),
    *(("alpha", value) for value in (-0.5, math.nan, math.inf, "1")),
    *(("beta", value) for value in (-1, 9, 6.0, None)),
    *(("iou", value) for value in ("giou", None)),
    *(("candidates", value) for value in ("outside", None)),
    *(("inside_margin", value) for value in (-0.01, math.nan)),
    *(("min_side", value) for value in (-1.0, math.inf)),
    *(("among", value) for value in ("some", None)),
    *(("keep", value) for value in (0, 1.0, True)),
    *(("eps", value) for value in (0.0, -1e-9, math.nan)),
    *(("offset", value) for value in (math.nan, "0.5")),
]


@pytest.mark.parametrize(("argument", "value"), BAD_SWITCHES, ids=str)
def test_bad_value_is_refused_by_name(argument: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"^{argument}\b.*expected.*got") as error:
        TaskAligned(**{argument: value})
    assert "\n" not in str(error.value)


def test_the_codes_are_those_of_the_types() -> None:
    assert get_args(rules.TaskAlignedAmong) == rules.TASK_ALIGNED_AMONG
    assert get_args(rules.Overlap) == rules.OVERLAPS
    assert get_args(rules.Candidates) == rules.CANDIDATES


def test_presets_hold_the_published_values() -> None:
    tood = TaskAligned(13, 1.0, 6, candidates="all", inside_margin=0.01, eps=1e-7, offset=0.0)
    assert presets.tood == tood
    assert presets.pp_yoloe == TaskAligned(13, 1.0, 6, among="all")
    assert presets.yolov8 == TaskAligned(10, 0.5, 6, "ciou", min_side=16.0, among="holders")
    assert dataclasses.replace(presets.yolov8, keep=1).keep == 1


@FUNCTIONS
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"pred_boxes": None}, ValueError, "pred_boxes: expected the predictions of a head"),
        ({"scores": None}, ValueError, "scores: expected the predictions of a head"),
        ({"pred_boxes": torch.zeros(1, 2, 5)}, ValueError, "pred_boxes: expected 1 images and 4 channels"),
        ({"pred_boxes": torch.zeros(1, 3, 4)}, ValueError, r"pred_boxes: expected \[2\] points a level"),
        (
            {"pred_boxes": torch.zeros(1, 4, 2, 1)},
            ValueError,
            r"pred_boxes: expected a map of \(H, W\) = \(1, 2\), that of its level, got \(2, 1\)",
        ),
        ({"scores": torch.zeros(2, 2, 1)}, ValueError, "scores: expected 1 images, as the offsets have, got 2"),
        ({"scores": torch.zeros(1, 2, 1, dtype=torch.int64)}, TypeError, "scores: expected a floating dtype"),
        ({"scores": torch.zeros(2)}, ValueError, "scores: expected shapes"),
        ({"box_format": "cxcywh"}, ValueError, "box_format: expected"),
        ({"score_kind": "scores"}, ValueError, "score_kind: expected"),
        ({"rule": Atss()}, ValueError, "pred_boxes: expected None, because an Atss reads none, got Tensor"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_predictions_are_refused_by_name(
    function: Function, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments = {
        "boxes": torch.tensor([BOX]), "labels": torch.tensor([0]), "offsets": torch.tensor([0, 1]),
        "level_shapes": [(1, 2)], "strides": [8], "rule": TaskAligned(),
        "pred_boxes": torch.zeros(1, 2, 4), "scores": torch.zeros(1, 2, 1),
    }  # fmt: skip
    function(**arguments)
    with pytest.raises(error, match=message):
        function(**{**arguments, **change})
