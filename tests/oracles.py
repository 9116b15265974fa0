"""Oracles for `pseudo_iou_ops.assign`, written from the contract alone: nothing here imports the library.

`brute_force` is the contract read aloud: loops over images, points and boxes, every operation on one
`numpy.float32` scalar at a time. `authors_code_oracle` is the released method (FCOS assignment, then a
Pseudo-IoU filter on the winner) as whole-tensor PyTorch, with the (points x boxes) matrix the kernels avoid.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

BACKGROUND = -1
IGNORED = -2
FCOS_RANGES = ((-1.0, 64.0), (64.0, 128.0), (128.0, 256.0), (256.0, 512.0), (512.0, 1e8))

f32 = np.float32


class Expected(NamedTuple):
    """The fields of `Assignment`, in its order."""

    matched: Tensor
    labels: Tensor
    ltrb: Tensor
    pseudo_iou: Tensor
    centerness: Tensor
    num_pos: Tensor
    pos_per_box: Tensor


class Point(NamedTuple):
    x: np.float32
    y: np.float32
    stride: np.float32


class Box(NamedTuple):
    row: int
    x1: np.float32
    y1: np.float32
    x2: np.float32
    y2: np.float32


class Candidate(NamedTuple):
    """A box seen from a point that lies inside it."""

    box: Box
    area: np.float32
    l: np.float32
    t: np.float32
    r: np.float32
    b: np.float32


def assert_same_bits(actual: Any, expected: Any) -> None:
    """Two assignments field by field: shape, dtype and every bit, so that -0.0 and NaN are told apart."""
    names = getattr(actual, "_fields", Expected._fields)
    for name, one, other in zip(names, actual, expected, strict=True):
        assert one.dtype == other.dtype, f"{name}: {one.dtype} is not {other.dtype}"
        assert one.shape == other.shape, f"{name}: {tuple(one.shape)} is not {tuple(other.shape)}"
        one, other = one.cpu(), other.cpu()
        differs = _bits(one) != _bits(other)
        if differs.any():
            first = tuple(differs.nonzero()[0].tolist())
            raise AssertionError(
                f"{name}: {int(differs.sum())} of {differs.numel()} differ, first at {first}: "
                f"{one[first].item()!r} is not {other[first].item()!r}"
            )


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(torch.int32) if tensor.dtype == torch.float32 else tensor


# --------------------------------------------------------------------------------------------------------
# Brute force
# --------------------------------------------------------------------------------------------------------


def brute_force(
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
) -> Expected:
    """`assign` by three nested loops. `rule` is anything with the attributes of `AssignRule`."""
    num_images = len(offsets) - 1
    points = _points(level_shapes, strides, rule.offset if offset is None else offset)
    all_boxes = _rows(boxes)
    all_regions = [] if ignore_boxes is None else _rows(ignore_boxes)
    classes = labels.tolist()

    out = Expected(
        matched=torch.full((num_images, len(points)), BACKGROUND, dtype=torch.int64),
        labels=torch.full((num_images, len(points)), BACKGROUND, dtype=torch.int64),
        ltrb=torch.zeros(num_images, len(points), 4),
        pseudo_iou=torch.zeros(num_images, len(points)),
        centerness=torch.zeros(num_images, len(points)),
        num_pos=torch.zeros(num_images, dtype=torch.int64),
        pos_per_box=torch.zeros(len(all_boxes), dtype=torch.int64),
    )
    with np.errstate(all="ignore"):
        for image in range(num_images):
            own_boxes = _owned(all_boxes, offsets, image)
            own_regions = [] if ignore_offsets is None else _owned(all_regions, ignore_offsets, image)
            for p, (level, point) in enumerate(points):
                if valid_sizes is not None and _is_padding(point, valid_sizes[image]):
                    out.matched[image, p] = out.labels[image, p] = IGNORED
                    continue
                winner, in_band = _decide(own_boxes, point, level, rule)
                if winner is not None:
                    row = winner.box.row
                    out.matched[image, p] = row
                    out.labels[image, p] = classes[row]
                    out.ltrb[image, p] = _targets(winner, point, rule.normalize_by_stride)
                    out.pseudo_iou[image, p] = float(_pseudo_iou(winner))
                    out.centerness[image, p] = float(_centerness(winner))
                    out.num_pos[image] += 1
                    out.pos_per_box[row] += 1
                elif in_band or any(_covers(region, point) for region in own_regions):
                    out.matched[image, p] = out.labels[image, p] = IGNORED
    return out


def _points(level_shapes: Any, strides: Any, offset: float) -> list[tuple[int, Point]]:
    return [
        (
            level,
            Point((f32(j) + f32(offset)) * f32(stride), (f32(i) + f32(offset)) * f32(stride), f32(stride)),
        )
        for level, ((height, width), stride) in enumerate(zip(level_shapes, strides, strict=True))
        for i in range(height)
        for j in range(width)
    ]


def _rows(boxes: Tensor) -> list[Box]:
    return [Box(row, *corners) for row, corners in enumerate(boxes.detach().cpu().float().numpy())]


def _owned(rows: list[Box], offsets: Tensor, image: int) -> list[Box]:
    """Rows `clamp(offsets[b], 0, M) : clamp(offsets[b + 1], begin, M)`."""
    begin = min(max(int(offsets[image]), 0), len(rows))
    end = min(max(int(offsets[image + 1]), begin), len(rows))
    return rows[begin:end]


def _is_padding(point: Point, valid_size: Tensor) -> bool:
    height, width = (f32(size) for size in valid_size.tolist())
    return bool(point.x >= width or point.y >= height)


def _decide(boxes: list[Box], point: Point, level: int, rule: Any) -> tuple[Candidate | None, bool]:
    """The box the point trains, if any, and whether the point lies in the ignore band."""
    candidates = []
    for box in boxes:
        candidate = _candidate(box, point)
        if candidate is not None and _is_in_range(candidate, level, rule):
            candidates.append(candidate)

    def passes(candidate: Candidate) -> bool:
        return _passes(candidate, point, rule.metric, rule.threshold, rule.inclusive)

    def passes_band(candidate: Candidate) -> bool:
        if rule.ignore_threshold is None:
            return False
        return _passes(candidate, point, rule.metric, rule.ignore_threshold, rule.inclusive)

    if rule.order == "filter_then_choose":
        winner = _choose([c for c in candidates if passes(c)], rule)
        return winner, any(passes_band(c) for c in candidates)

    chosen = _choose(candidates, rule)
    if chosen is None:
        return None, False
    return (chosen if passes(chosen) else None), passes_band(chosen)


def _candidate(box: Box, point: Point) -> Candidate | None:
    distances = _distances(box, point)
    if not _is_valid(box) or not _is_inside(distances):
        return None
    return Candidate(box, _area(box), *distances)


def _area(box: Box) -> np.float32:
    return (box.x2 - box.x1) * (box.y2 - box.y1)


def _is_valid(box: Box) -> bool:
    w = box.x2 - box.x1
    h = box.y2 - box.y1
    return bool(0 < w <= f32(2.0**63) and 0 < h <= f32(2.0**63) and _area(box) >= f32(2.0**-126))


def _covers(region: Box, point: Point) -> bool:
    """An ignore region without area, inverted, NaN or infinite covers nothing, as such a box gets nothing."""
    return _is_valid(region) and _is_inside(_distances(region, point))


def _distances(box: Box, point: Point) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    return point.x - box.x1, point.y - box.y1, box.x2 - point.x, box.y2 - point.y


def _is_inside(distances: tuple[np.float32, ...]) -> bool:
    return all(distance > 0 for distance in distances)


def _is_in_range(c: Candidate, level: int, rule: Any) -> bool:
    if rule.regress_ranges is None:
        return True
    low, high = (f32(bound) for bound in rule.regress_ranges[level])
    farthest = max(c.l, c.t, c.r, c.b)
    if rule.range_bounds == "closed":
        return bool(low <= farthest <= high)
    return bool(low < farthest < high)


def _choose(candidates: list[Candidate], rule: Any) -> Candidate | None:
    if not candidates:
        return None
    if rule.resolve == "min_area":
        return min(candidates, key=lambda c: (c.area, c.box.row))
    return min(candidates, key=lambda c: (-_value(c, rule.metric), c.area, c.box.row))


def _passes(c: Candidate, point: Point, metric: str, threshold: float, inclusive: bool) -> bool:
    if metric == "none":
        return True
    if metric in ("pseudo_iou", "centerness"):
        value, bound = _value(c, metric), f32(threshold)
        return bool(value >= bound if inclusive else value > bound)
    if metric == "scaled_box":
        offsets = (abs(c.l - c.r), abs(c.t - c.b))
        bounds = (f32(threshold) * (c.l + c.r), f32(threshold) * (c.t + c.b))
    else:
        center_x = (c.box.x1 + c.box.x2) / f32(2)
        center_y = (c.box.y1 + c.box.y2) / f32(2)
        offsets = (abs(point.x - center_x), abs(point.y - center_y))
        bounds = (f32(threshold) * point.stride, f32(threshold) * point.stride)
    if inclusive:
        return bool(offsets[0] <= bounds[0] and offsets[1] <= bounds[1])
    return bool(offsets[0] < bounds[0] and offsets[1] < bounds[1])


def _value(c: Candidate, metric: str) -> np.float32:
    if metric == "pseudo_iou":
        return _pseudo_iou(c)
    if metric == "centerness":
        return _centerness(c)
    assert metric == "scaled_box"
    return f32(1) - max(abs(c.l - c.r) / (c.l + c.r), abs(c.t - c.b) / (c.t + c.b))


def _pseudo_iou(c: Candidate) -> np.float32:
    hw = (c.l + c.r) / f32(2)
    hh = (c.t + c.b) / f32(2)
    i = (min(hw, c.l) + min(hw, c.r)) * (min(hh, c.t) + min(hh, c.b))
    u = (c.l + c.r) * (c.t + c.b)
    return i / ((u + u) - i)


def _centerness(c: Candidate) -> np.float32:
    product = (min(c.l, c.r) / max(c.l, c.r)) * (min(c.t, c.b) / max(c.t, c.b))
    return f32(math.sqrt(float(product)))


def _targets(c: Candidate, point: Point, normalize_by_stride: bool) -> Tensor:
    ltrb = (c.l, c.t, c.r, c.b)
    if normalize_by_stride:
        ltrb = tuple(distance / point.stride for distance in ltrb)
    return torch.from_numpy(np.array(ltrb, dtype=f32))


# --------------------------------------------------------------------------------------------------------
# The authors' code, in our words
# --------------------------------------------------------------------------------------------------------


def authors_code_oracle(
    boxes: Tensor,
    labels: Tensor,
    offsets: Tensor,
    level_shapes: Any,
    strides: Any,
    threshold: float = 0.4,
) -> Tensor:
    """Class of every point as the released code trains it, (B, P) int64, -1 for background.

    FCOS first: a point inside several boxes whose farthest side is within the level's range takes the one
    of least area. Then the filter: it stays positive only if its Pseudo-IoU with that box is above the
    threshold.
    The code marks "no box" by an area of 1e8; so does this, hence only for boxes below that area.
    """
    centers, ranges = [], []
    for (height, width), stride, bounds in zip(level_shapes, strides, FCOS_RANGES, strict=True):
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        centers.append(torch.stack((x, y), dim=-1).reshape(-1, 2) * stride + stride // 2)
        ranges.append(torch.tensor([bounds]).expand(height * width, 2))
    point, reach = torch.cat(centers).float(), torch.cat(ranges)

    per_image = []
    for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        image_boxes, image_labels = boxes[begin:end].float(), labels[begin:end]
        if len(image_boxes) == 0:
            per_image.append(torch.full((len(point),), BACKGROUND))
            continue
        sides = torch.cat((point[:, None] - image_boxes[None, :, :2], image_boxes[None, :, 2:] - point[:, None]), -1)
        farthest = sides.amax(-1)
        eligible = (sides.amin(-1) > 0) & (farthest >= reach[:, :1]) & (farthest <= reach[:, 1:])
        extent = image_boxes[:, 2:] - image_boxes[:, :2]
        area = torch.where(eligible, extent.prod(-1), 1e8)
        least, winner = area.min(dim=1)

        left, top, right, bottom = sides[torch.arange(len(point)), winner].unbind(-1)
        half_width, half_height = (left + right) / 2, (top + bottom) / 2
        overlap_width = torch.minimum(half_width, left) + torch.minimum(half_width, right)
        overlap_height = torch.minimum(half_height, top) + torch.minimum(half_height, bottom)
        intersection = overlap_width * overlap_height
        box_area = (left + right) * (top + bottom)
        value = intersection / ((box_area + box_area) - intersection)

        is_positive = (least < 1e8) & (value > threshold)
        per_image.append(torch.where(is_positive, image_labels[winner], BACKGROUND))
    return torch.stack(per_image) if per_image else torch.empty(0, len(point), dtype=torch.int64)
