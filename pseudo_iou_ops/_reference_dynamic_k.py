"""SimOTA and dynamic soft labels for one image in plain torch: all valid points meet all boxes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from . import _reference_exact as exact
from ._reference_images import Chosen, Image, box_iou, nobody
from ._reference_predictions import ImagePredictions, of_classes, safe_boxes
from .metrics import is_inside, is_valid_box, side_distances
from .top_k_rules import SimOta, SoftLabel

PARTIAL_SUMS = 8
LARGEST_LOGIT = 100.0
NOT_OWN = 1 << 31  # above the bits of every cost


class Pairs(NamedTuple):
    """The boxes and points of an image."""

    overlaps: Tensor
    """(G, P) float32."""
    costs: Tensor
    """(G, P) float32."""
    is_own: Tensor
    """(G, P) bool, whether a point comes before those that are not the box's own."""
    in_region: Tensor
    """(G, P) bool, whether the box makes a point valid."""


def sim_ota(image: Image, labels: Tensor, predictions: ImagePredictions, rule: SimOta) -> Chosen:
    """YOLOX, section 2.3; ``labels`` (G,) are those of the image's boxes, the probabilities of class and object."""
    if image.points.shape[0] == 0 or image.boxes.shape[0] == 0:
        return nobody(image)
    overlaps = _overlaps(image, predictions.boxes)
    p = of_classes(predictions.probabilities, labels, missing=0.0)
    negative_sum = _sum_over_classes(-exact.floored_log(1 - predictions.probabilities))
    classes = (negative_sum + exact.floored_log(1 - p)) - exact.floored_log(p)
    costs = classes * _number(rule.cls_weight, p) + _overlap_costs(overlaps, rule.eps, rule.iou_weight)
    in_box = is_inside(*side_distances(image.points, image.boxes[:, None]))
    in_center = _is_in_center(image, rule.radius)
    if rule.region == "center":
        return _assigned(image, Pairs(overlaps, costs, in_center, in_center), rule.top_ious)
    return _assigned(image, Pairs(overlaps, costs, in_box & in_center, in_box | in_center), rule.top_ious)


def soft_label(image: Image, labels: Tensor, predicted: Tensor, scores: Tensor, rule: SoftLabel) -> Chosen:
    """RTMDet, section 3.3; ``labels`` (G,) are those of the image's boxes, predicted boxes (P, 4), scores (P, C)."""
    if image.points.shape[0] == 0 or image.boxes.shape[0] == 0:
        return nobody(image)
    overlaps = _overlaps(image, predicted)
    logits = torch.where(scores > -LARGEST_LOGIT, scores, -LARGEST_LOGIT).clamp(max=LARGEST_LOGIT)
    own = of_classes(logits, labels, missing=-LARGEST_LOGIT)
    difference = overlaps - exact.sigmoid(own)
    presence = (exact.softplus(own) - own * overlaps) * (difference * difference)
    classes = (_sum_over_classes(_soft_absence(logits)) - _soft_absence(own)) + presence
    costs = (classes + _overlap_costs(overlaps, rule.eps, rule.iou_weight)) + _center_prior(image, rule.radius)
    in_box = is_inside(*side_distances(image.points, image.boxes[:, None]))
    return _assigned(image, Pairs(overlaps, costs, torch.ones_like(in_box), in_box), rule.top_ious)


def _soft_absence(logits: Tensor) -> Tensor:
    p = exact.sigmoid(logits)
    return (exact.softplus(logits) * p) * p


def _center_prior(image: Image, radius: float) -> Tensor:
    """(G, P)."""
    x1, y1, x2, y2 = image.boxes[:, None].unbind(-1)
    dx, dy = image.points[:, 0] - (x1 + x2) / 2, image.points[:, 1] - (y1 + y2) / 2
    return exact.exp10(exact.sqrt(dx * dx + dy * dy) / image.strides - _number(radius, dx))


def _overlaps(image: Image, predicted: Tensor) -> Tensor:
    safe, is_valid = safe_boxes(predicted)
    return torch.where(is_valid, box_iou(safe, image.boxes[:, None]) + 0.0, 0.0)  # its zero is +0


def _overlap_costs(overlaps: Tensor, eps: float, weight: float) -> Tensor:
    return -exact.floored_log(overlaps + _number(eps, overlaps)) * _number(weight, overlaps)


def _sum_over_classes(terms: Tensor) -> Tensor:
    """(P,) the sums of terms (P, C): class c adds to that of c mod 8, and these are added as a tree."""
    padded = torch.nn.functional.pad(terms, (0, -terms.shape[1] % PARTIAL_SUMS))
    sums = terms.new_zeros(terms.shape[0], PARTIAL_SUMS)
    for part in padded.unflatten(1, (padded.shape[1] // PARTIAL_SUMS, PARTIAL_SUMS)).unbind(1):
        sums = sums + part
    while sums.shape[1] > 1:
        sums = sums[:, ::2] + sums[:, 1::2]
    return sums[:, 0]


def _is_in_center(image: Image, radius: float) -> Tensor:
    """(G, P)."""
    centers = (image.boxes[:, None, :2] + image.boxes[:, None, 2:]) / 2
    reach = (_number(radius, centers) * image.strides)[:, None]
    squares = torch.cat((centers - reach, centers + reach), dim=-1)
    return is_inside(*side_distances(image.points, squares))


def _assigned(image: Image, pairs: Pairs, top_ious: int) -> Chosen:
    """Every box takes its cheapest points; a point that several took is that of the box it costs least."""
    is_box = is_valid_box(image.boxes)[:, None]
    is_valid = (pairs.in_region & is_box).any(dim=0) & ~image.is_padding
    costs = torch.where(pairs.costs > 0, pairs.costs, 0.0)
    keys = costs.view(torch.int32).to(torch.int64) + torch.where(pairs.is_own, 0, NOT_OWN)
    chosen = torch.zeros_like(pairs.is_own)
    points = is_valid.nonzero().flatten()
    for row in is_box.flatten().nonzero().flatten().tolist():
        count = _dynamic_count(pairs.overlaps[row, points], top_ious)
        chosen[row, points[torch.argsort(keys[row, points], stable=True)[:count]]] = True
    choosers = chosen.sum(dim=0)
    taking = torch.where(choosers > 1, is_box, chosen)
    least = torch.where(taking, keys, 2 * NOT_OWN)
    row = (least == least.amin(dim=0)).to(torch.int8).argmax(dim=0)  # the first of equals
    value = pairs.overlaps.gather(0, row[None])[0]
    return Chosen(torch.where(choosers > 0, row, -1), value, value)


def _dynamic_count(overlaps: Tensor, top_ious: int) -> int:
    """The sum of the largest overlaps, without what follows the point; at least 1."""
    total = overlaps.new_zeros(())
    for overlap in overlaps.sort(descending=True).values[:top_ious]:
        total = total + overlap
    return max(1, int(total))


def _number(value: float, like: Tensor) -> Tensor:
    """A switch, rounded to float32."""
    return torch.tensor(value, dtype=torch.float32, device=like.device)
