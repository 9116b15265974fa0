"""The presets hold the published values and can not be changed."""

from __future__ import annotations

import dataclasses
import math

import pytest

from pseudo_iou_ops import AssignRule, presets

CLOSED_RANGES = ((-1, 64), (64, 128), (128, 256), (256, 512), (512, 1e8))
OPEN_RANGES = ((0, 64), (64, 128), (128, 256), (256, 512), (512, math.inf))
NAMES = ("paper", "paper_baseline", "authors_code", "fcos", "torchvision_fcos", "detectron2_fcos")


def test_paper() -> None:
    assert presets.paper == AssignRule(metric="pseudo_iou", threshold=0.4, order="choose_then_filter")
    assert presets.paper.regress_ranges is None
    assert presets.paper.resolve == "min_area"
    assert not presets.paper.inclusive


def test_paper_baseline_takes_every_inside_point() -> None:
    assert presets.paper_baseline.metric == "none"
    assert presets.paper_baseline.regress_ranges is None


def test_authors_code_is_the_paper_behind_fcos_ranges() -> None:
    assert dataclasses.replace(presets.authors_code, regress_ranges=None) == presets.paper
    assert presets.authors_code.regress_ranges == CLOSED_RANGES
    assert presets.authors_code.range_bounds == "closed"


@pytest.mark.parametrize(
    ("name", "ranges", "bounds", "offset"),
    [
        ("fcos", CLOSED_RANGES, "closed", 0.5),
        ("torchvision_fcos", OPEN_RANGES, "open", 0.0),
        ("detectron2_fcos", OPEN_RANGES, "open", 0.5),
    ],
)
def test_center_sampling(name: str, ranges: object, bounds: str, offset: float) -> None:
    rule = getattr(presets, name)
    assert (rule.metric, rule.threshold, rule.order) == ("center_radius", 1.5, "filter_then_choose")
    assert (rule.resolve, rule.inclusive, rule.ignore_threshold) == ("min_area", False, None)
    assert (rule.regress_ranges, rule.range_bounds, rule.offset) == (ranges, bounds, offset)


@pytest.mark.parametrize("name", NAMES)
def test_preset_is_one_frozen_rule(name: str) -> None:
    rule = getattr(presets, name)
    assert isinstance(rule, AssignRule)
    with pytest.raises(dataclasses.FrozenInstanceError):
        rule.threshold = 0.9
