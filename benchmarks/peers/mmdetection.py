"""As mmdetection's FCOSHead makes targets: image by image, every point against every box of the image.

``assign_scalar`` filters as the code released with the paper does, one candidate after another in Python, with
tensor comparisons that each wait for the device. ``assign`` filters all candidates at once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pseudo_iou_ops import AssignRule

from ..targets import Targets
from ..workloads import Batch
from .common import box_areas, score_and_filter

# mmdetection's mark of "no box", in the place of an area.
NO_BOX = 1e8


def assign(batch: Batch, rule: AssignRule) -> Targets:
    matched, labels, ltrb = _choose(batch)
    where = (matched >= 0).nonzero(as_tuple=True)
    score, passing = score_and_filter(ltrb[where], rule)
    return _filtered(matched, labels, ltrb, where, score, passing)


def assign_scalar(batch: Batch, rule: AssignRule) -> Targets:
    matched, labels, ltrb = _choose(batch)
    where = (matched >= 0).nonzero(as_tuple=True)
    values = [_scalar_pseudo_iou(*distances) for distances in ltrb[where]]
    score = torch.stack(values) if values else ltrb.new_zeros(0)
    return _filtered(matched, labels, ltrb, where, score, score > rule.threshold)


def _choose(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    first_row, images = 0, []
    for boxes, labels in zip(batch.boxes, batch.labels, strict=True):
        images.append(_choose_in_image(batch.pyramid.points, batch.pyramid.ranges, boxes, labels, first_row))
        first_row += boxes.shape[0]
    matched, matched_labels, ltrb = (torch.stack(parts) for parts in zip(*images, strict=True))
    return matched, matched_labels, ltrb


def _choose_in_image(
    points: Tensor, ranges: Tensor, boxes: Tensor, labels: Tensor, first_row: int
) -> tuple[Tensor, Tensor, Tensor]:
    num_points, num_boxes = points.shape[0], boxes.shape[0]
    if num_boxes == 0:
        background = labels.new_full((num_points,), -1)
        return background, background.clone(), boxes.new_zeros(num_points, 4)
    areas = box_areas(boxes).repeat(num_points, 1)
    ranges = ranges[:, None].expand(num_points, num_boxes, 2)
    boxes = boxes[None].expand(num_points, num_boxes, 4)
    x = points[:, 0, None].expand(num_points, num_boxes)
    y = points[:, 1, None].expand(num_points, num_boxes)
    sides = (x - boxes[..., 0], y - boxes[..., 1], boxes[..., 2] - x, boxes[..., 3] - y)
    ltrb = torch.stack(sides, dim=-1)

    is_inside = ltrb.min(dim=-1).values > 0
    longest = ltrb.max(dim=-1).values
    in_range = (longest >= ranges[..., 0]) & (longest <= ranges[..., 1])
    areas[~is_inside] = NO_BOX
    areas[~in_range] = NO_BOX
    smallest, chosen = areas.min(dim=1)

    matched, matched_labels = chosen + first_row, labels[chosen]
    matched[smallest == NO_BOX] = -1
    matched_labels[smallest == NO_BOX] = -1
    return matched, matched_labels, ltrb[range(num_points), chosen]  # a Python range, as theirs


def _scalar_pseudo_iou(l: Tensor, t: Tensor, r: Tensor, b: Tensor) -> Tensor:
    """Algorithm 1 on scalar tensors: each ``if`` reads one back."""
    half_width, half_height = (l + r) / 2, (t + b) / 2
    left = l if l < half_width else half_width
    right = r if r < half_width else half_width
    top = t if t < half_height else half_height
    bottom = b if b < half_height else half_height
    intersection = (left + right) * (top + bottom)
    area = (l + r) * (t + b)
    return intersection / ((area + area) - intersection)


def _filtered(
    matched: Tensor,
    labels: Tensor,
    ltrb: Tensor,
    where: tuple[Tensor, ...],
    score: Tensor,
    passing: Tensor,
) -> Targets:
    dropped = tuple(index[~passing] for index in where)
    matched[dropped] = -1
    labels[dropped] = -1
    scores = ltrb.new_zeros(matched.shape)
    scores[where] = torch.where(passing, score, 0)
    positive = matched >= 0
    ltrb[~positive] = 0
    return Targets(matched, labels, ltrb, scores, positive.sum(dim=1))
