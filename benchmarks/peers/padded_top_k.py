"""Boxes choose points in one padded (B, G, P) table, as the assigners of the YOLO family and of PP-YOLOE do it:
written anew in plain torch from the published rules, eager and compiled."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from pseudo_iou_ops import Atss, SimOta, TaskAligned
from pseudo_iou_ops.metrics import pseudo_iou_of
from pseudo_iou_ops.top_k_rules import TopKRule

from ..predicted import PredictedBatch
from .common import box_areas, box_iou, side_distances
from .padded_dynamic_k import dynamic_k
from .top_k_targets import TopKTargets, padded_targets


def assign(batch: PredictedBatch, rule: TopKRule) -> TopKTargets:
    function, *arguments = _call(batch, rule)
    return function(*arguments)


def assign_compiled(batch: PredictedBatch, rule: TopKRule) -> TopKTargets:
    function, *arguments = _call(batch, rule)
    return _compiled(function)(*arguments)


def _call(batch: PredictedBatch, rule: TopKRule) -> tuple[Any, ...]:
    """The function of the rule, and its arguments."""
    points, strides = batch.points_at(rule.offset), batch.point_strides
    if isinstance(rule, Atss):
        return _atss, points, strides, batch.pyramid.points_per_level, *batch.padded, rule
    if isinstance(rule, TaskAligned):
        return _task_aligned, points, batch.pred_boxes, batch.probabilities, *batch.padded, rule
    scores = batch.joint_probabilities if isinstance(rule, SimOta) else batch.logits
    return dynamic_k, points, strides, batch.pred_boxes, scores, *batch.padded, rule


@cache
def _compiled(function: Callable[..., TopKTargets]) -> Callable[..., TopKTargets]:
    return torch.compile(function, dynamic=True)


def _task_aligned(
    points: Tensor,
    predicted: Tensor,
    probabilities: Tensor,
    boxes: Tensor,
    labels: Tensor,
    first_rows: Tensor,
    rule: TaskAligned,
) -> TopKTargets:
    is_box = (box_areas(boxes) > 0)[..., None]
    overlaps = box_iou(boxes[:, :, None], predicted[:, None])
    if rule.iou == "ciou":
        overlaps = _complete(overlaps, boxes[:, :, None], predicted[:, None])
    class_scores = probabilities.transpose(1, 2).gather(1, labels[..., None].expand(-1, -1, points.shape[0]))
    alignments = class_scores.pow(rule.alpha) * overlaps.pow(rule.beta)
    held = is_box & (_least_distance(points, _grown(boxes, rule.min_side)) > rule.inside_margin)
    candidates = held if rule.candidates == "inside" else is_box
    best, places = torch.where(candidates, alignments, 0).topk(min(rule.k, points.shape[0]), dim=2)
    chosen = torch.zeros_like(held).scatter_(2, places, best > 0) & held
    competing = {"choosers": chosen, "holders": held, "all": is_box.expand_as(held)}[rule.among]
    row, is_positive = _resolved(chosen, competing, overlaps)
    mine = is_positive[:, None] & (torch.arange(boxes.shape[1], device=boxes.device)[:, None] == row[:, None])
    own = torch.where(mine, alignments, 0)
    largest = torch.where(mine, overlaps, 0).amax(2, keepdim=True)
    score = (own / (own.amax(2, keepdim=True) + rule.eps) * largest).amax(1)
    return padded_targets(row, is_positive, labels, first_rows, score)


def _atss(
    points: Tensor,
    point_strides: Tensor,
    points_per_level: list[int],
    boxes: Tensor,
    labels: Tensor,
    first_rows: Tensor,
    rule: Atss,
) -> TopKTargets:
    is_box = (box_areas(boxes) > 0)[..., None]
    half = rule.anchor_scale * point_strides[:, None] / 2
    values = box_iou(boxes[:, :, None], torch.cat((points - half, points + half), dim=1))
    distances_to_sides = side_distances(points, boxes[:, :, None])
    if rule.metric == "product":
        own = pseudo_iou_of(*distances_to_sides.unbind(-1))
        values = torch.where(distances_to_sides.amin(-1) > 0, own * values, 0)
    centers = (boxes[..., :2] + boxes[..., 2:]) / 2
    distances = (points - centers[:, :, None]).square().sum(-1)
    places, first = [], 0
    for level in distances.split(points_per_level, dim=2):
        places.append(level.topk(min(rule.k, level.shape[2]), dim=2, largest=False).indices + first)
        first += level.shape[2]
    closest = torch.cat(places, dim=2)
    of_closest = values.gather(2, closest)
    threshold = of_closest.mean(2, keepdim=True) + of_closest.std(2, keepdim=True)
    passes = of_closest >= threshold if rule.inclusive else of_closest > threshold
    held = is_box & (distances_to_sides.amin(-1) > rule.inside_margin)
    chosen = torch.zeros_like(held).scatter_(2, closest, passes) & held
    competing = chosen if rule.among == "choosers" else is_box.expand_as(held)
    row, is_positive = _resolved(chosen, competing, values)
    return padded_targets(row, is_positive, labels, first_rows, is_positive.to(values.dtype))


def _complete(iou: Tensor, g: Tensor, p: Tensor) -> Tensor:
    """Complete IoU (Zheng et al. 2020), floored at 0."""
    center_offset = (g[..., :2] + g[..., 2:] - p[..., :2] - p[..., 2:]).square().sum(-1) / 4
    enclosing = torch.maximum(g[..., 2:], p[..., 2:]) - torch.minimum(g[..., :2], p[..., :2])
    diagonal = enclosing.square().sum(-1) + 1e-7
    (gw, gh), (pw, ph) = (g[..., 2:] - g[..., :2]).unbind(-1), (p[..., 2:] - p[..., :2]).unbind(-1)
    v = 4 / math.pi**2 * (torch.atan(gw / gh) - torch.atan(pw / ph)).square()
    # A row of the padding has no shape, and a prediction can be no box.
    return torch.where(iou > 0, iou - (center_offset / diagonal + v * v / (v - iou + (1 + 1e-7))), 0).clamp(min=0)


def _grown(boxes: Tensor, min_side: float) -> Tensor:
    center = (boxes[..., :2] + boxes[..., 2:]) / 2
    is_short = (boxes[..., 2:] - boxes[..., :2] < min_side).repeat(1, 1, 2)
    return torch.where(is_short, torch.cat((center - min_side / 2, center + min_side / 2), dim=-1), boxes)


def _least_distance(points: Tensor, boxes: Tensor) -> Tensor:
    """(B, G, P) from a point to the closest side of a box."""
    return side_distances(points, boxes[:, :, None]).amin(-1)


def _resolved(chosen: Tensor, competing: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """(B, P) the row within the image of each point's box, and whether it has one."""
    choosers = chosen.sum(1)
    strongest = torch.where(competing, values, -1).argmax(1)
    row = torch.where(choosers > 1, strongest, chosen.to(torch.uint8).argmax(1))
    return row, choosers > 0
