"""The contract of :func:`pseudo_iou_ops.assign_top_k` in plain torch: slow, and what the kernels are held to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ._checks import check_inputs, check_values
from ._predictions import BoxFormat, ScoreKind, as_objectness, as_predictions, refuse_predictions
from ._reference_dynamic_k import sim_ota, soft_label
from ._reference_images import Chosen, Image, Level, box_iou, nobody, resolved
from ._reference_predictions import dense, predicted_boxes, predictions_of
from ._reference_task_aligned import task_aligned
from .assignment import BACKGROUND, IGNORED
from .metrics import is_inside, is_valid_box, pseudo_iou_of, side_distances
from .points import level_points
from .reference import image_rows
from .top_k import TopKAssignment, check_top_k_out, check_top_k_rule
from .top_k_rules import Atss, SimOta, SoftLabel, TaskAligned, TopKRule


def assign_top_k(
    boxes: Tensor,
    labels: Tensor,
    offsets: Tensor,
    level_shapes: Sequence[tuple[int, int]],
    strides: Sequence[float],
    rule: TopKRule,
    *,
    pred_boxes: Tensor | Sequence[Tensor] | None = None,
    scores: Tensor | Sequence[Tensor] | None = None,
    objectness: Tensor | Sequence[Tensor] | None = None,
    box_format: BoxFormat = "xyxy",
    score_kind: ScoreKind = "logits",
    offset: float | None = None,
    ignore_boxes: Tensor | None = None,
    ignore_offsets: Tensor | None = None,
    valid_sizes: Tensor | None = None,
    out: TopKAssignment | None = None,
    validate: bool = False,
) -> TopKAssignment:
    """The same call as :func:`pseudo_iou_ops.assign_top_k`, with the same result; all points meet all boxes.

    Args, Returns, Raises: as :func:`pseudo_iou_ops.assign_top_k`. It reads the offsets on the host.
    """
    check_inputs(boxes, labels, offsets, level_shapes, strides, offset, ignore_boxes, ignore_offsets, valid_sizes)
    if validate:
        check_values(boxes, labels, offsets, ignore_boxes, ignore_offsets)
    check_top_k_rule(rule)
    predictions = (pred_boxes, scores, objectness, box_format, score_kind)
    choose = _chooser(rule, predictions, boxes, offsets.shape[0] - 1, level_shapes)
    boxes = boxes.detach().to(torch.float32)
    offset = rule.offset if offset is None else offset
    pyramid = _pyramid(level_shapes, strides, offset, boxes)
    result = _empty(offsets.shape[0] - 1, pyramid.points.shape[0], boxes)
    ignore_rows = image_rows(ignore_offsets, ignore_boxes)
    for index, rows in enumerate(image_rows(offsets, boxes)):
        is_padding = _is_padding(pyramid.points, None if valid_sizes is None else valid_sizes[index])
        image = Image(*pyramid, is_padding, boxes[rows])
        chosen = choose(index, image, labels[rows])
        _write(result, index, image, chosen, labels, rows.start)
        if ignore_boxes is not None:
            regions = ignore_boxes.detach().to(torch.float32)[ignore_rows[index]]
            _ignore(result, index, _covered(pyramid.points, regions) & (result.matched[index] == BACKGROUND))
        _ignore(result, index, is_padding)
    positive = result.matched >= 0
    result.num_pos.copy_(positive.sum(dim=1))
    result.pos_per_box.copy_(torch.bincount(result.matched[positive], minlength=boxes.shape[0]))
    if out is None:
        return result
    check_top_k_out(out, boxes, offsets.shape[0] - 1, level_shapes)
    for target, value in zip(out, result, strict=True):
        target.copy_(value)
    return out


def _chooser(
    rule: TopKRule, predictions: tuple[Any, ...], boxes: Tensor, batch: int, level_shapes: Sequence[tuple[int, int]]
) -> Callable[[int, Image, Tensor], Chosen]:
    """How the boxes of an image, given by its number, itself and the labels of its boxes, choose points."""
    pred_boxes, scores, objectness, box_format, score_kind = predictions
    if not isinstance(rule, SimOta):
        refuse_predictions(rule, objectness=objectness)
    if isinstance(rule, Atss):
        refuse_predictions(rule, pred_boxes=pred_boxes, scores=scores)
        return lambda index, image, labels: _atss(image, rule)
    checked = as_predictions(pred_boxes, scores, box_format, score_kind, rule, boxes, batch, level_shapes)
    if isinstance(rule, TaskAligned):
        return lambda index, image, labels: task_aligned(
            image, labels, predictions_of(checked, index, image.points), rule
        )
    if isinstance(rule, SoftLabel):
        return lambda index, image, labels: soft_label(
            image, labels, predicted_boxes(checked, index, image.points), dense(checked.scores, index), rule
        )
    levels = as_objectness(objectness, boxes, batch, level_shapes)
    return lambda index, image, labels: sim_ota(
        image, labels, predictions_of(checked, index, image.points, levels), rule
    )


class Pyramid(NamedTuple):
    """The points of every image; as in :class:`Image`."""

    points: Tensor
    levels: list[Level]
    strides: Tensor


def _pyramid(
    level_shapes: Sequence[tuple[int, int]], strides: Sequence[float], offset: float, boxes: Tensor
) -> Pyramid:
    sizes = [height * width for height, width in level_shapes]
    starts = [sum(sizes[:level]) for level in range(len(sizes))]
    levels = [
        Level(slice(start, start + size), width)
        for start, size, (_, width) in zip(starts, sizes, level_shapes, strict=True)
    ]
    stride_of = torch.tensor(strides, dtype=torch.float32, device=boxes.device)
    stride_of = stride_of.repeat_interleave(torch.tensor(sizes, dtype=torch.int64, device=boxes.device))
    return Pyramid(level_points(level_shapes, strides, offset, boxes.device), levels, stride_of)


def _is_padding(points: Tensor, valid_size: Tensor | None) -> Tensor:
    if valid_size is None:
        return torch.zeros(points.shape[0], dtype=torch.bool, device=points.device)
    height, width = valid_size.to(torch.float32)
    is_padding: Tensor = (points[:, 0] >= width) | (points[:, 1] >= height)
    return is_padding


def _empty(batch: int, points: int, boxes: Tensor) -> TopKAssignment:
    return TopKAssignment(
        matched=boxes.new_full((batch, points), BACKGROUND, dtype=torch.int64),
        labels=boxes.new_full((batch, points), BACKGROUND, dtype=torch.int64),
        ltrb=boxes.new_zeros(batch, points, 4),
        iou=boxes.new_zeros(batch, points),
        score=boxes.new_zeros(batch, points),
        num_pos=boxes.new_zeros(batch, dtype=torch.int64),
        pos_per_box=boxes.new_zeros(boxes.shape[0], dtype=torch.int64),
    )


def _write(result: TopKAssignment, index: int, image: Image, chosen: Chosen, labels: Tensor, first_row: int) -> None:
    positive = chosen.row >= 0
    rows = chosen.row[positive]
    result.matched[index][positive] = rows + first_row
    result.labels[index][positive] = labels[rows + first_row]
    distances = side_distances(image.points[positive], image.boxes[rows])
    result.ltrb[index][positive] = torch.stack(distances, dim=-1)
    result.iou[index][positive] = chosen.value[positive]
    result.score[index][positive] = chosen.score[positive]


def _ignore(result: TopKAssignment, index: int, where: Tensor) -> None:
    result.matched[index][where] = IGNORED
    result.labels[index][where] = IGNORED


def _covered(points: Tensor, regions: Tensor) -> Tensor:
    if regions.shape[0] == 0:
        return torch.zeros(points.shape[0], dtype=torch.bool, device=points.device)
    return (is_inside(*side_distances(points[:, None], regions)) & is_valid_box(regions)).any(dim=1)


def _atss(image: Image, rule: Atss) -> Chosen:
    """Zhang et al. 2020, Algorithm 1."""
    num_points, num_boxes = image.points.shape[0], image.boxes.shape[0]
    if num_points == 0 or num_boxes == 0:
        return nobody(image)
    values = _atss_values(image, rule)
    is_valid = is_valid_box(image.boxes)
    chosen = torch.zeros(num_boxes, num_points, dtype=torch.bool, device=image.points.device)
    for row in is_valid.nonzero().flatten().tolist():
        candidates = torch.cat([_closest(image, level, row, rule.k) for level in image.levels])
        if len(candidates):
            passing = _stands_out(values[row, candidates], rule.inclusive)
            chosen[row, candidates[passing]] = True
    margin = torch.tensor(rule.inside_margin, dtype=torch.float32, device=image.points.device)
    distances = side_distances(image.points, image.boxes[:, None])
    chosen &= torch.stack(distances).amin(0) > margin
    return resolved(chosen, values, is_valid[:, None] if rule.among == "all" else chosen)


def _atss_values(image: Image, rule: Atss) -> Tensor:
    """(G, P) the metric of every pair."""
    boxes = image.boxes[:, None]
    half = (torch.tensor(rule.anchor_scale, dtype=torch.float32, device=boxes.device) * image.strides) / 2
    x, y = image.points.unbind(-1)
    anchors = torch.stack((x - half, y - half, x + half, y + half), dim=-1)
    overlap = torch.where(is_valid_box(anchors), box_iou(anchors, boxes), torch.zeros_like(x))
    distances = torch.broadcast_tensors(*side_distances(image.points, boxes))
    inside = is_inside(*distances)
    safe = (torch.where(inside, d, torch.ones_like(d)) for d in distances)
    pseudo_iou = torch.where(inside, pseudo_iou_of(*safe), torch.zeros_like(overlap))
    return {"anchor_iou": overlap, "pseudo_iou": pseudo_iou, "product": pseudo_iou * overlap}[rule.metric]


def _closest(image: Image, level: Level, row: int, k: int) -> Tensor:
    """The k points of a level closest to the center of a box: by (distance, vertical, horizontal, place)."""
    x1, y1, x2, y2 = image.boxes[row].unbind(-1)
    cells = (~image.is_padding[level.points]).nonzero().flatten()
    points = cells + level.points.start
    dx = image.points[points, 0] - (x1 + x2) / 2
    dy = image.points[points, 1] - (y1 + y2) / 2
    # By distance; of points as far by the rank of their row, then of their column. Sorts are stable: the last counts
    # most.
    order = torch.arange(len(points), device=points.device)
    for distance, index in ((dx, cells % level.width), (dy, cells // level.width)):
        # Of cells as far on an axis those before the center come first, and the nearer one of each side.
        steps = torch.where(distance < 0, -1 - index, index)
        order = order[torch.argsort(steps[order], stable=True)]
        order = order[torch.argsort(distance.abs()[order], stable=True)]
    order = order[torch.argsort((dx * dx + dy * dy)[order], stable=True)]
    closest: Tensor = points[order[:k]]
    return closest


def _stands_out(values: Tensor, inclusive: bool) -> Tensor:
    """Which values reach their mean plus standard deviation, both summed from the first value to the last."""
    count = len(values)
    total = values.new_zeros(())
    for value in values:
        total = total + value
    mean = total / count
    total = values.new_zeros(())
    for value in values:
        total = total + (value - mean) * (value - mean)
    # torch's float32 root can be one unit off on a CPU; the float64 root rounded once more can not.
    deviation = (total / (count - 1)).double().sqrt().float() if count > 1 else values.new_zeros(())
    return values >= mean + deviation if inclusive else values > mean + deviation
