"""What a rule leaves of the boxes: no image is read, so that a whole data set takes seconds."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch

from pseudo_iou_ops import AssignRule, assign, make_assigner

from ..assign_config import Rule
from ..config import DataConfig
from ..data import Annotations
from ..model.backbone import STRIDES, level_shapes


class Kept(NamedTuple):
    """Shares in [0, 1]."""

    points: float
    """Of the points inside boxes and in range, those that stay positive: the kept share of the boxes' area."""
    boxes_without_positive: float


def kept_by(rule: Rule, annotations: Annotations, data: DataConfig) -> Kept | None:
    """Assign every image of a data set at the size that it is evaluated at; crowd and difficult boxes are left out.

    None for a rule that reads predictions: what it keeps changes with the network.
    """
    assigner = make_assigner(STRIDES, rule)
    if assigner.needs_predictions:
        return None
    inside_rule = _without_metric(rule)
    positive = inside = unmatched = boxes = 0
    for index in range(len(annotations)):
        rows = annotations.rows(index)
        used = ~annotations.ignore[rows]
        height, width = annotations.sizes[index].tolist()
        scale = min(data.eval_short_side / min(height, width), data.max_side / max(height, width))
        shapes = level_shapes(max(1, int(height * scale)), max(1, int(width * scale)))
        targets = (
            annotations.boxes[rows][used] * scale,
            annotations.labels[rows][used],
            torch.tensor([0, int(used.sum())]),
        )
        result = assigner(shapes, *targets)
        positive += int(result.num_pos)
        inside += int(assign(*targets, shapes, STRIDES, inside_rule).num_pos)
        unmatched += int((result.pos_per_box == 0).sum())
        boxes += len(result.pos_per_box)
    return Kept(positive / max(inside, 1), unmatched / max(boxes, 1))


def _without_metric(rule: Rule) -> AssignRule:
    """The rule to which every point inside a box is positive, in the range of its level if the rule has ranges."""
    if not isinstance(rule, AssignRule):
        return AssignRule(metric="none", offset=rule.offset)
    return dataclasses.replace(rule, metric="none", ignore_threshold=None, resolve="min_area")
