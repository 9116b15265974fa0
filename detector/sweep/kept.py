"""What a rule leaves of the boxes: no image is read, so that a whole data set takes seconds."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch

from pseudo_iou_ops import AssignRule, assign

from ..config import DataConfig
from ..data import Annotations
from ..data.loader import SIZE_DIVISOR
from ..model.backbone import STRIDES


class Kept(NamedTuple):
    """Shares in [0, 1]."""

    points: float
    """Of the points inside boxes and in range, those that stay positive: the kept share of the boxes' area."""
    boxes_without_positive: float


def kept_by(rule: AssignRule, annotations: Annotations, data: DataConfig) -> Kept:
    """Assign every image of a data set at the size that it is evaluated at; crowd and difficult boxes are left out."""
    everything = dataclasses.replace(rule, metric="none", ignore_threshold=None, resolve="min_area")
    positive = inside = unmatched = boxes = 0
    for index in range(len(annotations)):
        rows = annotations.rows(index)
        used = ~annotations.ignore[rows]
        height, width = annotations.sizes[index].tolist()
        scale = min(data.eval_short_side / min(height, width), data.max_side / max(height, width))
        arguments = (
            annotations.boxes[rows][used] * scale,
            annotations.labels[rows][used],
            torch.tensor([0, int(used.sum())]),
            level_shapes(max(1, int(height * scale)), max(1, int(width * scale))),
            STRIDES,
        )
        result = assign(*arguments, rule)
        positive += int(result.num_pos)
        inside += int(assign(*arguments, everything).num_pos)
        unmatched += int((result.pos_per_box == 0).sum())
        boxes += len(result.pos_per_box)
    return Kept(positive / max(inside, 1), unmatched / max(boxes, 1))


def level_shapes(height: int, width: int) -> list[tuple[int, int]]:
    """(H, W) of P3..P7 for an image that is padded to whole cells of P5."""
    rows, columns = (-(-side // SIZE_DIVISOR) * SIZE_DIVISOR for side in (height, width))
    return [(-(-rows // stride), -(-columns // stride)) for stride in STRIDES]
