"""One Triton kernel for the whole batch: a program owns a tile of points and skips the boxes that miss it."""

from __future__ import annotations

from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from pseudo_iou_ops import AssignRule, presets

from ..targets import Targets
from ..workloads import STRIDES, Batch, Pyramid

TILE_HEIGHT, TILE_WIDTH = 8, 32
METRICS = ("pseudo_iou", "centerness", "scaled_box")


def assign(batch: Batch, rule: AssignRule) -> Targets:
    boxes, labels, _ = batch.packed
    pyramid, device = batch.pyramid, boxes.device
    tiles, levels = _tables(pyramid)
    shape = (batch.num_images, pyramid.num_points)
    targets = Targets(
        matched=torch.empty(shape, dtype=torch.int64, device=device),
        labels=torch.empty(shape, dtype=torch.int64, device=device),
        ltrb=torch.empty(*shape, 4, device=device),
        score=torch.empty(shape, device=device),
        num_pos=torch.zeros(batch.num_images, dtype=torch.int64, device=device),
    )
    _assign_tile[(tiles.shape[0], batch.num_images)](
        boxes,
        labels,
        _device_offsets(batch),
        tiles,
        levels,
        *targets,
        pyramid.num_points,
        rule.threshold,
        METRIC=METRICS.index(rule.metric),
        HEIGHT=TILE_HEIGHT,
        WIDTH=TILE_WIDTH,
        enable_fp_fusion=False,  # a contracted multiply-add would round otherwise than the other contestants
    )
    return targets


@lru_cache(maxsize=8)
def _device_offsets(batch: Batch) -> Tensor:
    return batch.packed[2].to(batch.pyramid.device)


@lru_cache(maxsize=8)
def _tables(pyramid: Pyramid) -> tuple[Tensor, Tensor]:
    """Tiles (T, 6) int32: level, first row, first column, height, width and first point of the level; and levels
    (L, 3) float32: stride, low, high."""
    tiles, first_point = [], 0
    for level, (height, width) in enumerate(pyramid.level_shapes):
        for row in range(0, height, TILE_HEIGHT):
            for column in range(0, width, TILE_WIDTH):
                tiles.append((level, row, column, height, width, first_point))
        first_point += height * width
    levels = [(stride, *bounds) for stride, bounds in zip(STRIDES, presets.FCOS_RANGES, strict=True)]
    device = pyramid.device
    return torch.tensor(tiles, dtype=torch.int32, device=device), torch.tensor(levels, device=device)


@triton.jit
def _assign_tile(
    boxes,
    labels,
    offsets,
    tiles,
    levels,
    matched,
    matched_labels,
    ltrb,
    scores,
    num_pos,
    num_points,
    threshold,
    METRIC: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
):
    tile = tiles + 6 * tl.program_id(0)
    image = tl.program_id(1)
    level = levels + 3 * tl.load(tile)
    stride, low, high = tl.load(level), tl.load(level + 1), tl.load(level + 2)
    first_row, first_column = tl.load(tile + 1), tl.load(tile + 2)
    height, width = tl.load(tile + 3), tl.load(tile + 4)

    rows = first_row + tl.arange(0, HEIGHT)[:, None]
    columns = first_column + tl.arange(0, WIDTH)[None, :]
    x = (columns.to(tl.float32) + 0.5) * stride
    y = (rows.to(tl.float32) + 0.5) * stride
    left, right = first_column * stride, (first_column + WIDTH) * stride
    top, bottom = first_row * stride, (first_row + HEIGHT) * stride

    best_area = tl.full((HEIGHT, WIDTH), float("inf"), tl.float32)
    best_row = tl.full((HEIGHT, WIDTH), -1, tl.int32)
    for row in range(tl.load(offsets + image).to(tl.int32), tl.load(offsets + image + 1).to(tl.int32)):
        x1, y1 = tl.load(boxes + 4 * row), tl.load(boxes + 4 * row + 1)
        x2, y2 = tl.load(boxes + 4 * row + 2), tl.load(boxes + 4 * row + 3)
        side = tl.maximum(x2 - x1, y2 - y1)
        meets_tile = (x1 < right) & (x2 > left) & (y1 < bottom) & (y2 > top)
        if meets_tile & (side >= low) & (side * 0.5 <= high):
            area = (x2 - x1) * (y2 - y1)
            l, t, r, b = x - x1, y - y1, x2 - x, y2 - y
            is_inside = tl.minimum(tl.minimum(l, r), tl.minimum(t, b)) > 0
            longest = tl.maximum(tl.maximum(l, r), tl.maximum(t, b))
            is_better = is_inside & (longest >= low) & (longest <= high) & (area < best_area)
            best_area = tl.where(is_better, area, best_area)
            best_row = tl.where(is_better, row, best_row)

    is_chosen = best_row >= 0
    box = boxes + 4 * best_row
    l, t = x - tl.load(box, is_chosen, 0.0), y - tl.load(box + 1, is_chosen, 0.0)
    r, b = tl.load(box + 2, is_chosen, 1.0) - x, tl.load(box + 3, is_chosen, 1.0) - y
    half_width, half_height = (l + r) * 0.5, (t + b) * 0.5
    overlap_width = tl.minimum(half_width, l) + tl.minimum(half_width, r)
    overlap_height = tl.minimum(half_height, t) + tl.minimum(half_height, b)
    intersection = overlap_width * overlap_height
    full = (l + r) * (t + b)
    score = tl.div_rn(intersection, (full + full) - intersection)
    if METRIC == 0:
        passes = score > threshold
    elif METRIC == 1:
        ratio_x = tl.div_rn(tl.minimum(l, r), tl.maximum(l, r))
        ratio_y = tl.div_rn(tl.minimum(t, b), tl.maximum(t, b))
        score = tl.sqrt_rn(tl.maximum(ratio_x * ratio_y, 0.0))
        passes = score > threshold
    else:
        passes = (tl.abs(l - r) < threshold * (l + r)) & (tl.abs(t - b) < threshold * (t + b))
    is_positive = is_chosen & passes

    in_level = (rows < height) & (columns < width)
    point = image.to(tl.int64) * num_points + tl.load(tile + 5) + rows * width + columns
    label = tl.load(labels + best_row, is_positive, -1)
    tl.store(matched + point, tl.where(is_positive, best_row, -1).to(tl.int64), in_level)
    tl.store(matched_labels + point, tl.where(is_positive, label, -1), in_level)
    tl.store(ltrb + 4 * point, tl.where(is_positive, l, 0.0), in_level)
    tl.store(ltrb + 4 * point + 1, tl.where(is_positive, t, 0.0), in_level)
    tl.store(ltrb + 4 * point + 2, tl.where(is_positive, r, 0.0), in_level)
    tl.store(ltrb + 4 * point + 3, tl.where(is_positive, b, 0.0), in_level)
    tl.store(scores + point, tl.where(is_positive, score, 0.0), in_level)
    tl.atomic_add(num_pos + image, tl.sum((is_positive & in_level).to(tl.int64)))
