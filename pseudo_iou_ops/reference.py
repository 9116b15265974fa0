"""The contract in plain torch: slow, and the specification the kernels are held to, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ._checks import check_call, check_values
from .assignment import BACKGROUND, IGNORED, Assignment, check_out
from .metrics import centerness_of, is_inside, is_valid_box, pseudo_iou_of, side_distances
from .points import level_points
from .rule import METRIC_TRAITS, AssignRule

_DEFAULT_RULE = AssignRule()

# Points are taken in slices, so that a slice times the boxes of an image stays this small.
_PAIRS_AT_ONCE = 1 << 21


def assign(
    boxes: Tensor,
    labels: Tensor,
    offsets: Tensor,
    level_shapes: Sequence[tuple[int, int]],
    strides: Sequence[float],
    rule: AssignRule = _DEFAULT_RULE,
    *,
    offset: float | None = None,
    ignore_boxes: Tensor | None = None,
    ignore_offsets: Tensor | None = None,
    valid_sizes: Tensor | None = None,
    out: Assignment | None = None,
    validate: bool = False,
) -> Assignment:
    """The same call as :func:`pseudo_iou_ops.assign`, with the same result; it compares all points with all boxes.

    Args, Returns, Raises: as :func:`pseudo_iou_ops.assign`. It reads the offsets on the host.
    """
    check_call(boxes, labels, offsets, level_shapes, strides, rule, offset, ignore_boxes, ignore_offsets, valid_sizes)
    if validate:
        check_values(boxes, labels, offsets, ignore_boxes, ignore_offsets)
    offset = rule.offset if offset is None else offset
    boxes = boxes.detach().to(torch.float32)
    batch = offsets.shape[0] - 1
    result = _empty_assignment(batch, level_shapes, boxes)
    ignore_rows = image_rows(ignore_offsets, ignore_boxes)
    for image, rows in enumerate(image_rows(offsets, boxes)):
        regions = boxes.new_empty(0, 4)
        if ignore_boxes is not None:
            regions = ignore_boxes.detach().to(torch.float32)[ignore_rows[image]]
        size = None if valid_sizes is None else valid_sizes[image].to(torch.float32)
        first = 0
        for level, (height, width) in enumerate(level_shapes):
            points = level_points([(height, width)], [strides[level]], offset, boxes.device)
            for part in _slices(points.shape[0], rows.stop - rows.start):
                where = (image, slice(first + part.start, first + part.stop))
                _assign_points(result, where, points[part], level, strides[level], boxes, labels, rows, rule)
                _ignore_points(result, where, points[part], regions, size)
            first += points.shape[0]
    _count(result)
    if out is None:
        return result
    check_out(out, boxes, batch, level_shapes)
    for target, value in zip(out, result, strict=True):
        target.copy_(value)
    return out


def _empty_assignment(batch: int, level_shapes: Sequence[tuple[int, int]], boxes: Tensor) -> Assignment:
    points = sum(height * width for height, width in level_shapes)
    return Assignment(
        matched=boxes.new_full((batch, points), BACKGROUND, dtype=torch.int64),
        labels=boxes.new_full((batch, points), BACKGROUND, dtype=torch.int64),
        ltrb=boxes.new_zeros(batch, points, 4),
        pseudo_iou=boxes.new_zeros(batch, points),
        centerness=boxes.new_zeros(batch, points),
        num_pos=boxes.new_zeros(batch, dtype=torch.int64),
        pos_per_box=boxes.new_zeros(boxes.shape[0], dtype=torch.int64),
    )


def image_rows(offsets: Tensor | None, boxes: Tensor | None) -> list[slice]:
    """The rows of each image, clamped to the boxes there are."""
    if offsets is None or boxes is None:
        return []
    rows = []
    values = offsets.tolist()
    for begin, end in pairwise(values):
        begin = min(max(begin, 0), boxes.shape[0])
        rows.append(slice(begin, min(max(end, begin), boxes.shape[0])))
    return rows


def _slices(points: int, boxes: int) -> Iterator[slice]:
    step = max(1, _PAIRS_AT_ONCE // max(boxes, 1))
    for start in range(0, points, step):
        yield slice(start, min(start + step, points))


def _assign_points(
    result: Assignment,
    where: tuple[int, slice],
    points: Tensor,
    level: int,
    stride: float,
    boxes: Tensor,
    labels: Tensor,
    rows: slice,
    rule: AssignRule,
) -> None:
    """Give the points of one level and image their boxes."""
    image_boxes = boxes[rows]
    if image_boxes.shape[0] == 0:
        return
    distances = side_distances(points[:, None], image_boxes)
    candidates = is_inside(*distances) & is_valid_box(image_boxes) & _in_range(distances, level, rule)
    passing = _passes(rule.threshold, points, image_boxes, distances, stride, rule)
    offered = candidates if rule.order == "choose_then_filter" else candidates & passing
    chosen = _choose(offered, image_boxes, distances, rule)[:, None]
    positive = offered.any(dim=1) & passing.gather(1, chosen)[:, 0]

    if rule.ignore_threshold is not None:
        in_band = candidates & _passes(rule.ignore_threshold, points, image_boxes, distances, stride, rule)
        if rule.order == "choose_then_filter":
            in_band = in_band.gather(1, chosen)
        ignored = in_band.any(dim=1)
        result.matched[where][ignored] = IGNORED
        result.labels[where][ignored] = IGNORED

    rows_matched = chosen[positive, 0] + rows.start
    l, t, r, b = (distance.expand_as(candidates).gather(1, chosen)[positive, 0] for distance in distances)
    ltrb = torch.stack((l, t, r, b), dim=-1)
    if rule.normalize_by_stride:
        ltrb = ltrb / torch.tensor(stride, dtype=torch.float32, device=ltrb.device)
    result.matched[where][positive] = rows_matched
    result.labels[where][positive] = labels[rows_matched]
    result.ltrb[where][positive] = ltrb
    result.pseudo_iou[where][positive] = pseudo_iou_of(l, t, r, b)
    result.centerness[where][positive] = centerness_of(l, t, r, b)


def _in_range(distances: Sequence[Tensor], level: int, rule: AssignRule) -> Tensor:
    l, t, r, b = distances
    longest = torch.maximum(torch.maximum(l, r), torch.maximum(t, b))
    if rule.regress_ranges is None:
        return torch.ones_like(longest, dtype=torch.bool)
    low, high = _float32(rule.regress_ranges[level], longest)
    if rule.range_bounds == "closed":
        return (longest >= low) & (longest <= high)
    return (longest > low) & (longest < high)


def _passes(
    threshold: float,
    points: Tensor,
    boxes: Tensor,
    distances: Sequence[Tensor],
    stride: float,
    rule: AssignRule,
) -> Tensor:
    """Whether an inside point passes a threshold for a box."""
    l, t, r, b = distances
    (limit,) = _float32((threshold,), l)
    below = torch.le if rule.inclusive else torch.lt
    if rule.metric == "none":
        return torch.ones_like(torch.maximum(l, t), dtype=torch.bool)
    if rule.metric == "scaled_box":
        return below((l - r).abs(), limit * (l + r)) & below((t - b).abs(), limit * (t + b))
    if rule.metric == "center_radius":
        (step,) = _float32((stride,), l)
        x, y = points[:, None].unbind(-1)
        x1, y1, x2, y2 = boxes.unbind(-1)
        near_x = below((x - (x1 + x2) / 2).abs(), limit * step)
        return near_x & below((y - (y1 + y2) / 2).abs(), limit * step)
    return below(limit, _values(distances, rule))


def _values(distances: Sequence[Tensor], rule: AssignRule) -> Tensor:
    value = METRIC_TRAITS[rule.metric].value
    assert value is not None, "a rule that compares values has a metric with one"
    return value(*distances)


def _choose(offered: Tensor, boxes: Tensor, distances: Sequence[Tensor], rule: AssignRule) -> Tensor:
    """(P,) the box of each point: by metric if asked, then the smallest area, then the lowest row."""
    infinity = torch.tensor(torch.inf, device=boxes.device)
    if rule.resolve == "max_metric":
        value = torch.where(offered, _values(distances, rule), -infinity)
        offered = offered & (value == value.amax(dim=1, keepdim=True))
    x1, y1, x2, y2 = boxes.unbind(-1)
    area = torch.where(offered, (x2 - x1) * (y2 - y1), infinity)
    smallest = offered & (area == area.amin(dim=1, keepdim=True))
    return smallest.to(torch.int8).argmax(dim=1)  # the first of equals


def _ignore_points(
    result: Assignment, where: tuple[int, slice], points: Tensor, regions: Tensor, size: Tensor | None
) -> None:
    """Ignore what is not positive inside a region, and everything in the padding."""
    matched, labels = result.matched[where], result.labels[where]
    if regions.shape[0]:
        covered = is_inside(*side_distances(points[:, None], regions)) & is_valid_box(regions)
        ignored = covered.any(dim=1) & (matched == BACKGROUND)
        matched[ignored] = IGNORED
        labels[ignored] = IGNORED
    if size is not None:
        padding = (points[:, 0] >= size[1]) | (points[:, 1] >= size[0])
        matched[padding] = IGNORED
        labels[padding] = IGNORED
        for target in (result.ltrb, result.pseudo_iou, result.centerness):
            target[where][padding] = 0


def _count(result: Assignment) -> None:
    positive = result.matched >= 0
    result.num_pos.copy_(positive.sum(dim=1))
    result.pos_per_box.copy_(torch.bincount(result.matched[positive], minlength=result.pos_per_box.shape[0]))


def _float32(values: Sequence[float], like: Tensor) -> list[Tensor]:
    return [torch.tensor(value, dtype=torch.float32, device=like.device) for value in values]
