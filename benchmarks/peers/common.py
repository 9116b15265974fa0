"""The metrics and the last step, which all the plain torch contestants share."""

from __future__ import annotations

import torch
from torch import Tensor

from pseudo_iou_ops import AssignRule
from pseudo_iou_ops.metrics import pseudo_iou_of

from ..targets import Targets
from ..workloads import Batch


def centerness(l: Tensor, t: Tensor, r: Tensor, b: Tensor) -> Tensor:
    """As one would write it: torch's own root, which can be one unit off on a CPU."""
    ratio_x = torch.minimum(l, r) / torch.maximum(l, r)
    ratio_y = torch.minimum(t, b) / torch.maximum(t, b)
    return torch.sqrt(ratio_x * ratio_y)


def score_and_filter(ltrb: Tensor, rule: AssignRule) -> tuple[Tensor, Tensor]:
    """(...) the score, and whether the point passes the metric, of (..., 4) distances in the chosen box."""
    l, t, r, b = ltrb.unbind(-1)
    if rule.metric == "centerness":
        score = centerness(l, t, r, b)
        return score, score > rule.threshold
    score = pseudo_iou_of(l, t, r, b)
    if rule.metric == "pseudo_iou":
        return score, score > rule.threshold
    in_x = (l - r).abs() < rule.threshold * (l + r)
    return score, in_x & ((t - b).abs() < rule.threshold * (t + b))


def side_distances(points: Tensor, boxes: Tensor) -> Tensor:
    """(..., 4) l t r b, from points (..., 2) and boxes (..., 4) that broadcast."""
    x, y = points.unbind(-1)
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack((x - x1, y - y1, x2 - x, y2 - y), dim=-1)


def box_areas(boxes: Tensor) -> Tensor:
    x1, y1, x2, y2 = boxes.unbind(-1)
    return (x2 - x1) * (y2 - y1)


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of boxes (..., 4) that broadcast."""
    corners = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    intersection = (corners[1] - corners[0]).clamp(min=0).prod(-1)
    return intersection / (box_areas(a) + box_areas(b) - intersection).clamp(min=1e-6)


def dense_targets(matched: Tensor, labels: Tensor, ltrb: Tensor, rule: AssignRule) -> Targets:
    """Filter what was chosen, at every point: no index, so no host synchronisation."""
    score, passing = score_and_filter(ltrb, rule)
    positive = (matched >= 0) & passing
    return Targets(
        matched=torch.where(positive, matched, -1),
        labels=torch.where(positive, labels, -1),
        ltrb=torch.where(positive[..., None], ltrb, 0),
        score=torch.where(positive, score, 0),
        num_pos=positive.sum(dim=1),
    )


def sparse_targets(batch: Batch, rule: AssignRule, where: Tensor, rows: Tensor) -> Targets:
    """Filter and write the candidates alone: flat points ``where`` (K,), which chose the boxes ``rows`` (K,)."""
    boxes, labels, _ = batch.packed
    targets = background(batch)
    ltrb = side_distances(batch.pyramid.points[where % batch.pyramid.num_points], boxes[rows])
    score, passing = score_and_filter(ltrb, rule)
    where, rows = where[passing], rows[passing]
    targets.matched.view(-1)[where] = rows
    targets.labels.view(-1)[where] = labels[rows]
    targets.ltrb.view(-1, 4)[where] = ltrb[passing]
    targets.score.view(-1)[where] = score[passing]
    targets.num_pos.copy_(torch.bincount(where // batch.pyramid.num_points, minlength=batch.num_images))
    return targets


def background(batch: Batch) -> Targets:
    points = batch.pyramid.points
    shape = (batch.num_images, batch.pyramid.num_points)
    return Targets(
        matched=points.new_full(shape, -1, dtype=torch.int64),
        labels=points.new_full(shape, -1, dtype=torch.int64),
        ltrb=points.new_zeros(*shape, 4),
        score=points.new_zeros(shape),
        num_pos=points.new_zeros(batch.num_images, dtype=torch.int64),
    )
