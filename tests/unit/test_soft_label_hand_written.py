"""`assign_top_k` with a `SoftLabel`: cases worked out by hand, for the op and the reference, and every error."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from pseudo_iou_ops import SoftLabel, TopKAssignment, assign_top_k, presets, reference_top_k

FUNCTIONS = pytest.mark.parametrize("function", [assign_top_k, reference_top_k.assign_top_k], ids=["op", "reference"])
Function = Callable[..., TopKAssignment]
BOX = [0.0, 0.0, 24.0, 8.0]  # holds the points 4, 12 and 20; its center is 12
HALF = [0.0, 0.0, 12.0, 8.0]
FAR = [100.0, 100.0, 108.0, 108.0]


def call(
    function: Function,
    boxes: list[list[float]],
    predicted: list[list[float]],
    logits: list[list[float]],
    valid_sizes: list[list[float]] | None = None,
    **switches: Any,
) -> TopKAssignment:
    """Points (4, 4), (12, 4), (20, 4), ... in a row; all boxes are of class 0."""
    count = len(boxes)
    packed = torch.tensor(boxes).reshape(-1, 4), torch.zeros(count, dtype=torch.int64), torch.tensor([0, count])
    return function(
        *packed, [(1, len(logits))], [8], SoftLabel(**switches),
        pred_boxes=torch.tensor([predicted]), scores=torch.tensor([logits]),
        valid_sizes=valid_sizes if valid_sizes is None else torch.tensor(valid_sizes),
    )  # fmt: skip


@FUNCTIONS
def test_a_box_takes_as_many_points_as_its_overlaps_add_up_to(function: Function) -> None:
    result = call(function, [BOX], [HALF, BOX, BOX], [[0.0]] * 3)  # 2.5
    assert result.matched.tolist() == [[-1, 0, 0]]
    assert result.iou.tolist() == result.score.tolist() == [[0.0, 1.0, 1.0]]
    assert result.ltrb[0, 1].tolist() == [12.0, 4.0, 12.0, 4.0]
    assert (result.num_pos.tolist(), result.pos_per_box.tolist()) == ([2], [2])
    assert call(function, [BOX], [FAR, FAR, FAR], [[0.0]] * 3).num_pos.tolist() == [1]
    assert call(function, [BOX], [BOX] * 3, [[0.0]] * 3, top_ious=1).matched.tolist() == [[-1, 0, -1]]


@FUNCTIONS
def test_the_nearest_point_is_cheapest_and_the_lower_of_two_as_near(function: Function) -> None:
    assert call(function, [BOX], [HALF] * 3, [[0.0]] * 3).matched.tolist() == [[-1, 0, -1]]  # 1.5
    assert call(function, [BOX], [BOX, FAR, BOX], [[0.0]] * 3).matched.tolist() == [[0, -1, 0]]
    assert call(function, [BOX], [BOX, FAR, BOX], [[0.0]] * 3, top_ious=1).matched.tolist() == [[0, -1, -1]]


@FUNCTIONS
def test_nearness_is_weighed_by_the_radius(function: Function) -> None:
    """At 8 pixels the prior is 10 ** (1 - radius) and at the center a tenth of it; -3 log(1/2) = 2.08 for HALF there,
    and the classes cost less than 0.2. With radius 0 nearness counts 9, with radius 1 it counts 0.9."""
    for radius, matched in ((0.0, [-1, 0, -1]), (1.0, [0, -1, -1])):
        result = call(function, [BOX], [BOX, HALF, FAR], [[0.0]] * 3, radius=radius, top_ious=1)
        assert result.matched.tolist() == [matched]


@FUNCTIONS
def test_the_score_should_be_the_overlap(function: Function) -> None:
    """With the overlap 1/2 at both a score of 1/2 costs nothing of the class; surer or less sure costs."""
    for other in (8.0, -8.0):
        for logits, matched in (([[0.0], [other]], [0, -1]), ([[other], [0.0]], [-1, 0])):
            result = call(function, [BOX], [HALF] * 2, logits, radius=9.0)
            assert result.matched.tolist() == [matched]


@FUNCTIONS
def test_classes_that_are_not_there_cost(function: Function) -> None:
    """softplus(x) sigmoid(x)^2 = 2.0 at 2 and 0.2 at 0, and -3 log(3/4) = 0.86."""
    predicted = [BOX, [0.0, 0.0, 18.0, 8.0]]
    assert call(function, [BOX], predicted, [[0.0, 0.0], [0.0, 0.0]], radius=9.0).matched.tolist() == [[0, -1]]
    assert call(function, [BOX], predicted, [[0.0, 2.0], [0.0, 0.0]], radius=9.0).matched.tolist() == [[-1, 0]]


@FUNCTIONS
def test_the_overlap_is_weighed(function: Function) -> None:
    """The same as above: 1.8 more for the classes of the first point, 0.86 or 2.6 for the overlap of the second."""
    predicted, logits = [BOX, [0.0, 0.0, 18.0, 8.0]], [[0.0, 2.0], [0.0, 0.0]]
    for iou_weight, matched in ((3.0, [-1, 0]), (9.0, [0, -1])):
        result = call(function, [BOX], predicted, logits, radius=9.0, iou_weight=iou_weight)
        assert result.matched.tolist() == [matched]
    assert call(function, [BOX], [FAR, HALF], [[-5.0]] * 2, radius=9.0, eps=1e30).matched.tolist() == [[0, -1]]


@FUNCTIONS
def test_a_large_eps_can_outweigh_the_distance(function: Function) -> None:
    """Of eight points the first, 3.5 strides from the center, predicts the box: 10 ** 3.5 - 1e6 log(3/2) is below 0.
    That at 28 predicts half of it, and costs 10 ** 0.5 - 1e6 log(1) and its class."""
    box, half = [0.0, 0.0, 64.0, 8.0], [0.0, 0.0, 32.0, 8.0]
    predicted = [box, FAR, FAR, half, FAR, FAR, FAR, FAR]
    switches = {"radius": 0.0, "top_ious": 1, "iou_weight": 1e6, "eps": 0.5}
    assert call(function, [box], predicted, [[0.0]] * 8, **switches).matched.tolist() == [[0] + [-1] * 7]


@FUNCTIONS
def test_a_point_that_several_chose_goes_to_the_cheapest_of_all_boxes(function: Function) -> None:
    """Two boxes choose the point 4; the third overlaps its prediction by more, and chose the point 12."""
    boxes = [[0.0, 0.0, 9.0, 8.0], [0.0, 0.0, 9.0, 8.0], [0.0, 0.0, 16.0, 8.0]]
    predicted, logits = [[0.0, 0.0, 13.0, 8.0], boxes[2]], [[0.0], [0.0]]
    switches = {"radius": 9.0}
    assert call(function, boxes, predicted, logits, **switches).matched.tolist() == [[2, 2]]
    assert call(function, boxes[1:], predicted, logits, **switches).matched.tolist() == [[0, 1]]
    assert call(function, boxes[:2], predicted, logits, **switches).matched.tolist() == [[0, -1]]  # the lower row


@FUNCTIONS
def test_a_box_without_points_takes_a_valid_one_of_another(function: Function) -> None:
    small, other = [7.0, 0.0, 9.0, 8.0], [16.0, 0.0, 32.0, 8.0]
    predicted, logits = [small, small, FAR, other], [[0.0]] * 4
    assert call(function, [small], predicted, logits).num_pos.tolist() == [0]
    result = call(function, [small, other], predicted, logits)
    assert result.matched.tolist() == [[-1, -1, 0, 1]]
    assert result.ltrb[0, 2].tolist() == [13.0, 4.0, -11.0, 4.0]


@FUNCTIONS
def test_padding_is_not_valid(function: Function) -> None:
    result = call(function, [BOX], [HALF, BOX, BOX], [[0.0]] * 3, valid_sizes=[[8.0, 16.0]])
    assert result.matched.tolist() == [[-1, 0, -2]]  # 1.5


@FUNCTIONS
def test_scores_that_are_no_numbers_or_infinite(function: Function) -> None:
    """The worst score for a box with an overlap, and the same for a class that the head does not have."""
    for logit in (math.nan, -math.inf, math.inf):
        result = call(function, [BOX], [HALF, HALF], [[logit], [0.0]], radius=9.0)
        assert result.matched.tolist() == [[-1, 0]]
    for label in (1, -1, 2**40):
        packed = torch.tensor([BOX]), torch.tensor([label]), torch.tensor([0, 1])
        predictions = {"pred_boxes": torch.tensor([[BOX, BOX]]), "scores": torch.zeros(1, 2, 1)}
        assert function(*packed, [(1, 2)], [8], SoftLabel(), **predictions).matched.tolist() == [[0, 0]]


BAD_SWITCHES: list[tuple[str, Any]] = [
    *(("radius", value) for value in (-1.0, math.nan, math.inf, "3")),
    *(("top_ious", value) for value in (0, 33, 13.0, True)),
    *(("iou_weight", value) for value in (-0.5, math.nan)),
    *(("eps", value) for value in (0.0, -1e-9, math.nan)),
    *(("offset", value) for value in (math.nan, "0.5")),
]


@pytest.mark.parametrize(("argument", "value"), BAD_SWITCHES, ids=str)
def test_bad_value_is_refused_by_name(argument: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"^{argument}\b.*expected.*got") as error:
        SoftLabel(**{argument: value})
    assert "\n" not in str(error.value)


def test_the_preset_holds_the_published_values() -> None:
    assert presets.rtmdet == SoftLabel(3.0, 13, 3.0, 1e-7, 0.0)


@FUNCTIONS
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": None}, "scores: expected the predictions of a head, which a SoftLabel reads, got None"),
        ({"score_kind": "probabilities"}, "score_kind: expected 'logits', which a SoftLabel reads, got 'probab"),
        ({"objectness": torch.zeros(1, 2)}, "objectness: expected None, because a SoftLabel reads none, got Tensor"),
    ],
    ids=["scores", "score_kind", "objectness"],
)
def test_bad_predictions_are_refused_by_name(function: Function, change: dict[str, Any], message: str) -> None:
    arguments = {
        "boxes": torch.tensor([BOX]), "labels": torch.tensor([0]), "offsets": torch.tensor([0, 1]),
        "level_shapes": [(1, 2)], "strides": [8], "rule": SoftLabel(),
        "pred_boxes": torch.zeros(1, 2, 4), "scores": torch.zeros(1, 2, 1),
    }  # fmt: skip
    function(**arguments)
    with pytest.raises(ValueError, match=message):
        function(**{**arguments, **change})
