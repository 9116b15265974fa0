"""`pack_boxes` and `pack_padded`: from a detector's layout to the packed one."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from oracles import assert_same_bits

from pseudo_iou_ops import AssignRule, pack_boxes, pack_padded, reference

BOXES = [torch.tensor([[0.0, 0, 8, 8], [1, 1, 9, 9]]), torch.empty(0, 4), torch.tensor([[2.0, 2, 4, 4]])]
LABELS = [torch.tensor([7, 8]), torch.empty(0, dtype=torch.int64), torch.tensor([9])]


def test_pack_boxes() -> None:
    boxes, labels, offsets = pack_boxes(BOXES, LABELS)
    assert boxes.tolist() == [[0, 0, 8, 8], [1, 1, 9, 9], [2, 2, 4, 4]]
    assert labels.tolist() == [7, 8, 9]
    assert offsets.tolist() == [0, 2, 2, 3]
    assert (boxes.dtype, labels.dtype, offsets.dtype) == (torch.float32, torch.int64, torch.int64)
    assert offsets.device.type == "cpu"


def test_pack_boxes_takes_tuples() -> None:
    for one, other in zip(pack_boxes(tuple(BOXES), tuple(LABELS)), pack_boxes(BOXES, LABELS), strict=True):
        assert torch.equal(one, other)


def test_pack_boxes_of_no_images() -> None:
    boxes, labels, offsets = pack_boxes([], [])
    assert (boxes.shape, labels.shape, offsets.tolist()) == ((0, 4), (0,), [0])
    assert (labels.dtype, offsets.dtype) == (torch.int64, torch.int64)


def test_pack_boxes_of_empty_images() -> None:
    boxes, labels, offsets = pack_boxes([torch.empty(0, 4)] * 2, [torch.empty(0, dtype=torch.int64)] * 2)
    assert (boxes.shape, labels.shape, offsets.tolist()) == ((0, 4), (0,), [0, 0, 0])


@pytest.mark.parametrize(
    ("argument", "boxes", "labels"),
    [
        ("boxes", BOXES[0], LABELS),
        ("boxes", None, LABELS),
        ("boxes", [None, *BOXES[1:]], LABELS),
        ("boxes", [torch.zeros(2, 5), *BOXES[1:]], LABELS),
        ("boxes", [torch.empty(0), *BOXES[1:]], LABELS),
        ("boxes", [BOXES[0].long(), *BOXES[1:]], LABELS),
        ("boxes", [BOXES[0].to("meta"), *BOXES[1:]], [LABELS[0].to("meta"), *LABELS[1:]]),
        ("labels", BOXES, LABELS[0]),
        ("labels", BOXES, LABELS[:2]),
        ("labels", BOXES, [LABELS[0][:1], *LABELS[1:]]),
        ("labels", BOXES, [LABELS[0].int(), *LABELS[1:]]),
        ("labels", BOXES, [[7, 8], *LABELS[1:]]),
        ("labels", BOXES, [LABELS[0].to("meta"), *LABELS[1:]]),
    ],
)
def test_pack_boxes_names_what_is_wrong(argument: str, boxes: Any, labels: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=rf"^{argument}\b.*expected.*got"):
        pack_boxes(boxes, labels)


def padded() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two images of three slots; the mask alone says which hold a box."""
    boxes = torch.tensor(
        [[[0.0, 0, 24, 24], [2, 2, 14, 14], [0, 0, 24, 24]], [[math.nan] * 4, [8, 8, 24, 24], [0, 0, 0, 0]]]
    )
    labels = torch.tensor([[1, 2, 3], [-5, 4, 99]])
    mask = torch.tensor([[True, True, False], [False, True, False]])
    return boxes, labels, mask


def test_pack_padded_keeps_the_padded_rows() -> None:
    boxes, labels, offsets = pack_padded(*padded())
    assert (boxes.shape, labels.shape) == ((6, 4), (6,))
    assert offsets.tolist() == [0, 3, 6]
    assert (offsets.dtype, offsets.device.type) == (torch.int64, "cpu")
    assert boxes[[0, 1, 4]].tolist() == [[0, 0, 24, 24], [2, 2, 14, 14], [8, 8, 24, 24]]
    assert labels[[0, 1, 4]].tolist() == [1, 2, 4]


