"""SimOTA and dynamic soft labels in one padded (B, G, P) table: written anew in plain torch from the published costs,
without the table of boxes x points x classes that the peers fill."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from pseudo_iou_ops import SimOta, SoftLabel

from .common import box_areas, box_iou, side_distances
from .top_k_targets import TopKTargets, padded_targets

# A cost beyond all others, of a point outside the box's own region and of one that no box makes valid.
NOT_OWN, NOT_VALID = 1e5, 1e9


def dynamic_k(
    points: Tensor,
    strides: Tensor,
    predicted: Tensor,
    scores: Tensor,
    boxes: Tensor,
    labels: Tensor,
    first_rows: Tensor,
    rule: SimOta | SoftLabel,
) -> TopKTargets:
    is_box = (box_areas(boxes) > 0)[..., None]
    overlaps = box_iou(boxes[:, :, None], predicted[:, None])
    in_box = side_distances(points, boxes[:, :, None]).amin(-1) > 0
    # (B, G, P) what a table holds for the class of each box.
    index = labels[..., None].expand(-1, -1, points.shape[0])
    costs = -torch.log(overlaps + rule.eps) * rule.iou_weight
    if isinstance(rule, SimOta):
        costs = costs + _hard_costs(scores, index) * rule.cls_weight
        own, region = _regions(points, strides, boxes, in_box, rule)
        costs = torch.where(own, costs, costs + NOT_OWN)
    else:
        costs = costs + _soft_costs(scores, index, overlaps) + _center_prior(points, strides, boxes, rule.radius)
        region = in_box
    is_valid = (region & is_box).any(1, keepdim=True)
    costs = torch.where(is_valid & is_box, costs, NOT_VALID)
    overlaps = torch.where(is_valid & is_box, overlaps, 0)
    chosen = _cheapest(costs, overlaps, min(rule.top_ious, points.shape[0]))
    choosers = chosen.sum(1)
    row = torch.where(choosers > 1, costs.argmin(1), chosen.to(torch.uint8).argmax(1))
    own_overlaps = overlaps.gather(1, row[:, None])[:, 0]
    return padded_targets(row, choosers > 0, labels, first_rows, own_overlaps)


def _cheapest(costs: Tensor, overlaps: Tensor, top: int) -> Tensor:
    """(B, G, P) whether a point is among the cheapest of a box, as many as its best overlaps add up to."""
    counts = overlaps.topk(top, dim=2).values.sum(2, keepdim=True).int().clamp(min=1)
    cheapest, places = costs.topk(top, dim=2, largest=False)
    taken = (torch.arange(top, device=costs.device) < counts) & (cheapest < NOT_VALID)
    return torch.zeros_like(costs, dtype=torch.bool).scatter_(2, places, taken)


def _hard_costs(probabilities: Tensor, index: Tensor) -> Tensor:
    """Cross entropy of the classes with that of the box: the sum as if it were absent, mended for its own."""
    absence = -torch.log1p(-probabilities).clamp(min=-100)
    presence = -torch.log(probabilities).clamp(min=-100)
    mended = (presence - absence).transpose(1, 2).gather(1, index)
    return absence.sum(2)[:, None] + mended


def _soft_costs(logits: Tensor, index: Tensor, overlaps: Tensor) -> Tensor:
    """Cross entropy with the overlap as the target of the box's class, each term by its distance squared."""
    absence = softplus(logits) * logits.sigmoid().square()
    own = logits.transpose(1, 2).gather(1, index)
    presence = (softplus(own) - own * overlaps) * (overlaps - own.sigmoid()).square()
    return absence.sum(2)[:, None] - absence.transpose(1, 2).gather(1, index) + presence


def _center_prior(points: Tensor, strides: Tensor, boxes: Tensor, radius: float) -> Tensor:
    centers = (boxes[..., :2] + boxes[..., 2:]) / 2
    distances = (points - centers[:, :, None]).square().sum(-1).sqrt() / strides
    return 10 ** (distances - radius)


def _regions(points: Tensor, strides: Tensor, boxes: Tensor, in_box: Tensor, rule: SimOta) -> tuple[Tensor, Tensor]:
    """(B, G, P) whether a point is the box's own, and whether the box makes it valid."""
    centers = ((boxes[..., :2] + boxes[..., 2:]) / 2)[:, :, None]
    in_center = (points - centers).abs().amax(-1) < rule.radius * strides
    if rule.region == "center":
        return in_center, in_center
    return in_box & in_center, in_box | in_center
