"""Adapters of projects that can not be installed here, against stand-ins of the interface they fill."""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from pseudo_iou_ops import AssignRule, assign, level_points, pack_boxes, presets
from pseudo_iou_ops.integrations import detectron2
from pseudo_iou_ops.integrations._grid import grid_shapes
from pseudo_iou_ops.integrations.yolo import YoloAssigner

STRIDES = (8, 16, 32, 64, 128)
SHAPES = [(20, 24), (10, 12), (5, 6), (3, 3), (2, 2)]
CLASSES = 7


class Boxes(NamedTuple):
    tensor: Tensor


class Instances(NamedTuple):
    """Stands in for detectron2's: the two fields that a dense detector's labels are made from."""

    gt_boxes: Boxes
    gt_classes: Tensor


class AnchorGenerator(nn.Module):
    """Stands in for detectron2's DefaultAnchorGenerator: called with the feature maps, knows strides and offset."""

    def __init__(self, offset: float) -> None:
        super().__init__()
        self.strides, self.offset = list(STRIDES), offset

    def forward(self, features: list[Tensor]) -> list[Boxes]:
        shapes = [(feature.shape[-2], feature.shape[-1]) for feature in features]
        counts = [height * width for height, width in shapes]
        half = torch.repeat_interleave(torch.tensor(STRIDES) / 2.0, torch.tensor(counts))[:, None]
        points = level_points(shapes, STRIDES, self.offset)
        return [Boxes(level) for level in torch.cat((points - half, points + half), dim=1).split(counts)]