def test_pack_padded_assigns_as_the_unpadded_lists_do() -> None:
    boxes, labels, mask = padded()
    lists = pack_boxes(
        [b[m] for b, m in zip(boxes, mask, strict=True)], [i[m] for i, m in zip(labels, mask, strict=True)]
    )
    rule = AssignRule(metric="none")
    expected = reference.assign(*lists, [(3, 3)], [8], rule)
    actual = reference.assign(*pack_padded(boxes, labels, mask), [(3, 3)], [8], rule)

    rows = torch.tensor([0, 1, 4])  # of the padded layout, in the order of the packed one
    is_positive = expected.matched >= 0
    assert torch.equal(actual.matched[is_positive], rows[expected.matched[is_positive]])
    assert torch.equal(actual.matched[~is_positive], expected.matched[~is_positive])
    assert actual.pos_per_box.tolist() == [
        expected.pos_per_box[0],
        expected.pos_per_box[1],
        0,
        0,
        expected.pos_per_box[2],
        0,
    ]
    for name in ("labels", "ltrb", "pseudo_iou", "centerness", "num_pos"):
        assert torch.equal(getattr(actual, name), getattr(expected, name)), name


def test_pack_padded_takes_the_yolo_family_s_trailing_dimension_and_float_mask() -> None:
    boxes, labels, mask = padded()
    flat = pack_padded(boxes, labels, mask)
    trailing = pack_padded(boxes, labels[..., None], mask[..., None].float())
    for one, other in zip(flat, trailing, strict=True):
        assert torch.equal(one.nan_to_num(), other.nan_to_num())


@pytest.mark.parametrize("shape", [(0, 3), (2, 0), (0, 0)], ids=str)
def test_pack_padded_of_nothing(shape: tuple[int, int]) -> None:
    boxes, labels, offsets = pack_padded(
        torch.empty(*shape, 4), torch.empty(shape, dtype=torch.int64), torch.empty(shape, dtype=torch.bool)
    )
    assert (boxes.shape, labels.shape) == ((0, 4), (0,))
    assert offsets.tolist() == [0] * (shape[0] + 1)


def test_a_padded_row_that_repeats_a_real_box_is_padding() -> None:
    """What a slot holds is never read: only the mask tells."""
    boxes, labels, mask = padded()
    filled = torch.where(mask[..., None], boxes, torch.tensor([0.0, 0, 24, 24]))
    zeroed = torch.where(mask[..., None], boxes, 0.0)
    call = lambda slots: reference.assign(*pack_padded(slots, labels, mask), [(3, 3)], [8])  # noqa: E731
    assert_same_bits(call(filled), call(zeroed))


@pytest.mark.parametrize(
    ("argument", "change"),
    [
        ("boxes", {"boxes": None}),
        ("boxes", {"boxes": torch.zeros(2, 4)}),
        ("boxes", {"boxes": torch.zeros(2, 3, 5)}),
        ("boxes", {"boxes": torch.zeros(2, 3, 4, dtype=torch.int64)}),
        ("labels", {"labels": torch.zeros(2, 4, dtype=torch.int64)}),
        ("labels", {"labels": torch.zeros(2, 3)}),
        ("labels", {"labels": [[1, 2, 3], [4, 5, 6]]}),
        ("labels", {"labels": torch.zeros(2, 3, dtype=torch.int64, device="meta")}),
        ("mask", {"mask": torch.ones(2, dtype=torch.bool)}),
        ("mask", {"mask": None}),
        ("mask", {"mask": torch.ones(2, 3, dtype=torch.bool, device="meta")}),
    ],
)
def test_pack_padded_names_what_is_wrong(argument: str, change: dict[str, Any]) -> None:
    arguments = dict(zip(("boxes", "labels", "mask"), padded(), strict=True)) | change
    with pytest.raises((ValueError, TypeError), match=rf"^{argument}\b.*expected.*got"):
        pack_padded(**arguments)
