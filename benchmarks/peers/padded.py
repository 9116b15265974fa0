"""The whole batch as one padded (B, P, G) table: what a good torch user writes, eager and compiled."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from pseudo_iou_ops import AssignRule

from ..targets import Targets
from ..workloads import Batch
from .common import box_areas, dense_targets, side_distances


def assign(batch: Batch, rule: AssignRule) -> Targets:
    return _assign(batch.pyramid.points, batch.pyramid.ranges, *batch.padded, rule)


def assign_compiled(batch: Batch, rule: AssignRule) -> Targets:
    return _compiled()(batch.pyramid.points, batch.pyramid.ranges, *batch.padded, rule)


def _assign(
    points: Tensor, ranges: Tensor, boxes: Tensor, labels: Tensor, first_rows: Tensor, rule: AssignRule
) -> Targets:
    x, y = points[:, 0, None], points[:, 1, None]
    x1, y1, x2, y2 = boxes[:, None].unbind(-1)
    l, t, r, b = x - x1, y - y1, x2 - x, y2 - y
    is_inside = torch.minimum(torch.minimum(l, t), torch.minimum(r, b)) > 0
    longest = torch.maximum(torch.maximum(l, t), torch.maximum(r, b))
    is_candidate = is_inside & (longest >= ranges[:, :1]) & (longest <= ranges[:, 1:])
    smallest, chosen = torch.where(is_candidate, box_areas(boxes)[:, None], torch.inf).min(dim=2)

    matched = torch.where(smallest < torch.inf, chosen + first_rows[:, None], -1)
    chosen_boxes = boxes.gather(1, chosen[..., None].expand(-1, -1, 4))
    return dense_targets(matched, labels.gather(1, chosen), side_distances(points, chosen_boxes), rule)


@cache
def _compiled() -> Callable[..., Targets]:
    """One compilation serves every number of boxes. On CUDA, rounding as eager is asked for where torch can."""
    wanted = ("emulate_precision_casts", "eager_numerics.division_rounding")
    known = set(torch._inductor.list_options())
    return torch.compile(_assign, dynamic=True, options={name: True for name in wanted if name in known})
