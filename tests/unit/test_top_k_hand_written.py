"""`assign_top_k` with an `Atss`: cases worked out by hand, for the op and the reference alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pseudo_iou_ops import Atss, TopKAssignment, assign_top_k, reference_top_k

FUNCTIONS = pytest.mark.parametrize("function", [assign_top_k, reference_top_k.assign_top_k], ids=["op", "reference"])
Function = Callable[..., TopKAssignment]


def call(function: Function, boxes: list[list[float]], shapes: Any, strides: Any, rule: Atss, **more: Any) -> Any:
    count = len(boxes)
    packed = torch.tensor(boxes).reshape(-1, 4), torch.arange(10, 10 + count), torch.tensor([0, count])
    return function(*packed, shapes, strides, rule, **more)


@FUNCTIONS
def test_the_threshold_is_the_mean_plus_the_deviation(function: Function) -> None:
    """Points 0, 8, 16, 24 in a row; the box (0, -4, 20, 4) is as high as the anchors of 8 pixels are. These overlap it
    by 4 * 8, 8 * 8, 8 * 8 and 0 of 192, 160, 160 and 224: 1/6, 2/5, 2/5, 0. Mean 0.2417, deviation 0.1951."""
    result = call(function, [[0.0, -4.0, 20.0, 4.0]], [(1, 4)], [8], Atss(anchor_scale=1, offset=0.0))
    assert result.matched.tolist() == [[-1, -1, -1, -1]]  # 0.4367 is above all
    two = call(function, [[0.0, -4.0, 20.0, 4.0]], [(1, 4)], [8], Atss(k=3, anchor_scale=1, offset=0.0))
    # Points 8, 16 and 0, at distances 2, 6 and 10: mean 0.3222, deviation 0.1347, still above 0.4.
    assert two.matched.tolist() == [[-1, -1, -1, -1]]
    one = call(function, [[0.0, -4.0, 20.0, 4.0]], [(1, 4)], [8], Atss(k=2, anchor_scale=1, offset=0.0))
    assert one.matched.tolist() == [[-1, 0, 0, -1]]  # equal values reach their mean
    assert one.iou.tolist() == [[0.0, pytest.approx(0.4), pytest.approx(0.4), 0.0]]
    assert one.ltrb[0, 1].tolist() == [8.0, 4.0, 12.0, 4.0]
    assert one.score.tolist() == [[0.0, 1.0, 1.0, 0.0]]
    assert (one.labels.tolist(), one.num_pos.tolist(), one.pos_per_box.tolist()) == ([[-1, 10, 10, -1]], [2], [2])


@FUNCTIONS
def test_equality_passes_only_if_inclusive(function: Function) -> None:
    """One candidate is its own mean, and has no deviation."""
    for inclusive, positives in ((True, 1), (False, 0)):
        result = call(function, [[0.0, 0.0, 16.0, 16.0]], [(1, 1)], [16], Atss(inclusive=inclusive))
        assert result.num_pos.tolist() == [positives]


@FUNCTIONS
def test_candidates_of_all_levels_share_one_threshold(function: Function) -> None:
    """One point a level on the center of a box of 32 x 32; anchors of 8, 32 and 128: IoU 1/16, 1, 1/16."""
    result = call(function, [[0.0, 0.0, 32.0, 32.0]], [(1, 1)] * 3, [8, 32, 128], Atss(anchor_scale=1, inside_margin=1))
    # The points lie at 4, 16 and 64; at (4, 4) the anchor is inside: 64 / 1024.
    assert result.matched.tolist() == [[-1, 0, -1]]
    assert result.iou.tolist() == [[0.0, 1.0, 0.0]]


@FUNCTIONS
def test_a_point_of_two_choosers_goes_to_the_larger_value_then_the_lower_row(function: Function) -> None:
    boxes = [[0.0, 0.0, 20.0, 20.0], [0.0, 0.0, 16.0, 16.0], [0.0, 0.0, 16.0, 16.0]]
    result = call(function, boxes, [(1, 1)], [16], Atss(anchor_scale=1))
    assert result.matched.tolist() == [[1]]
    assert result.pos_per_box.tolist() == [0, 1, 0]


@FUNCTIONS
def test_all_boxes_compete_for_a_contested_point_alone(function: Function) -> None:
    """The last box overlaps best, but the point lies 7.9 pixels inside it, within the margin: it chooses nothing."""
    choosers, other = [[0.0, 0.0, 20.0, 20.0], [0.0, 0.0, 22.0, 22.0]], [0.1, 0.1, 15.9, 15.9]
    for boxes, among, winner in (
        ([*choosers, other], "choosers", 0),
        ([*choosers, other], "all", 2),
        ([choosers[1], other], "all", 0),
    ):
        rule = Atss(anchor_scale=1, among=among, inside_margin=7.95)
        assert call(function, boxes, [(1, 1)], [16], rule).matched.tolist() == [[winner]]


@FUNCTIONS
def test_inside_is_farther_than_the_margin(function: Function) -> None:
    for margin, positives in ((3.5, 1), (4.0, 0)):
        result = call(function, [[4.0, 0.0, 40.0, 40.0]], [(1, 1)], [16], Atss(inside_margin=margin))
        assert result.num_pos.tolist() == [positives]


@FUNCTIONS
def test_of_points_as_far_the_cell_before_the_center_comes_first(function: Function) -> None:
    """The center (16, 16) is the corner of four cells; k of their points are candidates, as equal ones all taken."""
    for k, chosen in ((1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (4, [0, 1, 2, 3])):
        result = call(function, [[0.0, 0.0, 32.0, 32.0]], [(2, 2)], [16], Atss(k=k, anchor_scale=1))
        assert (result.matched[0] == 0).nonzero().flatten().tolist() == chosen


@FUNCTIONS
def test_pseudo_iou_and_the_product(function: Function) -> None:
    """At the center Pseudo-IoU is 1. The anchor of 16 pixels overlaps the box of 32 by a quarter."""
    for metric, value in (("pseudo_iou", 1.0), ("anchor_iou", 0.25), ("product", 0.25)):
        rule = Atss(metric=metric, anchor_scale=1)
        result = call(function, [[-8.0, -8.0, 24.0, 24.0]], [(1, 1)], [16], rule)
        assert result.iou.tolist() == [[value]]
    # A quarter of the side off the center along x: q = 1 - 8/32 = 3/4, q / (2 - q) = 0.6.
    rule = Atss(metric="pseudo_iou")
    result = call(function, [[0.0, -8.0, 32.0, 24.0]], [(1, 1)], [16], rule)
    assert result.iou.tolist() == [[pytest.approx(0.6)]]


@FUNCTIONS
def test_padding_is_no_candidate_and_is_ignored(function: Function) -> None:
    """Points 8, 24, 40; the box is centered on 40, which is padding: 24 takes its place among the one closest."""
    sizes = torch.tensor([[16.0, 40.0]])
    box = [[16.0, 0.0, 64.0, 16.0]]
    rule = Atss(k=1, anchor_scale=1)
    assert call(function, box, [(1, 3)], [16], rule).matched.tolist() == [[-1, -1, 0]]
    assert call(function, box, [(1, 3)], [16], rule, valid_sizes=sizes).matched.tolist() == [[-1, 0, -2]]


@FUNCTIONS
def test_regions_ignore_what_is_not_positive(function: Function) -> None:
    regions = {"ignore_boxes": torch.tensor([[0.0, 0.0, 48.0, 16.0]]), "ignore_offsets": torch.tensor([0, 1])}
    result = call(function, [[16.0, 0.0, 32.0, 16.0]], [(1, 3)], [16], Atss(k=1), **regions)
    assert result.matched.tolist() == [[-2, 0, -2]]
    assert result.labels.tolist() == [[-2, 10, -2]]


@FUNCTIONS
@pytest.mark.parametrize(
    "box", [[8.0, 0.0, 8.0, 16.0], [16.0, 0.0, 0.0, 16.0], [float("nan"), 0, 16, 16], [0, 0, float("inf"), 16]], ids=str
)
def test_what_is_no_box_chooses_nothing(function: Function, box: list[float]) -> None:
    result = call(function, [box, [0.0, 0.0, 16.0, 16.0]], [(1, 1)], [16], Atss(among="all"))
    assert result.matched.tolist() == [[1]]
    assert result.pos_per_box.tolist() == [0, 1]


@FUNCTIONS
def test_the_offset_of_the_call_goes_before_the_rule(function: Function) -> None:
    box, rule = [[-8.0, -8.0, 8.0, 8.0]], Atss(offset=0.5, inside_margin=1)
    assert call(function, box, [(1, 1)], [16], rule).num_pos.tolist() == [0]
    assert call(function, box, [(1, 1)], [16], rule, offset=0.0).num_pos.tolist() == [1]
