"""An oracle for `assign_top_k` with a `TaskAligned`: the contract read aloud, one `numpy.float32` at a time.

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
    _is_padding,
    _is_valid,
    _owned,
    _points,
    _rows,
    f32,
)
from top_k_oracles import ExpectedTopK, _iou
from torch import Tensor


class Pair(NamedTuple):
    """A box and a point of one image."""

    alignment: np.float32
    overlap: np.float32
    holds: bool


def brute_force_task_aligned(
    boxes: Tensor,
    labels: Tensor,
    offsets: Tensor,
    level_shapes: Any,
    strides: Any,
    rule: Any,
    *,
    pred_boxes: Any,
    scores: Any,
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
    predicted, values = _as_rows(pred_boxes), _as_rows(scores)
    with np.errstate(all="ignore"):
        for image in range(num_images):
            is_padding = [valid_sizes is not None and _is_padding(point, valid_sizes[image]) for point in points]
            own = [box for box in _owned(all_boxes, offsets, image) if _is_valid(box)]
            pairs = {
                (box.row, p): _pair(box, int(labels[box.row]), point, predicted[image][p], values[image][p],
                                    rule, box_format, score_kind)
                for box in own for p, point in enumerate(points)
            }  # fmt: skip
            final = _assign(own, pairs, is_padding, rule)
            regions = [] if ignore_offsets is None else _owned(all_regions, ignore_offsets, image)
            for p, point in enumerate(points):
                if p in final:
                    box, score = final[p]
                    out.matched[image, p], out.labels[image, p] = box.row, labels[box.row]
                    out.ltrb[image, p] = torch.from_numpy(np.array(_distances(box, point), dtype=f32))
                    out.iou[image, p], out.score[image, p] = float(pairs[box.row, p].overlap), float(score)
                    out.num_pos[image] += 1
                    out.pos_per_box[box.row] += 1
                elif is_padding[p] or any(_covers(region, point) for region in regions):
                    out.matched[image, p] = out.labels[image, p] = IGNORED
    return out


def _assign(
    boxes: list[Box], pairs: dict[tuple[int, int], Pair], is_padding: list[bool], rule: Any
) -> dict[int, tuple[Box, np.float32]]:
    """The box and the score of each positive point."""
    chosen: dict[int, list[Box]] = {}
    for box in boxes:
        candidates = [
            p
            for p, padding in enumerate(is_padding)
            if not padding and pairs[box.row, p].alignment > 0 and (rule.candidates == "all" or pairs[box.row, p].holds)
        ]
        best = sorted(candidates, key=lambda p: (-pairs[box.row, p].alignment, p))[: rule.k]
        for p in best:
            if pairs[box.row, p].holds:
                chosen.setdefault(p, []).append(box)
    points_of: dict[int, list[int]] = {}
    for p, choosers in chosen.items():
        competing = choosers
        if len(choosers) > 1 and rule.among != "choosers":
            competing = [box for box in boxes if rule.among == "all" or pairs[box.row, p].holds]
        winner = min(competing, key=lambda box: (-pairs[box.row, p].overlap, box.row))
        points_of.setdefault(winner.row, []).append(p)
    final = {}
    for box in boxes:
        mine = sorted(points_of.get(box.row, []), key=lambda p: (-pairs[box.row, p].alignment, p))[: rule.keep]
        for p in mine:
            divisor = pairs[box.row, mine[0]].alignment + f32(rule.eps)
            largest = max(pairs[box.row, q].overlap for q in mine)
            final[p] = (box, pairs[box.row, p].alignment / divisor * largest)
    return final


def _pair(
    box: Box, label: int, point: Point, predicted: np.ndarray, scores: np.ndarray, rule: Any, box_format: str, kind: str
) -> Pair:
    a, b, c, d = predicted
    if box_format == "ltrb":
        a, b, c, d = point.x - a, point.y - b, point.x + c, point.y + d
    prediction = Box(-1, a, b, c, d)
    overlap = f32(0)
    if _is_valid(prediction):
        overlap = _ciou(prediction, box) if rule.iou == "ciou" else _iou(prediction, box)
    p = _probability(scores[label], kind) if 0 <= label < len(scores) else f32(0)
    grown = _grown(box, f32(rule.min_side))
    alignment = _power(p, rule.alpha) * _chain(overlap, rule.beta)
    return Pair(alignment, overlap, bool(min(_distances(grown, point)) > f32(rule.inside_margin)))


def _as_rows(levels: Any) -> np.ndarray:
    """(B, P, C) float32."""
    listed = [levels] if isinstance(levels, Tensor) else levels
    parts = [level.flatten(2).transpose(1, 2) if level.ndim == 4 else level for level in listed]
    return torch.cat([part.float() for part in parts], dim=1).numpy()


def _grown(box: Box, side: np.float32) -> Box:
    x1, y1, x2, y2 = box.x1, box.y1, box.x2, box.y2
    if x2 - x1 < side:
        x1, x2 = (x1 + x2) / f32(2) - side / f32(2), (x1 + x2) / f32(2) + side / f32(2)
    if y2 - y1 < side:
        y1, y2 = (y1 + y2) / f32(2) - side / f32(2), (y1 + y2) / f32(2) + side / f32(2)
    return Box(box.row, x1, y1, x2, y2)


def _ciou(p: Box, g: Box) -> np.float32:
    iou = _iou(p, g)
    dx, dy = ((g.x1 + g.x2) - p.x1) - p.x2, ((g.y1 + g.y2) - p.y1) - p.y2
    cw, ch = max(p.x2, g.x2) - min(p.x1, g.x1), max(p.y2, g.y2) - min(p.y1, g.y1)
    distance = ((dx * dx + dy * dy) / f32(4)) / ((cw * cw + ch * ch) + f32(1e-7))
    d = _atan(g.x2 - g.x1, g.y2 - g.y1) - _atan(p.x2 - p.x1, p.y2 - p.y1)
    v = f32(4 / np.pi**2) * (d * d)
    value = iou - (distance + v * (v / ((v - iou) + f32(1 + 1e-7))))
    return value if value > 0 else f32(0)


def _atan(a: np.float32, b: np.float32) -> np.float32:
    ratio = min(a, b) / max(a, b)
    square, series = ratio * ratio, f32(0.002622224)
    for c in (-0.0151324505, 0.041121714, -0.07366693, 0.10573926, -0.14185974, 0.19990396, -0.33332986):
        series = series * square + f32(c)
    angle = (ratio * square) * series + ratio
    return f32(np.pi / 2) - angle if a > b else angle


def _probability(score: np.float32, kind: str) -> np.float32:
    if np.isnan(score):
        return f32(0)
    if kind == "probabilities":
        return min(max(score, f32(0)), f32(1))
    e = f32(0) if abs(score) > 87 else _exp(-abs(score))
    return (e if score < 0 else f32(1)) / (f32(1) + e)


def _exp(x: np.float32) -> np.float32:
    """Of x <= 0."""
    x = max(x, f32(-87))
    rounder = f32(12582912)
    shifted = x * f32(1.44269504) + rounder
    whole = shifted - rounder
    rest = whole * f32(2.12194440e-4) + (whole * f32(-0.693359375) + x)
    series = f32(1.381446724e-3)
    for c in (8.368780836e-3, 4.166839272e-2, 1.666651964e-1, 4.999999404e-1):
        series = series * rest + f32(c)
    return np.ldexp(((series * rest) * rest + rest) + f32(1), int(whole))


def _log(x: np.float32) -> np.float32:
    mantissa, exponent = np.frexp(x)  # in [1/2, 1)
    if mantissa <= f32(2**-0.5):
        mantissa, exponent = mantissa * f32(2), exponent - 1
    s = (mantissa - f32(1)) / (mantissa + f32(1))
    square, series = s * s, f32(2 / 13)
    for divisor in (11, 9, 7, 5, 3):
        series = series * square + f32(2 / divisor)
    rest, whole = (series * square) * s + (s + s), f32(exponent)
    return whole * f32(0.693359375) + (whole * f32(-2.12194440e-4) + rest)


def _power(p: np.float32, alpha: float) -> np.float32:
    fixed = {0.0: f32(1), 0.5: np.sqrt(p), 1.0: p, 2.0: p * p}
    if alpha in fixed:
        return fixed[alpha]
    return min(_exp(f32(alpha) * _log(p)), f32(1)) if p > 0 else f32(0)


def _chain(x: np.float32, n: int) -> np.float32:
    square = x * x
    cube, fourth = square * x, square * square
    return (f32(1), x, square, cube, fourth, fourth * x, cube * cube, (cube * cube) * x, fourth * fourth)[n]
