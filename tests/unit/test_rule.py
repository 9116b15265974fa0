"""`AssignRule`: every value outside a switch's domain is refused by name, every other is kept."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from typing import Any, get_args

import pytest
from samples import every_rule

from pseudo_iou_ops import AssignRule
from pseudo_iou_ops.rule import METRICS, Metric

BAD_SWITCHES: list[tuple[str, dict[str, Any]]] = [
    ("metric", {"metric": "iou"}),
    ("metric", {"metric": None}),
    ("metric", {"metric": 0}),
    ("metric", {"metric": ["pseudo_iou"]}),
    ("order", {"order": "filter"}),
    ("order", {"order": True}),
    ("resolve", {"resolve": "max_area"}),
    ("resolve", {"resolve": None}),
    ("range_bounds", {"range_bounds": "half_open"}),
    ("range_bounds", {"range_bounds": ("closed", "open")}),
    ("inclusive", {"inclusive": 1}),
    ("inclusive", {"inclusive": "yes"}),
    ("normalize_by_stride", {"normalize_by_stride": 0}),
    ("normalize_by_stride", {"normalize_by_stride": None}),
    ("threshold", {"threshold": "0.4"}),
    ("threshold", {"threshold": None}),
    ("threshold", {"threshold": True}),
    *(
        ("threshold", {"metric": metric, "threshold": threshold})
        for metric, thresholds in {
            "pseudo_iou": (-0.1, 1.0, 1.5, math.nan, math.inf),
            "centerness": (-0.1, 1.0, 1.5, math.nan, math.inf),
            "scaled_box": (0.0, -0.5, 1.01, math.nan, math.inf),
            "center_radius": (0.0, -1.5, math.nan, math.inf),
        }.items()
        for threshold in thresholds
    ),
    ("ignore_threshold", {"ignore_threshold": "0.2"}),
    ("ignore_threshold", {"ignore_threshold": True}),
    # Not looser than the threshold, or outside the domain of the metric.
    *(
        ("ignore_threshold", {"metric": metric, "threshold": threshold, "ignore_threshold": band})
        for metric, threshold, bands in (
            ("pseudo_iou", 0.4, (0.4, 0.5, -0.1, math.nan, -math.inf)),
            ("centerness", 0.4, (0.4, 0.5, -0.1, math.nan, -math.inf)),
            ("scaled_box", 0.5, (0.5, 0.4, 1.1, math.nan, math.inf)),
            ("center_radius", 1.5, (1.5, 1.0, math.nan, math.inf)),
        )
        for band in bands
    ),
    ("ignore_threshold", {"metric": "none", "ignore_threshold": 0.2}),
    ("resolve", {"metric": "center_radius", "threshold": 1.5, "resolve": "max_metric"}),
    ("resolve", {"metric": "none", "resolve": "max_metric"}),
    ("regress_ranges", {"regress_ranges": 64}),
    ("regress_ranges", {"regress_ranges": "closed"}),
    ("regress_ranges", {"regress_ranges": (0, 64)}),
    ("regress_ranges", {"regress_ranges": ((0, 64, 128),)}),
    ("regress_ranges", {"regress_ranges": (("0", "64"),)}),
    ("regress_ranges", {"regress_ranges": ((64, 0),)}),
    ("regress_ranges", {"regress_ranges": ((0, math.nan),)}),
    ("offset", {"offset": "0.5"}),
    ("offset", {"offset": None}),
    ("offset", {"offset": math.nan}),
    ("offset", {"offset": math.inf}),
]


@pytest.mark.parametrize(("argument", "switches"), BAD_SWITCHES, ids=lambda value: str(value))
def test_bad_value_is_refused_by_name(argument: str, switches: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"^{argument}\b.*expected.*got") as error:
        AssignRule(**switches)
    assert "\n" not in str(error.value)


def test_a_threshold_outside_its_domain_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="threshold"):
        AssignRule(threshold=1.0)


@pytest.mark.parametrize(
    "switches",
    [
        {"threshold": 0.0},
        {"threshold": 0},
        {"threshold": math.nextafter(1, 0)},
        {"threshold": 0.4, "ignore_threshold": 0.0},
        {"metric": "scaled_box", "threshold": 1.0},
        {"metric": "scaled_box", "threshold": 0.5, "ignore_threshold": 1.0},
        {"metric": "center_radius", "threshold": 100.0, "ignore_threshold": 1000},
        {"metric": "none"},
        {"regress_ranges": ((64, 64), (64, math.inf))},
        {"regress_ranges": [[-1, 64], [64, 1e8]]},
        {"offset": 0},
        {"offset": -1.5},
    ],
    ids=str,
)
def test_value_inside_its_domain_is_kept(switches: dict[str, Any]) -> None:
    rule = AssignRule(**switches)
    for name, value in switches.items():
        kept = getattr(rule, name)
        assert kept == (tuple(map(tuple, value)) if name == "regress_ranges" else value)


def test_every_combination_of_valid_switches_can_be_made() -> None:
    """12 of order, ranges and normalisation, times inclusive, the band and the way to resolve where there are two."""
    counts = Counter(rule.metric for rule in every_rule())
    assert counts.items() >= {
        "pseudo_iou": 96, "centerness": 96, "scaled_box": 96, "center_radius": 48, "none": 24
    }.items()  # fmt: skip


def test_the_names_of_the_metrics_are_those_of_their_type() -> None:
    assert get_args(Metric) == METRICS


def test_defaults() -> None:
    rule = AssignRule()
    assert (rule.metric, rule.threshold, rule.ignore_threshold) == ("pseudo_iou", 0.4, None)
    assert (rule.inclusive, rule.order, rule.resolve) == (False, "choose_then_filter", "min_area")
    assert (rule.regress_ranges, rule.range_bounds) == (None, "closed")
    assert (rule.normalize_by_stride, rule.offset) == (False, 0.5)


def test_rule_is_frozen_hashable_and_equal_by_value() -> None:
    rule = AssignRule(regress_ranges=[(0, 64)])
    with pytest.raises(dataclasses.FrozenInstanceError):
        rule.threshold = 0.5  # type: ignore[misc]
    assert rule == AssignRule(regress_ranges=((0.0, 64.0),))
    assert len({rule, AssignRule(regress_ranges=((0.0, 64.0),)), AssignRule()}) == 2


def test_replace_checks_again() -> None:
    rule = dataclasses.replace(AssignRule(), threshold=0.5)
    assert rule.threshold == 0.5
    with pytest.raises(ValueError, match="threshold"):
        dataclasses.replace(rule, metric="scaled_box", threshold=2.0)


def test_the_ranges_can_not_be_changed_through_the_list_they_came_in() -> None:
    ranges = [[0.0, 64.0]]
    rule = AssignRule(regress_ranges=ranges)
    ranges[0][1] = 1.0
    assert rule.regress_ranges == ((0.0, 64.0),)
