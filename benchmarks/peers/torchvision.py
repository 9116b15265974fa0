"""As torchvision's FCOS matches: image by image, a point-box table of matches times a score of the area."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace

import torch
from torch import Tensor

from pseudo_iou_ops import AssignRule

from ..targets import Targets
from ..workloads import STRIDES, Batch, Pyramid
from .common import box_areas, dense_targets, side_distances


def assign(batch: Batch, rule: AssignRule) -> Targets:
    return _assign(batch, rule, _smallest_exact)


def assign_1e8(batch: Batch, rule: AssignRule) -> Targets:
    """With torchvision's float32 key ``match * (1e8 - area)``, which ties areas that differ by less than 8."""
    return _assign(batch, rule, _smallest_of_1e8)


def _assign(batch: Batch, rule: AssignRule, smallest: Callable[[Tensor, Tensor], Tensor]) -> Targets:
    first_row, images = 0, []
    for boxes, labels in zip(batch.boxes, batch.labels, strict=True):
        chosen = _choose_in_image(batch, boxes, smallest)
        if boxes.shape[0]:
            nearest = chosen.clamp(min=0)
            matched = torch.where(chosen >= 0, chosen + first_row, -1)
            ltrb = side_distances(batch.pyramid.points, boxes[nearest])
            images.append((matched, labels[nearest], ltrb))
        else:
            images.append((chosen, chosen, boxes.new_zeros(chosen.shape[0], 4)))
        first_row += boxes.shape[0]
    matched, matched_labels, ltrb = (torch.stack(parts) for parts in zip(*images, strict=True))
    return dense_targets(matched, matched_labels, ltrb, rule)


def _choose_in_image(batch: Batch, boxes: Tensor, smallest: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    points, ranges = batch.pyramid.points, batch.pyramid.ranges
    if boxes.shape[0] == 0:
        return torch.full((points.shape[0],), -1, dtype=torch.int64, device=points.device)
    distances = side_distances(points[:, None], boxes)
    is_match = distances.min(dim=2).values > 0
    longest = distances.max(dim=2).values
    is_match &= (longest >= ranges[:, :1]) & (longest <= ranges[:, 1:])
    return smallest(is_match, box_areas(boxes))


def _smallest_exact(is_match: Tensor, areas: Tensor) -> Tensor:
    smallest, chosen = torch.where(is_match, areas, torch.inf).min(dim=1)
    chosen[smallest == torch.inf] = -1
    return chosen


def _smallest_of_1e8(is_match: Tensor, areas: Tensor) -> Tensor:
    largest, chosen = (is_match.to(torch.float32) * (1e8 - areas)).max(dim=1)
    chosen[largest < 1e-5] = -1
    return chosen


def assign_shipped(batch: Batch, rule: AssignRule) -> Targets:
    """torchvision's own ``FCOS.compute_loss``, stopped where it hands its matches on. It makes no other target."""
    from torchvision.models.detection.fcos import FCOS

    model = SimpleNamespace(
        center_sampling_radius=rule.threshold,
        head=SimpleNamespace(compute_loss=lambda targets, outputs, anchors, matched: matched),
    )
    targets = [{"boxes": boxes, "labels": labels} for boxes, labels in zip(batch.boxes, batch.labels, strict=True)]
    anchors = [_anchors(batch.pyramid)] * batch.num_images
    matches = FCOS.compute_loss(model, targets, {}, anchors, batch.pyramid.points_per_level)
    chosen = torch.stack(matches)
    first_rows = batch.padded[2][:, None]
    matched = torch.where(chosen >= 0, chosen + first_rows, -1)
    nothing = chosen.new_empty(0)
    return Targets(matched, nothing, nothing, nothing, nothing)


@lru_cache(maxsize=8)
def _anchors(pyramid: Pyramid) -> Tensor:
    """(P, 4) squares of one stride around the corner of each cell, which is torchvision's point."""
    strides = torch.tensor(STRIDES, dtype=torch.float32).repeat_interleave(torch.tensor(pyramid.points_per_level))
    half = strides.to(pyramid.device)[:, None] / 2
    corners = pyramid.points - half
    return torch.cat((corners - half, corners + half), dim=1)