class Fcos(nn.Module):
    """Stands in for detectron2's FCOS: `label_anchors` says in one loop what its documentation says."""

    num_classes = CLASSES

    def __init__(self, offset: float = 0.5) -> None:
        super().__init__()
        self.anchor_generator = AnchorGenerator(offset)

    def label_anchors(self, anchors: list[Boxes], gt_instances: list[Instances]) -> tuple[list[Tensor], list[Tensor]]:
        all_labels, all_boxes = [], []
        for instances in gt_instances:
            labels, boxes = [], []
            for position, level in enumerate(anchors):
                for x1, y1, x2, y2 in level.tensor.tolist():
                    row = self.choose((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, position, instances.gt_boxes.tensor)
                    labels.append(CLASSES if row is None else int(instances.gt_classes[row]))
                    boxes.append([0.0] * 4 if row is None else instances.gt_boxes.tensor[row].tolist())
            all_labels.append(torch.tensor(labels))
            all_boxes.append(torch.tensor(boxes))
        return all_labels, all_boxes

    def choose(self, x: float, y: float, side: float, level: int, boxes: Tensor) -> int | None:
        low = 0.0 if level == 0 else 4 * side
        high = math.inf if level == len(STRIDES) - 1 else 8 * side
        best: tuple[float, int] | None = None
        for row, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
            sides = (x - x1, y - y1, x2 - x, y2 - y)
            center_distance = max(abs(x - (x1 + x2) / 2), abs(y - (y1 + y2) / 2))
            if min(sides) > 0 and low < max(sides) < high and center_distance < 1.5 * side:
                best = min(best or (math.inf, -1), ((x2 - x1) * (y2 - y1), row))
        return None if best is None else best[1]


def make_boxes(seed: int, count: int) -> tuple[Tensor, Tensor]:
    """Whole pixels, so that the stand-in's float64 and the op's float32 agree exactly."""
    random = torch.Generator().manual_seed(seed)
    corners = torch.randint(-10, 150, (count, 2), generator=random).float()
    boxes = torch.cat((corners, corners + torch.randint(1, 180, (count, 2), generator=random)), dim=1)
    return boxes, torch.randint(0, CLASSES, (count,), generator=random)


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_detectron2_labels_are_those_of_its_own_rule(offset: float) -> None:
    own, adapted = Fcos(offset), copy.deepcopy(detectron2.use_in_fcos(Fcos(offset)))
    features = [torch.empty(3, 1, height, width) for height, width in SHAPES]
    instances = [
        Instances(Boxes(boxes), classes) for boxes, classes in (make_boxes(seed, 6 * seed) for seed in range(3))
    ]
    expected = own.label_anchors(own.anchor_generator(features), instances)
    given = adapted.label_anchors(adapted.anchor_generator(features), instances)
    for kind in (0, 1):
        assert torch.equal(torch.stack(given[kind]), torch.stack(expected[kind]))
    assert (torch.stack(given[0]) < CLASSES).sum() > 20


def test_detectron2_has_no_ignored_points() -> None:
    band = AssignRule(threshold=0.6, ignore_threshold=0.2)
    model = detectron2.use_in_fcos(Fcos(), band)
    anchors = model.anchor_generator([torch.empty(1, 1, height, width) for height, width in SHAPES])
    (labels,), _ = model.label_anchors(anchors, [Instances(Boxes(make_boxes(3, 5)[0]), make_boxes(3, 5)[1])])
    assert labels.min() >= 0
    assert labels.max() == CLASSES


def test_detectron2_refuses_what_is_no_fcos() -> None:
    with pytest.raises(TypeError, match="model: expected a detectron2 FCOS with 'anchor_generator', got Linear"):
        detectron2.use_in_fcos(nn.Linear(1, 1))


@pytest.mark.parametrize("soft", [False, True])
def test_the_yolo_slot_gets_the_five_tensors(soft: bool) -> None:
    """Called as the YOLO family calls it: predictions, points in pixels, padded boxes with a mask of numbers."""
    packed = [make_boxes(seed, count) for seed, count in ((4, 3), (5, 0))]
    boxes, labels, mask = torch.full((2, 5, 4), math.nan), torch.zeros(2, 5, 1), torch.zeros(2, 5, 1)
    boxes[0, :3], labels[0, :3, 0], mask[0, :3] = packed[0][0], packed[0][1].float(), 1.0
    points = level_points(SHAPES, STRIDES)
    scores = torch.rand(2, len(points), CLASSES)
    assigner = YoloAssigner(CLASSES, STRIDES, presets.authors_code, soft=soft)
    found_labels, found_boxes, found_scores, foreground, index = assigner(
        scores, torch.rand(2, len(points), 4), points, labels, boxes, mask
    )
    expected = assign(*pack_boxes(*map(list, zip(*packed, strict=True))), SHAPES, STRIDES, presets.authors_code)
    assert torch.equal(foreground, expected.matched >= 0)
    assert foreground[0].any()
    assert not foreground[1].any()
    assert torch.equal(found_labels[foreground], expected.labels[foreground])
    assert torch.equal(index[foreground], expected.matched[foreground])
    assert torch.equal(found_boxes[foreground], packed[0][0][expected.matched[foreground]])
    value = expected.pseudo_iou if soft else foreground.float()
    assert torch.equal(found_scores.sum(-1), value)


def test_grids_are_read_from_their_points() -> None:
    for offset in (0.0, 0.5):
        assert grid_shapes(level_points(SHAPES, STRIDES, offset), STRIDES) == SHAPES
        small = [(1, 3), (2, 1), (1, 1)]
        assert grid_shapes(level_points(small, (8, 16, 32), offset), (8, 16, 32)) == small
    assert grid_shapes(torch.empty(0, 2), (8, 16)) == [(0, 0), (0, 0)]
    with pytest.raises(ValueError, match="points: expected one regular grid per stride"):
        grid_shapes(torch.tensor([[0.0, 0], [8, 0], [0, 8], [8, 8], [9, 8]]), (8,))


def test_no_adapter_imports_the_project_it_adapts() -> None:
    import subprocess
    import sys

    script = (
        "import sys, pseudo_iou_ops.integrations as i\n"
        "from pseudo_iou_ops.integrations import detectron2, mmdetection, torchvision, yolo\n"
        "print([name for name in ('torchvision', 'mmdet', 'mmcv', 'detectron2', 'ultralytics') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
