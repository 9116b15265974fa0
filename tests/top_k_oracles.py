"""An oracle for `assign_top_k`, written from the contract alone: loops, one `numpy.float32` at a time, whole sorts.

It shares the first half of the contract, boxes and points, with `oracles`, and nothing with the library."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from oracles import (
    BACKGROUND,
    IGNORED,
    Box,
    Candidate,
    Point,
    _area,
    _covers,
    _distances,
    _is_padding,
    _is_valid,
    _owned,
    _points,
    _pseudo_iou,
    _rows,
    f32,
)
from torch import Tensor


class ExpectedTopK(NamedTuple):
    """The fields of `TopKAssignment`, in its order."""

    matched: Tensor
    labels: Tensor
    ltrb: Tensor
    iou: Tensor
    score: Tensor
    num_pos: Tensor
    pos_per_box: Tensor


class Cell(NamedTuple):
    """A point that is not padding."""

    index: int  # within the image
    level: int
    row: int
    column: int
    point: Point


def brute_force_atss(
    boxes: Tensor,
    labels: Tensor,
    offsets: Tensor,
    level_shapes: Any,
    strides: Any,
    rule: Any,
    *,
    offset: float | None = None,
    ignore_boxes: Tensor | None = None,
    ignore_offsets: Tensor | None = None,
    valid_sizes: Tensor | None = None,
) -> ExpectedTopK:
    """`rule` is anything with the attributes of `Atss`."""
    num_images = len(offsets) - 1
    points = _points(level_shapes, strides, rule.offset if offset is None else offset)
    all_boxes = _rows(boxes)
    all_regions = [] if ignore_boxes is None else _rows(ignore_boxes)
    out = ExpectedTopK(
        matched=torch.full((num_images, len(points)), BACKGROUND, dtype=torch.int64),
        labels=torch.full((num_images, len(points)), BACKGROUND, dtype=torch.int64),
        ltrb=torch.zeros(num_images, len(points), 4),
        iou=torch.zeros(num_images, len(points)),
        score=torch.zeros(num_images, len(points)),
        num_pos=torch.zeros(num_images, dtype=torch.int64),
        pos_per_box=torch.zeros(len(all_boxes), dtype=torch.int64),
    )
    with np.errstate(all="ignore"):
        for image in range(num_images):
            cells = [cell for cell in _cells(points, level_shapes)
                     if valid_sizes is None or not _is_padding(cell.point, valid_sizes[image])]  # fmt: skip
            own_boxes = [box for box in _owned(all_boxes, offsets, image) if _is_valid(box)]
            own_regions = [] if ignore_offsets is None else _owned(all_regions, ignore_offsets, image)
            chosen = {box.row: _choose(box, cells, rule) for box in own_boxes}
            kept = {cell.index for cell in cells}
            for index in range(len(points)):
                if index not in kept:
                    out.matched[image, index] = out.labels[image, index] = IGNORED
            for cell in cells:
                choosers = [box for box in own_boxes if cell.index in chosen[box.row]]
                if choosers:
                    _write(out, image, cell, _winner(choosers, own_boxes, cell, rule), labels, rule)
                elif any(_covers(region, cell.point) for region in own_regions):
                    out.matched[image, cell.index] = out.labels[image, cell.index] = IGNORED
    return out


def _cells(points: list[tuple[int, Point]], level_shapes: Any) -> list[Cell]:
    places = [(row, column) for height, width in level_shapes for row in range(height) for column in range(width)]
    return [
        Cell(index, level, *place, point)
        for index, ((level, point), place) in enumerate(zip(points, places, strict=True))
    ]


def _write(out: ExpectedTopK, image: int, cell: Cell, box: Box, labels: Tensor, rule: Any) -> None:
    out.matched[image, cell.index] = box.row
    out.labels[image, cell.index] = labels[box.row]
    out.ltrb[image, cell.index] = torch.from_numpy(np.array(_distances(box, cell.point), dtype=f32))
    out.iou[image, cell.index] = float(_value(box, cell.point, rule))
    out.score[image, cell.index] = 1
    out.num_pos[image] += 1
    out.pos_per_box[box.row] += 1


def _winner(choosers: list[Box], boxes: list[Box], cell: Cell, rule: Any) -> Box:
    competing = boxes if rule.among == "all" and len(choosers) > 1 else choosers
    return min(competing, key=lambda box: (-_value(box, cell.point, rule), box.row))


def _choose(box: Box, cells: list[Cell], rule: Any) -> set[int]:
    """The indices of the points that a box takes."""
    candidates = []
    for level in sorted({cell.level for cell in cells}):
        candidates += _closest(box, [cell for cell in cells if cell.level == level], rule.k)
    values = [_value(box, cell.point, rule) for cell in candidates]
    total = f32(0)
    for value in values:
        total = total + value
    mean = total / f32(len(values)) if values else f32(0)
    squares = f32(0)
    for value in values:
        squares = squares + (value - mean) * (value - mean)
    deviation = np.sqrt(squares / f32(len(values) - 1)) if len(values) > 1 else f32(0)
    threshold = mean + deviation
    return {
        cell.index
        for cell, value in zip(candidates, values, strict=True)
        if (value >= threshold if rule.inclusive else value > threshold)
        and min(_distances(box, cell.point)) > f32(rule.inside_margin)
    }


def _closest(box: Box, cells: list[Cell], k: int) -> list[Cell]:
    center_x, center_y = (box.x1 + box.x2) / f32(2), (box.y1 + box.y2) / f32(2)
    columns = _ranks({cell.column: cell.point.x - center_x for cell in cells})
    rows = _ranks({cell.row: cell.point.y - center_y for cell in cells})

    def key(cell: Cell) -> tuple[float, int, int]:
        dx, dy = cell.point.x - center_x, cell.point.y - center_y
        return float(dx * dx + dy * dy), rows[cell.row], columns[cell.column]

    return sorted(cells, key=key)[:k]


def _ranks(distances: dict[int, np.float32]) -> dict[int, int]:
    """By distance; of cells as far those before the center first, and the nearer one of each side."""

    def key(item: tuple[int, np.float32]) -> tuple[float, bool, int]:
        cell, distance = item
        return float(abs(distance)), bool(distance >= 0), cell if distance >= 0 else -cell

    return {cell: rank for rank, (cell, _) in enumerate(sorted(distances.items(), key=key))}


def _value(box: Box, point: Point, rule: Any) -> np.float32:
    half = f32(rule.anchor_scale) * point.stride / f32(2)
    anchor = Box(-1, point.x - half, point.y - half, point.x + half, point.y + half)
    overlap = _iou(anchor, box) if _is_valid(anchor) else f32(0)
    if rule.metric == "anchor_iou":
        return overlap
    distances = _distances(box, point)
    pseudo_iou = _pseudo_iou(Candidate(box, _area(box), *distances)) if min(distances) > 0 else f32(0)
    return pseudo_iou if rule.metric == "pseudo_iou" else pseudo_iou * overlap


def _iou(a: Box, b: Box) -> np.float32:
    width, height = min(a.x2, b.x2) - max(a.x1, b.x1), min(a.y2, b.y2) - max(a.y1, b.y1)
    overlap = max(width, f32(0)) * max(height, f32(0))
    return overlap / max((_area(a) + _area(b)) - overlap, f32(1e-6))
