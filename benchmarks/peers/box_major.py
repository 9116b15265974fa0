"""From the boxes' side: list the points in the window of every box, and scatter the smallest area to them."""

from __future__ import annotations

import torch
from torch import Tensor

from pseudo_iou_ops import AssignRule, presets

from ..targets import Targets
from ..workloads import STRIDES, Batch, Pyramid
from .common import background, box_areas, side_distances, sparse_targets


def assign(batch: Batch, rule: AssignRule) -> Targets:
    boxes, _, offsets = batch.packed
    if boxes.shape[0] == 0:
        return background(batch)
    pyramid = batch.pyramid
    row, point = _points_in_windows(boxes, pyramid)
    distances = side_distances(pyramid.points[point], boxes[row])
    longest, bounds = distances.amax(dim=1), pyramid.ranges[point]
    is_candidate = (distances.amin(dim=1) > 0) & (longest >= bounds[:, 0]) & (longest <= bounds[:, 1])
    row, point = row[is_candidate], point[is_candidate]

    image = torch.repeat_interleave(offsets.diff()).to(boxes.device)
    where = image[row] * pyramid.num_points + point
    area = box_areas(boxes)[row]
    num_slots = batch.num_images * pyramid.num_points
    smallest = area.new_full((num_slots,), torch.inf).scatter_reduce_(0, where, area, "amin")
    is_smallest = area == smallest[where]
    row, where = row[is_smallest], where[is_smallest]
    no_row = boxes.shape[0]
    lowest = row.new_full((num_slots,), no_row).scatter_reduce_(0, where, row, "amin")
    chosen = (lowest < no_row).nonzero()[:, 0]
    return sparse_targets(batch, rule, chosen, lowest[chosen])


def _points_in_windows(boxes: Tensor, pyramid: Pyramid) -> tuple[Tensor, Tensor]:
    """(K,) box and (K,) point of every cell that may lie in a box, on the levels where the box can be in range."""
    device = boxes.device
    shapes = torch.tensor(pyramid.level_shapes, device=device)
    strides = torch.tensor(STRIDES, dtype=torch.float32, device=device)[:, None, None]
    sizes = shapes.flip(1)[:, None]  # width height
    begin = (boxes[:, :2] / strides - 0.5).floor().long().clamp(min=0)
    end = torch.minimum((boxes[:, 2:] / strides - 0.5).ceil().long() + 1, sizes)
    low, high = torch.tensor(presets.FCOS_RANGES, device=device).unbind(1)
    side = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1)
    may_fit = (side >= low[:, None]) & (side / 2 <= high[:, None])
    columns, rows = (end - begin).clamp(min=0).unbind(-1)
    counts = torch.where(may_fit, columns * rows, 0).flatten()

    window = torch.repeat_interleave(counts)
    cell = torch.arange(window.shape[0], device=device) - (counts.cumsum(0) - counts)[window]
    columns = columns.flatten()[window]
    x = begin[..., 0].flatten()[window] + cell % columns
    y = begin[..., 1].flatten()[window] + cell // columns
    points_per_level = shapes.prod(dim=1)
    first_point = points_per_level.cumsum(0) - points_per_level
    level = window // boxes.shape[0]
    return window % boxes.shape[0], first_point[level] + y * shapes[level, 1] + x
