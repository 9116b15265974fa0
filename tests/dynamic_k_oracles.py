"""An oracle for `assign_top_k` with a `SimOta` or a `SoftLabel`: the contract read aloud, in `numpy.float32` scalars.

Nothing here imports the library; boxes and points are those of `oracles`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from oracles import (
    BACKGROUND,
    IGNORED,
    Box,
    Point,
    _covers,
    _distances,
    _is_inside,
    _is_padding,
    _is_valid,
    _owned,
    _points,
    _rows,
    f32,
)
from task_aligned_oracles import _as_rows, _exp, _log, _probability
from top_k_oracles import ExpectedTopK, _iou
from torch import Tensor


class Pair(NamedTuple):
    """A box and a point of one image."""

    overlap: np.float32
    cost: np.float32
    is_own: bool
    makes_valid: bool


class Prediction(NamedTuple):
    """What a head predicts at a point."""

    box: Box
    scores: list[np.float32]
    """Of the classes, as the cost reads them: joint probabilities, or logits of soft labels."""
    negative_sum: np.float32


def brute_force_dynamic_k(
    boxes: Tensor,
    labels: Tensor,
    offsets: Tensor,
    level_shapes: Any,
    strides: Any,
    rule: Any,
    *,
    pred_boxes: Any,
    scores: Any,
    objectness: Any = None,
    box_format: str,
    score_kind: str,
    offset: float | None = None,
    ignore_boxes: Tensor | None = None,
    ignore_offsets: Tensor | None = None,
    valid_sizes: Tensor | None = None,
) -> ExpectedTopK:
    num_images = len(offsets) - 1
    points = [point for _, point in _points(level_shapes, strides, rule.offset if offset is None else offset)]
    all_boxes, count = _rows(boxes), len(points)
    all_regions = [] if ignore_boxes is None else _rows(ignore_boxes)
    out = ExpectedTopK(
        matched=torch.full((num_images, count), BACKGROUND),
        labels=torch.full((num_images, count), BACKGROUND),
        ltrb=torch.zeros(num_images, count, 4),
        iou=torch.zeros(num_images, count),
        score=torch.zeros(num_images, count),
        num_pos=torch.zeros(num_images, dtype=torch.int64),
        pos_per_box=torch.zeros(len(all_boxes), dtype=torch.int64),
    )
    corners, values = _as_rows(pred_boxes), _as_rows(scores)
    of_object = None if objectness is None else _as_rows(_with_channel(objectness))
    with np.errstate(all="ignore"):
        for image in range(num_images):
            predictions = [
                _prediction(corners[image][p], values[image][p], None if of_object is None else of_object[image][p][0],
                            point, rule, box_format, score_kind)
                for p, point in enumerate(points)
            ]  # fmt: skip
            own = [box for box in _owned(all_boxes, offsets, image) if _is_valid(box)]
            pairs = {
                (box.row, p): _pair(box, int(labels[box.row]), point, predictions[p], rule)
                for box in own for p, point in enumerate(points)
            }  # fmt: skip
            is_padding = [valid_sizes is not None and _is_padding(point, valid_sizes[image]) for point in points]
            final = _assign(own, pairs, is_padding, rule)
            regions = [] if ignore_offsets is None else _owned(all_regions, ignore_offsets, image)
            for p, point in enumerate(points):
                if p in final:
                    box = final[p]
                    out.matched[image, p], out.labels[image, p] = box.row, labels[box.row]
                    out.ltrb[image, p] = torch.from_numpy(np.array(_distances(box, point), dtype=f32))
                    out.iou[image, p] = out.score[image, p] = float(pairs[box.row, p].overlap)
                    out.num_pos[image] += 1
                    out.pos_per_box[box.row] += 1
                elif is_padding[p] or any(_covers(region, point) for region in regions):
                    out.matched[image, p] = out.labels[image, p] = IGNORED
    return out


def _assign(boxes: list[Box], pairs: dict[tuple[int, int], Pair], is_padding: list[bool], rule: Any) -> dict[int, Box]:
    """The box of each positive point."""
    valid = [
        p for p, padding in enumerate(is_padding) if not padding and any(pairs[box.row, p].makes_valid for box in boxes)
    ]

    def key(box: Box, p: int) -> tuple[bool, np.float32]:
        return not pairs[box.row, p].is_own, pairs[box.row, p].cost

    chosen: dict[int, list[Box]] = {}
    for box in boxes:
        total = f32(0)
        for overlap in sorted((pairs[box.row, p].overlap for p in valid), reverse=True)[: rule.top_ious]:
            total = total + overlap
        for p in sorted(valid, key=lambda p: (*key(box, p), p))[: max(1, int(total))]:
            chosen.setdefault(p, []).append(box)
    return {
        p: choosers[0] if len(choosers) == 1 else min(boxes, key=lambda box: (*key(box, p), box.row))
        for p, choosers in chosen.items()
    }


def _prediction(
    corners: np.ndarray,
    scores: np.ndarray,
    objectness: np.float32 | None,
    point: Point,
    rule: Any,
    box_format: str,
    kind: str,
) -> Prediction:
    a, b, c, d = corners
    if box_format == "ltrb":
        a, b, c, d = point.x - a, point.y - b, point.x + c, point.y + d
    box = Box(-1, a, b, c, d)
    if _is_soft(rule):
        logits = [_logit(score) for score in scores]
        return Prediction(box, logits, _sum([_soft_absence(x) for x in logits]))
    joint = [_probability(score, kind) for score in scores]
    if objectness is not None:
        joint = [np.sqrt(p * _probability(objectness, kind)) for p in joint]
    return Prediction(box, joint, _sum([-_floored_log(f32(1) - p) for p in joint]))


def _is_soft(rule: Any) -> bool:
    """`rule` is anything with the attributes of `SimOta` or `SoftLabel`, which has no region."""
    return not hasattr(rule, "region")


def _sum(terms: list[np.float32]) -> np.float32:
    sums = [f32(0)] * 8
    for c, term in enumerate(terms):
        sums[c % 8] = sums[c % 8] + term
    a, b, c, d, e, f, g, h = sums
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


def _pair(box: Box, label: int, point: Point, prediction: Prediction, rule: Any) -> Pair:
    overlap = _iou(prediction.box, box) + f32(0) if _is_valid(prediction.box) else f32(0)
    in_box = _is_inside(_distances(box, point))
    score = prediction.scores[label] if 0 <= label < len(prediction.scores) else None
    if _is_soft(rule):
        x = f32(-100) if score is None else score
        difference = overlap - _probability(x, "logits")
        presence = (_softplus(x) - x * overlap) * (difference * difference)
        classes = (prediction.negative_sum - _soft_absence(x)) + presence
        cost = (classes + _overlap_cost(overlap, rule)) + _center_prior(box, point, rule)
        return Pair(overlap, max(cost, f32(0)), True, in_box)
    p = f32(0) if score is None else score
    classes = (prediction.negative_sum + _floored_log(f32(1) - p)) - _floored_log(p)
    cost = classes * f32(rule.cls_weight) + _overlap_cost(overlap, rule)
    in_center = _is_inside(_distances(_center_square(box, f32(rule.radius) * point.stride), point))
    if rule.region == "center":
        return Pair(overlap, max(cost, f32(0)), in_center, in_center)
    return Pair(overlap, max(cost, f32(0)), in_box and in_center, in_box or in_center)


def _logit(score: np.float32) -> np.float32:
    return f32(-100) if np.isnan(score) else min(max(score, f32(-100)), f32(100))


def _soft_absence(x: np.float32) -> np.float32:
    p = _probability(x, "logits")
    return (_softplus(x) * p) * p


def _softplus(x: np.float32) -> np.float32:
    e = _exp(-abs(x))
    s = e / (f32(2) + e)
    square, series = s * s, f32(1.400633305e-1)
    for c in (1.400083899e-1, 2.001076639e-1, 3.333320916e-1):
        series = series * square + f32(c)
    artanh = (series * square) * s + s
    return max(x, f32(0)) + (artanh + artanh)


def _center_prior(box: Box, point: Point, rule: Any) -> np.float32:
    """10 to the power of the distance in strides less the radius."""
    dx, dy = point.x - (box.x1 + box.x2) / f32(2), point.y - (box.y1 + box.y2) / f32(2)
    x = np.sqrt(dx * dx + dy * dy) / point.stride - f32(rule.radius)
    power = _exp(-abs(x) * f32(np.log(10)))
    return f32(1) / power if x > 0 else power


def _overlap_cost(overlap: np.float32, rule: Any) -> np.float32:
    return -_floored_log(overlap + f32(rule.eps)) * f32(rule.iou_weight)


def _center_square(box: Box, reach: np.float32) -> Box:
    x, y = (box.x1 + box.x2) / f32(2), (box.y1 + box.y2) / f32(2)
    return Box(-1, x - reach, y - reach, x + reach, y + reach)


def _floored_log(x: np.float32) -> np.float32:
    return _log(x) if x >= f32(2.0**-126) else f32(-100)


def _with_channel(levels: Any) -> Any:
    listed = [levels] if isinstance(levels, Tensor) else levels
    return [level.unsqueeze(-1) if level.ndim == 2 else level for level in listed]
