"""The converters, on one result whose encodings are written out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from pseudo_iou_ops import Assignment, reference, to_class_labels, to_mmdetection, to_torchvision, to_yolo

NAN = math.nan
OFFSETS = torch.tensor([0, 2, 3])
# Row 0 is odd, so that whoever gathers it for a point without a box shows it.
BOXES = torch.tensor([[NAN, 0, math.inf, 8], [0, 0, 8, 8], [0, 0, 16, 8]])


@pytest.fixture
def assignment() -> Assignment:
    """Points (4, 4), (12, 4), (20, 4); the third is padding in the first image."""
    return reference.assign(
        BOXES, torch.tensor([5, 6, 7]), OFFSETS, [(1, 3)], [8], valid_sizes=torch.tensor([[8, 20], [8, 24]])
    )


def test_the_result_itself(assignment: Assignment) -> None:
    assert assignment.matched.tolist() == [[1, -1, -2], [2, 2, -1]]
    assert assignment.labels.tolist() == [[6, -1, -2], [7, 7, -1]]


def test_torchvision(assignment: Assignment) -> None:
    assert to_torchvision(assignment, OFFSETS).tolist() == [[1, -1, -2], [0, 0, -1]]


def test_class_labels(assignment: Assignment) -> None:
    assert to_class_labels(assignment, 80).tolist() == [[6, 80, -1], [7, 7, 80]]
    assert to_class_labels(assignment, 80, ignore_label=255).tolist() == [[6, 80, 255], [7, 7, 80]]


def test_mmdetection(assignment: Assignment) -> None:
    assert to_mmdetection(assignment, OFFSETS).tolist() == [[2, 0, -1], [1, 1, 0]]


def test_yolo(assignment: Assignment) -> None:
    targets = to_yolo(assignment, BOXES, OFFSETS, 8, quality=assignment.pseudo_iou)
    assert targets.labels.tolist() == [[6, 8, 8], [7, 7, 8]]
    assert targets.foreground.tolist() == [[True, False, False], [True, True, False]]
    assert targets.gt_index.tolist() == [[1, 0, 0], [0, 0, 0]]
    assert targets.scores.shape == (2, 3, 8)
    assert targets.scores.sum(dim=-1).tolist() == assignment.pseudo_iou.tolist()
    assert targets.scores[0, 0, 6] == 1


def test_yolo_boxes_are_zero_where_there_is_no_match_even_beside_an_odd_box(assignment: Assignment) -> None:
    targets = to_yolo(assignment, BOXES, OFFSETS, 8)
    zero = [0.0] * 4
    assert targets.boxes.tolist() == [[[0, 0, 8, 8], zero, zero], [[0, 0, 16, 8], [0, 0, 16, 8], zero]]


def test_yolo_without_boxes() -> None:
    empty, no_labels, offsets = torch.empty(0, 4), torch.empty(0, dtype=torch.int64), torch.tensor([0, 0])
    assignment = reference.assign(empty, no_labels, offsets, [(1, 3)], [8])
    targets = to_yolo(assignment, empty, offsets, 8)
    assert targets.labels.tolist() == [[8, 8, 8]]
    assert not targets.boxes.any()
    assert not targets.scores.any()
