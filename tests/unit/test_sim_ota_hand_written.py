"""`assign_top_k` with a `SimOta`: cases worked out by hand, for the op and the reference, and every error."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch

from pseudo_iou_ops import SimOta, TaskAligned, TopKAssignment, assign_top_k, presets, reference_top_k
from pseudo_iou_ops import top_k_rules as rules

FUNCTIONS = pytest.mark.parametrize("function", [assign_top_k, reference_top_k.assign_top_k], ids=["op", "reference"])
Function = Callable[..., TopKAssignment]
BOX = [0.0, 0.0, 24.0, 8.0]  # holds the points 4, 12 and 20, none farther than 8 from its center
HALF = [0.0, 0.0, 12.0, 8.0]
FAR = [100.0, 100.0, 108.0, 108.0]


def call(
    function: Function,
    boxes: list[list[float]],
    predicted: list[list[float]],
    scores: list[list[float]],
    objectness: list[float] | None = None,
    valid_sizes: list[list[float]] | None = None,
    **switches: Any,
) -> TopKAssignment:
    """Points (4, 4), (12, 4), (20, 4), ... in a row; all boxes are of class 0."""
    count = len(boxes)
    packed = torch.tensor(boxes).reshape(-1, 4), torch.zeros(count, dtype=torch.int64), torch.tensor([0, count])
    given = {"objectness": objectness and torch.tensor([objectness]), "valid_sizes": valid_sizes}
    return function(
        *packed, [(1, len(scores))], [8], SimOta(**switches),
        pred_boxes=torch.tensor([predicted]), scores=torch.tensor([scores]), score_kind="probabilities",
        **{name: value if value is None else torch.as_tensor(value) for name, value in given.items()},
    )  # fmt: skip


@FUNCTIONS
def test_a_box_takes_as_many_points_as_its_overlaps_add_up_to(function: Function) -> None:
    result = call(function, [BOX], [HALF, BOX, BOX], [[0.5]] * 3)  # 2.5
    assert result.matched.tolist() == [[-1, 0, 0]]
    assert result.iou.tolist() == result.score.tolist() == [[0.0, 1.0, 1.0]]
    assert result.ltrb[0, 1].tolist() == [12.0, 4.0, 12.0, 4.0]
    assert (result.num_pos.tolist(), result.pos_per_box.tolist()) == ([2], [2])
    assert call(function, [BOX], [HALF, HALF, BOX], [[0.5]] * 3).matched.tolist() == [[0, -1, 0]]  # 2.0
    assert call(function, [BOX], [BOX, BOX, BOX], [[0.5]] * 3, top_ious=2).matched.tolist() == [[0, 0, -1]]


@FUNCTIONS
def test_a_box_takes_at_least_one_point(function: Function) -> None:
    for predicted in (FAR, [math.nan] * 4, [8.0, 0.0, 8.0, 8.0]):
        assert call(function, [BOX], [predicted] * 3, [[0.25], [0.5], [0.5]]).matched.tolist() == [[-1, 0, -1]]


@FUNCTIONS
def test_no_overlap_is_plus_zero(function: Function) -> None:
    result = call(function, [BOX], [[-8.0, 0.0, -0.0, 8.0]], [[0.5]])
    assert (result.matched.item(), math.copysign(1.0, result.iou.item())) == (0, 1.0)


@FUNCTIONS
def test_overlap_and_class_are_weighed(function: Function) -> None:
    """-log(1/2) = 0.69 is less than -3 log(3/4) = 0.86, and more than -2 log(3/4) = 0.58."""
    predicted, scores = [BOX, [0.0, 0.0, 18.0, 8.0]], [[0.5], [1.0]]
    assert call(function, [BOX], predicted, scores).matched.tolist() == [[0, -1]]
    assert call(function, [BOX], predicted, scores, iou_weight=2.0).matched.tolist() == [[-1, 0]]
    assert call(function, [BOX], predicted, scores, cls_weight=2.0).matched.tolist() == [[-1, 0]]
    assert call(function, [BOX], predicted, scores, cls_weight=0.0).matched.tolist() == [[0, -1]]


@FUNCTIONS
def test_eps_bounds_the_cost_of_no_overlap(function: Function) -> None:
    """-3 log(1/2) - log(1/4) = 3.5 is less than -3 log(1e-7); -3 log(3/2) - log(1/4) = 0.17 is more than -3 log(1)."""
    predicted, scores = [HALF, FAR], [[0.25], [1.0]]
    assert call(function, [BOX], predicted, scores).matched.tolist() == [[0, -1]]
    assert call(function, [BOX], predicted, scores, eps=1.0).matched.tolist() == [[-1, 0]]


@FUNCTIONS
def test_classes_that_are_not_there_cost(function: Function) -> None:
    result = call(function, [BOX], [BOX, HALF, HALF], [[0.5, 0.9], [0.5, 0.1], [0.5, 0.1]], iou_weight=1.0)
    assert result.matched.tolist() == [[-1, 0, 0]]  # 2.3 and 0.69 + 0.11


@FUNCTIONS
def test_objectness_joins_by_the_root_of_the_product(function: Function) -> None:
    predicted, scores = [HALF, HALF], [[1.0], [0.36]]
    assert call(function, [BOX], predicted, scores).matched.tolist() == [[0, -1]]
    assert call(function, [BOX], predicted, scores, objectness=[0.25, 1.0]).matched.tolist() == [[-1, 0]]
    # 0.5 against 0.6; with one more class at 0.64 the joint 0.8 costs 1.6 of absence, and 0.4 costs 0.5.
    scores = [[1.0, 0.64], [0.36, 0.64]]
    assert call(function, [BOX], predicted, scores, objectness=[0.25, 1.0]).matched.tolist() == [[0, -1]]


@FUNCTIONS
def test_own_points_come_first_whatever_they_cost(function: Function) -> None:
    """Of a center region of 4.8 pixels only the point 12 lies in it."""
    predicted, scores = [BOX, HALF, FAR], [[1.0], [0.1], [1.0]]
    assert call(function, [BOX], predicted, scores).matched.tolist() == [[0, -1, -1]]
    assert call(function, [BOX], predicted, scores, radius=0.6).matched.tolist() == [[-1, 0, -1]]
    # Two points: after its own the cheapest.
    assert call(function, [BOX], [BOX, HALF, BOX], [[0.5]] * 3, radius=0.6).matched.tolist() == [[0, 0, -1]]


@FUNCTIONS
def test_the_center_is_open(function: Function) -> None:
    """One stride to each side of 12: neither 4 nor 20 lies strictly inside."""
    for radius, matched in ((1.0, [-1, 0, -1]), (1.01, [0, 0, 0])):
        result = call(function, [BOX], [BOX] * 3, [[0.5]] * 3, radius=radius, region="center")
        assert result.matched.tolist() == [matched]


@FUNCTIONS
def test_only_points_in_a_region_count(function: Function) -> None:
    for region, matched in (("box_or_center", [0, 0, 0]), ("center", [-1, 0, -1])):
        result = call(function, [BOX], [BOX] * 3, [[0.5]] * 3, radius=0.6, region=region)
        assert result.matched.tolist() == [matched]


@FUNCTIONS
def test_a_point_that_several_chose_goes_to_the_cheapest_of_all_boxes(function: Function) -> None:
    """Two boxes choose the point 4; the third overlaps its prediction by more, and chose the point 12."""
    boxes = [[0.0, 0.0, 9.0, 8.0], [0.0, 0.0, 9.0, 8.0], [0.0, 0.0, 16.0, 8.0]]
    predicted, scores = [[0.0, 0.0, 13.0, 8.0], boxes[2]], [[0.5], [0.5]]
    assert call(function, boxes, predicted, scores).matched.tolist() == [[2, 2]]
    assert call(function, boxes[1:], predicted, scores).matched.tolist() == [[0, 1]]
    assert call(function, boxes[:2], predicted, scores).matched.tolist() == [[0, -1]]  # the lower row


@FUNCTIONS
def test_a_box_without_points_takes_a_valid_one_of_another(function: Function) -> None:
    """Between the points 4 and 12; the other box wants the point 20 alone."""
    small, other = [7.0, 0.0, 9.0, 8.0], [16.0, 0.0, 32.0, 8.0]
    predicted, scores = [FAR, FAR, other, FAR], [[0.5], [0.5], [0.5], [0.75]]
    assert call(function, [small], predicted, scores, radius=0.3).num_pos.tolist() == [0]
    result = call(function, [small, other], predicted, scores, radius=0.8, region="center")
    assert result.matched.tolist() == [[0, -1, 1, -1]]
    result = call(function, [small, other], predicted, scores, radius=0.3)
    assert result.matched.tolist() == [[-1, -1, 1, 0]]
    assert result.ltrb[0, 3].tolist() == [21.0, 4.0, -19.0, 4.0]


@FUNCTIONS
def test_padding_is_not_valid(function: Function) -> None:
    result = call(function, [BOX], [HALF, BOX, BOX], [[0.5]] * 3, valid_sizes=[[8.0, 16.0]])
    assert result.matched.tolist() == [[-1, 0, -2]]  # 1.5


@FUNCTIONS
def test_a_class_that_the_head_does_not_have_costs_alike_everywhere(function: Function) -> None:
    for label in (1, -1, 2**40):
        packed = torch.tensor([BOX]), torch.tensor([label]), torch.tensor([0, 1])
        predictions = {"pred_boxes": torch.tensor([[HALF, BOX]]), "scores": torch.tensor([[[0.5], [0.5]]])}
        result = function(*packed, [(1, 2)], [8], SimOta(), score_kind="probabilities", **predictions)
        assert result.matched.tolist() == [[-1, 0]]


BAD_SWITCHES: list[tuple[str, Any]] = [
    *(("radius", value) for value in (0.0, -1.0, math.nan, math.inf, "2.5")),
    *(("region", value) for value in ("box", None)),
    *(("top_ious", value) for value in (0, 33, 10.0, True)),
    *(("iou_weight", value) for value in (-0.5, math.nan)),
    *(("cls_weight", value) for value in (-0.5, math.inf, None)),
    *(("eps", value) for value in (0.0, -1e-9, math.nan)),
    *(("offset", value) for value in (math.nan, "0.5")),
]


@pytest.mark.parametrize(("argument", "value"), BAD_SWITCHES, ids=str)
def test_bad_value_is_refused_by_name(argument: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"^{argument}\b.*expected.*got") as error:
        SimOta(**{argument: value})
    assert "\n" not in str(error.value)


def test_the_codes_are_those_of_the_types() -> None:
    assert get_args(rules.Region) == rules.REGIONS


def test_presets_hold_the_published_values() -> None:
    assert presets.simota == SimOta(2.5, "box_or_center", 10, 3.0, 1.0, 1e-7, 0.5)
    assert presets.yolox == SimOta(1.5, "center", 10, 3.0, 1.0, 1e-8, 0.5)


@FUNCTIONS
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"scores": None}, ValueError, "scores: expected the predictions of a head, which a SimOta reads, got None"),
        ({"objectness": torch.zeros(1, 3)}, ValueError, r"objectness: expected \[2\] points a level"),
        ({"objectness": torch.zeros(2, 2)}, ValueError, "objectness: expected 1 images, as the offsets have, got 2"),
        ({"objectness": torch.zeros(1, 2, 3)}, ValueError, "objectness: expected 1 images and 1 channels"),
        ({"objectness": torch.zeros(2)}, ValueError, "objectness: expected shapes"),
        ({"objectness": [[0.5]]}, TypeError, "objectness: expected a tensor, got list"),
        ({"objectness": 0.5}, TypeError, "objectness: expected a tensor or a sequence"),
        (
            {"rule": TaskAligned(), "objectness": torch.zeros(1, 2)},
            ValueError,
            "objectness: expected None, because a TaskAligned reads none, got Tensor",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_predictions_are_refused_by_name(
    function: Function, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments = {
        "boxes": torch.tensor([BOX]), "labels": torch.tensor([0]), "offsets": torch.tensor([0, 1]),
        "level_shapes": [(1, 2)], "strides": [8], "rule": SimOta(),
        "pred_boxes": torch.zeros(1, 2, 4), "scores": torch.zeros(1, 2, 1),
    }  # fmt: skip
    function(**arguments, objectness=torch.zeros(1, 2))
    function(**arguments, objectness=[torch.zeros(1, 1, 1, 2)])
    with pytest.raises(error, match=message):
        function(**{**arguments, **change})
