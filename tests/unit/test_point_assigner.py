"""`PointAssigner`: lists, packed boxes and the checks of its own."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from oracles import assert_same_bits
from samples import LEVEL_SHAPES, STRIDES, random_boxes

from pseudo_iou_ops import AssignRule, PointAssigner, assign, pack_boxes, presets

GENERATOR = torch.Generator().manual_seed(3)
BOXES = [random_boxes(count, (64, 96), GENERATOR) for count in (4, 0, 7)]
LABELS = [torch.randint(80, (len(boxes),), generator=GENERATOR) for boxes in BOXES]
REGIONS = [random_boxes(count, (64, 96), GENERATOR) for count in (0, 2, 1)]
SIZES = torch.tensor([[64, 96], [50, 60], [64, 40]])


@pytest.mark.parametrize("rule", [presets.paper, presets.fcos, presets.torchvision_fcos], ids=["paper", "fcos", "tv"])
def test_lists_packed_boxes_and_assign_agree(rule: AssignRule) -> None:
    boxes, labels, offsets = pack_boxes(BOXES, LABELS)
    regions, _, region_offsets = pack_boxes(REGIONS, [torch.zeros(len(r), dtype=torch.int64) for r in REGIONS])
    expected = assign(
        boxes, labels, offsets, LEVEL_SHAPES, STRIDES, rule,
        ignore_boxes=regions, ignore_offsets=region_offsets, valid_sizes=SIZES,
    )  # fmt: skip
    assigner = PointAssigner(STRIDES, rule)
    assert_same_bits(assigner(LEVEL_SHAPES, BOXES, LABELS, ignore_boxes=REGIONS, valid_sizes=SIZES), expected)
    packed = assigner(
        LEVEL_SHAPES,
        boxes,
        labels,
        offsets,
        ignore_boxes=regions,
        ignore_offsets=region_offsets,
        valid_sizes=SIZES,
    )
    assert_same_bits(packed, expected)


def test_pack_boxes_result_can_be_passed_on() -> None:
    assigner = PointAssigner(STRIDES)
    assert_same_bits(assigner(LEVEL_SHAPES, *pack_boxes(BOXES, LABELS)), assigner(LEVEL_SHAPES, BOXES, LABELS))


def test_offset() -> None:
    boxes, labels, offsets = pack_boxes(BOXES, LABELS)
    expected = assign(boxes, labels, offsets, LEVEL_SHAPES, STRIDES, offset=0.0)
    assert_same_bits(PointAssigner(STRIDES, offset=0.0)(LEVEL_SHAPES, BOXES, LABELS), expected)
    assert_same_bits(PointAssigner(STRIDES, AssignRule(offset=0.0))(LEVEL_SHAPES, BOXES, LABELS), expected)


def test_no_images() -> None:
    out = PointAssigner(STRIDES)(LEVEL_SHAPES, [], [])
    assert out.matched.shape == (0, 129)
    assert out.pos_per_box.shape == (0,)


def test_it_has_no_state() -> None:
    assigner = PointAssigner(STRIDES)
    assert not list(assigner.parameters())
    assert not assigner.state_dict()
    assert "pseudo_iou" in repr(assigner)


def test_out_is_written_and_returned() -> None:
    assigner = PointAssigner(STRIDES)
    expected = assigner(LEVEL_SHAPES, BOXES, LABELS)
    out = type(expected)(*(torch.full_like(field, 7) for field in expected))
    assert assigner(LEVEL_SHAPES, BOXES, LABELS, out=out) is out
    assert_same_bits(out, expected)


@pytest.mark.parametrize(
    ("argument", "arguments"),
    [
        ("strides", {"strides": 8}),
        ("strides", {"strides": [8, 0]}),
        ("strides", {"strides": [8, math.nan]}),
        ("strides", {"strides": ["8"]}),
        ("rule", {"strides": [8], "rule": "paper"}),
        ("rule.regress_ranges", {"strides": [8], "rule": presets.fcos}),
        ("offset", {"strides": [8], "offset": "0"}),
        ("offset", {"strides": [8], "offset": math.inf}),
    ],
)
def test_bad_module_is_refused_when_made(argument: str, arguments: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"^{argument}\b.*expected.*got"):
        PointAssigner(**arguments)


@pytest.mark.parametrize(
    ("argument", "arguments"),
    [
        ("offsets", {"boxes": torch.cat(BOXES), "labels": torch.cat(LABELS)}),
        ("offsets", {"boxes": BOXES, "labels": LABELS, "offsets": torch.tensor([0, 4, 4, 11])}),
        ("labels", {"boxes": BOXES, "labels": torch.cat(LABELS)}),
        ("labels", {"boxes": BOXES, "labels": LABELS[:2]}),
        ("labels", {"boxes": torch.cat(BOXES), "labels": LABELS, "offsets": torch.tensor([0, 4, 4, 11])}),
        ("boxes", {"boxes": None, "labels": LABELS}),
        ("boxes", {"boxes": [boxes[:, :3] for boxes in BOXES], "labels": LABELS}),
        ("ignore_boxes", {"boxes": BOXES, "labels": LABELS, "ignore_boxes": [r[:, :3] for r in REGIONS]}),
        ("ignore_boxes", {"boxes": BOXES, "labels": LABELS, "ignore_boxes": 3}),
        ("ignore_boxes", {"boxes": BOXES, "labels": LABELS, "ignore_boxes": []}),
        ("ignore_boxes", {"boxes": BOXES, "labels": LABELS, "ignore_boxes": REGIONS[:2]}),
        (
            "ignore_offsets",
            {
                "boxes": BOXES,
                "labels": LABELS,
                "ignore_boxes": REGIONS,
                "ignore_offsets": torch.tensor([0, 0, 2, 3]),
            },
        ),
        ("valid_sizes", {"boxes": BOXES, "labels": LABELS, "valid_sizes": SIZES[:2]}),
        ("strides", {"boxes": BOXES, "labels": LABELS, "level_shapes": LEVEL_SHAPES[:4]}),
    ],
)
def test_bad_call_is_refused_by_name(argument: str, arguments: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"^{argument}\b.*expected.*got"):
        PointAssigner(STRIDES)(**{"level_shapes": LEVEL_SHAPES, **arguments})
