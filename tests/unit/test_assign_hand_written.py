"""Cases worked out by hand for the reference, the compiled op and the brute-force oracle alike.

Unless said otherwise: one level of 3 x 3 points with stride 8, at x and y = 4, 12, 20. `WHOLE` is the box
(0, 0, 24, 24), centered on the middle point: Pseudo-IoU is 1 at the middle, 1/2 at the four edge points
(a third of the side off in one direction: q = 2/3, v = q / (2 - q)) and 2/7 at the four corners (q = 4/9).
`SMALL` holds the four upper left points, each 4 from its center with a side of 12: q = 4/9, v = 2/7.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from oracles import brute_force

from pseudo_iou_ops import AssignRule, assign, reference

WHOLE = (0, 0, 24, 24)
SMALL = (2, 2, 14, 14)
PLUS = [[-1, 0, -1], [0, 0, 0], [-1, 0, -1]]
MIDDLE = [[-1, -1, -1], [-1, 0, -1], [-1, -1, -1]]
ALL = [[0, 0, 0]] * 3
NONE = [[-1, -1, -1]] * 3

Call = Callable[..., Any]


@pytest.fixture(params=[reference.assign, assign, brute_force], ids=["reference", "op", "brute_force"])
def call(request: pytest.FixtureRequest) -> Call:
    """`call(images, **switches)` with the boxes of each image as a list of tuples."""

    def run(
        *images: Sequence[Sequence[float]],
        shapes: Sequence[tuple[int, int]] = ((3, 3),),
        strides: Sequence[float] = (8,),
        offset: float | None = None,
        regions: Sequence[Sequence[float]] | None = None,
        valid_size: tuple[float, float] | None = None,
        **switches: Any,
    ) -> Any:
        rows = [box for image in images for box in image]
        counts = torch.tensor([0, *(len(image) for image in images)])
        options: dict[str, Any] = {}
        if regions is not None:
            options["ignore_boxes"] = torch.tensor(regions, dtype=torch.float32).reshape(-1, 4)
            options["ignore_offsets"] = torch.tensor([0, len(regions)])
        if valid_size is not None:
            options["valid_sizes"] = torch.tensor([valid_size])
        return request.param(
            torch.tensor(rows, dtype=torch.float32).reshape(-1, 4),
            torch.arange(len(rows)) + 70,
            counts.cumsum(0),
            shapes,
            strides,
            AssignRule(**switches),
            offset=offset,
            **options,
        )

    return run


def grid(result: Any, image: int = 0) -> list[list[int]]:
    """`matched` of the first nine points."""
    return result.matched[image, :9].reshape(3, 3).tolist()


# ------------------------------------------------------------------------------------------------ outputs


def test_every_output_of_one_box(call: Call) -> None:
    out = call([WHOLE])
    assert grid(out) == PLUS
    assert out.labels[0].tolist() == [-1, 70, -1, 70, 70, 70, -1, 70, -1]
    assert out.ltrb[0].tolist() == [
        [0, 0, 0, 0], [12, 4, 12, 20], [0, 0, 0, 0],
        [4, 12, 20, 12], [12, 12, 12, 12], [20, 12, 4, 12],
        [0, 0, 0, 0], [12, 20, 12, 4], [0, 0, 0, 0],
    ]  # fmt: skip
    assert out.pseudo_iou[0].tolist() == [0, 0.5, 0, 0.5, 1, 0.5, 0, 0.5, 0]
    root = torch.tensor(math.sqrt(4 / 20), dtype=torch.float32).item()
    assert out.centerness[0].tolist() == [0, root, 0, root, 1, root, 0, root, 0]
    assert out.num_pos.tolist() == [5]
    assert out.pos_per_box.tolist() == [5]


def test_a_batch_counts_rows_through_and_keeps_images_apart(call: Call) -> None:
    out = call([(0, 0, 8, 8)], [], [WHOLE, (16, 16, 24, 24)])
    assert grid(out, 0) == [[0, -1, -1], [-1, -1, -1], [-1, -1, -1]]
    assert grid(out, 1) == NONE
    assert grid(out, 2) == [[-1, 1, -1], [1, 1, 1], [-1, 1, 2]]
    assert out.labels[2].tolist() == [-1, 71, -1, 71, 71, 71, -1, 71, 72]
    assert out.num_pos.tolist() == [1, 0, 6]
    assert out.pos_per_box.tolist() == [1, 5, 1]


def test_points_go_by_level_then_row_then_column(call: Call) -> None:
    out = call([(8, 0, 24, 8)], shapes=((2, 3), (1, 2)), strides=(8, 16), metric="none")
    # Stride 8: (4, 4) (12, 4) (20, 4), (4, 12) (12, 12) (20, 12). Stride 16: (8, 8) (24, 8), on the border.
    assert out.matched.tolist() == [[-1, 0, 0, -1, -1, -1, -1, -1]]


def test_a_box_that_trains_nothing_counts_zero(call: Call) -> None:
    assert call([WHOLE, (5, 5, 11, 11)]).pos_per_box.tolist() == [5, 0]


# ------------------------------------------------------------------------------------------------ geometry


def test_a_point_on_the_border_is_outside(call: Call) -> None:
    assert grid(call([(4, 4, 20, 20)], metric="none")) == MIDDLE
    assert grid(call([(4, 4, 12, 12)], metric="none")) == NONE


def test_offset_moves_the_points(call: Call) -> None:
    # Points at 0, 8, 16: those at 0 lie on the border.
    expected = [[-1, -1, -1], [-1, 0, 0], [-1, 0, 0]]
    assert grid(call([WHOLE], offset=0.0, metric="none")) == expected
    assert grid(call([WHOLE], offset=0.5, metric="none")) == ALL


def test_the_call_s_offset_goes_before_the_rule_s() -> None:
    image = torch.tensor([[0.0, 0, 24, 24]]), torch.tensor([1]), torch.tensor([0, 1]), [(3, 3)], [8]
    rule = AssignRule(metric="none", offset=0.0)
    for function in (reference.assign, assign, brute_force):
        assert function(*image, rule).num_pos.item() == 4
        assert function(*image, rule, offset=0.5).num_pos.item() == 9


def test_normalize_by_stride_divides_the_targets_alone(call: Call) -> None:
    out = call([WHOLE], normalize_by_stride=True)
    assert grid(out) == PLUS
    assert out.ltrb[0, 3].tolist() == [0.5, 1.5, 2.5, 1.5]
    assert out.pseudo_iou[0, 3].item() == 0.5


# ------------------------------------------------------------------------------------------------ metrics


def test_pseudo_iou(call: Call) -> None:
    assert grid(call([WHOLE], threshold=0.25)) == ALL
    assert grid(call([WHOLE], threshold=0.3)) == PLUS
    assert grid(call([WHOLE], threshold=0.9)) == MIDDLE


def test_inclusive_admits_a_value_equal_to_the_threshold(call: Call) -> None:
    assert grid(call([WHOLE], threshold=0.5)) == MIDDLE
    assert grid(call([WHOLE], threshold=0.5, inclusive=True)) == PLUS


def test_the_threshold_is_a_float32(call: Call) -> None:
    # A quarter of the side off: v = 0.6, of which float32 and float64 have different roundings.
    box = (-4, -4, 28, 28)
    assert grid(call([box], threshold=0.6)) == MIDDLE
    assert grid(call([box], threshold=0.6, inclusive=True)) == PLUS


def test_centerness(call: Call) -> None:
    # Edges: sqrt(4 / 20 * 1) = 0.447; corners: sqrt(4 / 20 * 4 / 20) = 0.2.
    assert grid(call([WHOLE], metric="centerness", threshold=0.19)) == ALL
    assert grid(call([WHOLE], metric="centerness", threshold=0.44)) == PLUS
    assert grid(call([WHOLE], metric="centerness", threshold=0.45)) == MIDDLE


def test_scaled_box(call: Call) -> None:
    # Off the middle line |l - r| = 16 of a side of 24 or 32.
    assert grid(call([WHOLE], metric="scaled_box", threshold=0.66)) == MIDDLE
    assert grid(call([WHOLE], metric="scaled_box", threshold=0.67)) == ALL
    assert grid(call([(-4, -4, 28, 28)], metric="scaled_box", threshold=0.5)) == MIDDLE
    assert grid(call([(-4, -4, 28, 28)], metric="scaled_box", threshold=0.5, inclusive=True)) == ALL


def test_center_radius_counts_in_strides_and_stays_inside(call: Call) -> None:
    assert grid(call([WHOLE], metric="center_radius", threshold=1.0)) == MIDDLE
    assert grid(call([WHOLE], metric="center_radius", threshold=1.0, inclusive=True)) == ALL
    assert grid(call([(8, 0, 16, 24)], metric="center_radius", threshold=5.0)) == [[-1, 0, -1]] * 3


def test_none_takes_every_inside_point_whatever_the_threshold(call: Call) -> None:
    assert grid(call([WHOLE], metric="none", threshold=0.99)) == ALL


# ------------------------------------------------------------------------------------------------ choice


def test_the_smaller_area_wins(call: Call) -> None:
    expected = [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert grid(call([WHOLE, SMALL], threshold=0.0)) == expected
    assert grid(call([SMALL, WHOLE], threshold=0.0)) == [[1 - row for row in line] for line in expected]


def test_the_lowest_row_wins_a_tie(call: Call) -> None:
    assert grid(call([WHOLE, WHOLE, WHOLE])) == PLUS
    assert grid(call([WHOLE, WHOLE], resolve="max_metric")) == PLUS
    # The same area, 24 x 24 and 48 x 12.
    assert grid(call([(-12, 6, 36, 18), WHOLE], metric="none")) == [[1, 1, 1], [0, 0, 0], [1, 1, 1]]
    assert grid(call([WHOLE, (-12, 6, 36, 18)], metric="none")) == ALL


def test_areas_are_compared_to_the_last_bit(call: Call) -> None:
    one_ulp_wider = (0, 0, 24 + 2**-19, 24)
    assert grid(call([one_ulp_wider, WHOLE], metric="none")) == [[1, 1, 1]] * 3
    assert grid(call([WHOLE, one_ulp_wider], metric="none")) == ALL


def test_choose_then_filter_does_not_offer_a_failing_point_again(call: Call) -> None:
    assert grid(call([WHOLE, SMALL])) == [[-1, -1, -1], [-1, -1, 0], [-1, 0, -1]]


def test_filter_then_choose_offers_it_to_every_box_it_passes_for(call: Call) -> None:
    assert grid(call([WHOLE, SMALL], order="filter_then_choose")) == PLUS


def test_filter_then_choose_still_takes_the_smallest_of_those_that_pass(call: Call) -> None:
    # (12, 12) passes for both, with v = 1 for WHOLE and for (10, 10, 14, 14).
    out = call([WHOLE, (10, 10, 14, 14)], order="filter_then_choose")
    assert grid(out) == [[-1, 0, -1], [0, 1, 0], [-1, 0, -1]]


def test_max_metric_takes_the_best_fit_and_the_smallest_of_equal_fits(call: Call) -> None:
    # The corner (4, 4) has 2/7 in both boxes: the smaller one gets it.
    out = call([WHOLE, SMALL], resolve="max_metric", threshold=0.0)
    assert grid(out) == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]


# ------------------------------------------------------------------------------------------------ ignored


def test_the_band_ignores_what_fails_the_threshold_and_passes_the_looser_one(call: Call) -> None:
    expected = [[-1, -2, -1], [-2, 0, -2], [-1, -2, -1]]
    assert grid(call([WHOLE], threshold=0.6, ignore_threshold=0.4)) == expected
    assert grid(call([WHOLE], threshold=0.6, ignore_threshold=0.5)) == MIDDLE
    assert grid(call([WHOLE], threshold=0.6, ignore_threshold=0.5, inclusive=True)) == expected


def test_ignored_points_have_no_targets(call: Call) -> None:
    out = call([WHOLE], threshold=0.6, ignore_threshold=0.4)
    assert out.labels[0].tolist() == [-1, -2, -1, -2, 70, -2, -1, -2, -1]
    assert out.ltrb[0].count_nonzero(dim=1).tolist() == [0, 0, 0, 0, 4, 0, 0, 0, 0]
    assert out.pseudo_iou[0].tolist() == out.centerness[0].tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert (out.num_pos.tolist(), out.pos_per_box.tolist()) == ([1], [1])


def test_the_band_of_the_size_metrics_is_wider(call: Call) -> None:
    expected = [[-2, -2, -2], [-2, 0, -2], [-2, -2, -2]]
    assert grid(call([WHOLE], metric="scaled_box", threshold=0.5, ignore_threshold=0.75)) == expected
    assert grid(call([WHOLE], metric="center_radius", threshold=0.5, ignore_threshold=1.5)) == expected


def test_choose_then_filter_asks_the_chosen_box_for_the_band(call: Call) -> None:
    band = {"threshold": 0.6, "ignore_threshold": 0.4}
    assert grid(call([WHOLE, SMALL], **band)) == [[-1, -1, -1], [-1, -1, -2], [-1, -2, -1]]


def test_filter_then_choose_asks_any_box_for_the_band(call: Call) -> None:
    band = {"threshold": 0.6, "ignore_threshold": 0.4, "order": "filter_then_choose"}
    assert grid(call([WHOLE, SMALL], **band)) == [[-1, -2, -1], [-2, 0, -2], [-1, -2, -1]]


def test_an_ignore_region_covers_what_is_not_positive(call: Call) -> None:
    assert grid(call([WHOLE], regions=[(0, 0, 24, 8)])) == [[-2, 0, -2], [0, 0, 0], [-1, 0, -1]]
    assert grid(call([], regions=[(4, 4, 20, 20)])) == [[-1, -1, -1], [-1, -2, -1], [-1, -1, -1]]
    assert grid(call([], regions=[(12, 0, 12, 24), (20, 20, 0, 0)])) == NONE


def test_padding_is_ignored_even_where_a_box_reaches(call: Call) -> None:
    # 12 high and 20 wide: the points at y = 12 and at x = 20 are the first outside.
    out = call([WHOLE], valid_size=(12, 20))
    assert grid(out) == [[-1, 0, -2], [-2, -2, -2], [-2, -2, -2]]
    assert (out.num_pos.tolist(), out.pos_per_box.tolist()) == ([1], [1])
    assert out.ltrb[0].count_nonzero().item() == 4
    assert grid(call([WHOLE], valid_size=(12.5, 20.5))) == [[-1, 0, -1], [0, 0, 0], [-2, -2, -2]]


# ------------------------------------------------------------------------------------------------ ranges


def test_closed_ranges_admit_both_bounds(call: Call) -> None:
    # The farthest side is 12 from the middle point, 20 from the others, 16 from that of the second level.
    levels = {"shapes": ((3, 3), (1, 1)), "strides": (8, 16), "metric": "none"}
    out = call([WHOLE], regress_ranges=((0, 12), (16, 99)), **levels)
    assert (grid(out), out.matched[0, 9].item()) == (MIDDLE, 0)
    out = call([WHOLE], regress_ranges=((12, 20), (17, 99)), **levels)
    assert (grid(out), out.matched[0, 9].item()) == (ALL, -1)


def test_open_ranges_admit_neither(call: Call) -> None:
    levels = {"shapes": ((3, 3), (1, 1)), "strides": (8, 16), "metric": "none", "range_bounds": "open"}
    out = call([WHOLE], regress_ranges=((0, 12), (16, 99)), **levels)
    assert (grid(out), out.matched[0, 9].item()) == (NONE, -1)
    out = call([WHOLE], regress_ranges=((11, 20), (15, math.inf)), **levels)
    assert (grid(out), out.matched[0, 9].item()) == (MIDDLE, 0)


def test_a_distance_on_the_bound_of_two_levels_counts_for_both(call: Call) -> None:
    """Box (0, 0, 72, 72) on stride 16: seven of its points are exactly 64 from its farthest side."""
    level = {"shapes": ((5, 5),), "strides": (16,), "metric": "none"}
    for ranges in (((-1, 64),), ((64, 128),)):
        closed = call([(0, 0, 72, 72)], regress_ranges=ranges, **level)
        opened = call([(0, 0, 72, 72)], regress_ranges=ranges, range_bounds="open", **level)
        assert closed.num_pos.item() - opened.num_pos.item() == 7


def test_a_box_out_of_range_leaves_the_point_to_another(call: Call) -> None:
    # SMALL is the smaller one, but at most 10 from its sides, so that WHOLE gets all its points.
    assert grid(call([WHOLE, SMALL], metric="none", regress_ranges=((11, 99),))) == ALL


# ------------------------------------------------------------------------------------------------ odd input


@pytest.mark.parametrize(
    "odd",
    [
        (12, 0, 12, 24),
        (24, 24, 0, 0),
        (24, 0, 0, 24),
        (math.nan, 0, 24, 24),
        (0, 0, 24, math.nan),
        (-math.inf, 0, 24, 24),
        (0, 0, math.inf, math.inf),
        (-1e30, -1e30, 1e30, 1e30),
    ],
    ids=str,
)
def test_an_odd_box_matches_nothing_and_changes_nothing(call: Call, odd: tuple[float, ...]) -> None:
    for switches in ({}, {"metric": "none"}, {"resolve": "max_metric"}, {"order": "filter_then_choose"}):
        out = call([odd, WHOLE, odd], **switches)
        alone = call([WHOLE], **switches)
        assert grid(out) == [[1 if row == 0 else row for row in line] for line in grid(alone)]
        assert out.pos_per_box.tolist() == [0, alone.num_pos.item(), 0]
        assert torch.equal(out.ltrb, alone.ltrb)


def test_a_large_box_is_no_sentinel(call: Call) -> None:
    """Area 4e8, above the 1e8 by which other codes mark "no box"."""
    assert grid(call([(-1e4, -1e4, 1e4, 1e4), (500, 500, 600, 600)], metric="none")) == ALL


def test_malformed_offsets_are_clamped() -> None:
    # One box around each point of the first column.
    boxes = torch.tensor([[0.0, 0, 8, 8], [0, 8, 8, 16], [0, 16, 8, 24]])
    arguments = (torch.arange(3), torch.tensor([-5, 2, 1, 9, 7]), [(3, 1)], [8])
    expected = [[0, 1, -1], [-1, -1, -1], [-1, 1, 2], [-1, -1, -1]]  # rows -5:2, 2:1, 1:9, 9:7
    for function in (reference.assign, assign):
        out = function(boxes, *arguments)
        assert out.matched.tolist() == expected
        assert out.num_pos.tolist() == [2, 0, 2, 0]
        assert out.pos_per_box.tolist() == [1, 2, 1]
    assert brute_force(boxes, *arguments, AssignRule()).matched.tolist() == expected


def test_float64_is_rounded_and_float16_widened() -> None:
    # 24 + 1e-9 is 24 in float32, so that both boxes have one area and the first row wins.
    boxes = torch.tensor([[0, 0, 24 + 1e-9, 24], [0, 0, 24, 24]], dtype=torch.float64)
    rest = (torch.arange(2), torch.tensor([0, 2]), [(3, 3)], [8])
    for function in (reference.assign, assign):
        assert grid(function(boxes, *rest)) == PLUS
        # The area, 90,000, is infinite in float16.
        large = torch.tensor([[-138.0, -138, 162, 162]] * 2, dtype=torch.float16)
        assert grid(function(large, *rest)) == ALL
