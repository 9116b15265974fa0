"""The task-aligned assignment of one image in plain torch: all points meet all boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from . import _reference_exact as exact
from ._reference_images import Chosen, Image, box_iou, nobody, resolved
from ._reference_predictions import ImagePredictions, of_classes, safe_boxes
from .metrics import is_valid_box, side_distances
from .top_k_rules import TaskAligned


def task_aligned(image: Image, labels: Tensor, predictions: ImagePredictions, rule: TaskAligned) -> Chosen:
    """TOOD, section 3.2; ``labels`` (G,) are those of the image's boxes."""
    if image.points.shape[0] == 0 or image.boxes.shape[0] == 0:
        return nobody(image)
    is_valid = is_valid_box(image.boxes)[:, None]
    overlaps = _overlaps(predictions.boxes, image.boxes[:, None], rule)
    p = of_classes(predictions.probabilities, labels, missing=0.0)
    alignments = exact.power_of_probability(p, rule.alpha) * exact.whole_power(overlaps, rule.beta)
    held = _is_held(image, rule)
    candidates = is_valid & ~image.is_padding & (alignments > 0)
    if rule.candidates == "inside":
        candidates = candidates & held
    chosen = _best(alignments, candidates, rule.k) & held
    competing = {"choosers": chosen, "holders": held & is_valid, "all": is_valid.expand_as(held)}[rule.among]
    return _scored(resolved(chosen, overlaps, competing), alignments, rule)


def _overlaps(predicted: Tensor, boxes: Tensor, rule: TaskAligned) -> Tensor:
    """(G, P)."""
    safe, is_valid = safe_boxes(predicted)
    overlap = box_ciou(safe, boxes) if rule.iou == "ciou" else box_iou(safe, boxes)
    return torch.where(is_valid, overlap, torch.zeros_like(overlap))


def box_ciou(p: Tensor, g: Tensor) -> Tensor:
    """Complete IoU of valid boxes (..., 4), floored at 0, in the contract's order of operations."""
    iou = box_iou(p, g)
    px1, py1, px2, py2 = p.unbind(-1)
    gx1, gy1, gx2, gy2 = g.unbind(-1)
    dx, dy = ((gx1 + gx2) - px1) - px2, ((gy1 + gy2) - py1) - py2
    cw = torch.maximum(px2, gx2) - torch.minimum(px1, gx1)
    ch = torch.maximum(py2, gy2) - torch.minimum(py1, gy1)
    distance = ((dx * dx + dy * dy) / 4) / ((cw * cw + ch * ch) + 1e-7)
    d = exact.atan(gx2 - gx1, gy2 - gy1) - exact.atan(px2 - px1, py2 - py1)
    v = 0.405284733 * (d * d)
    weight = v / ((v - iou) + 1.00000012)
    value = iou - (distance + v * weight)
    return torch.where(value > 0, value, torch.zeros_like(value))


def _is_held(image: Image, rule: TaskAligned) -> Tensor:
    """(G, P) whether a point lies inside a box, which short sides are grown for."""
    x1, y1, x2, y2 = image.boxes.unbind(-1)
    side = torch.tensor(rule.min_side, dtype=torch.float32, device=image.boxes.device)
    (x1, x2), (y1, y2) = (
        (
            torch.where(high - low < side, (low + high) / 2 - side / 2, low),
            torch.where(high - low < side, (low + high) / 2 + side / 2, high),
        )
        for low, high in ((x1, x2), (y1, y2))
    )
    grown = torch.stack((x1, y1, x2, y2), dim=-1)
    margin = torch.tensor(rule.inside_margin, dtype=torch.float32, device=image.boxes.device)
    held: Tensor = torch.stack(side_distances(image.points, grown[:, None])).amin(0) > margin
    return held


def _best(alignments: Tensor, candidates: Tensor, k: int) -> Tensor:
    """(G, P) the k candidates of each box with the largest alignments; of equal ones the lower point."""
    values = torch.where(candidates, alignments, alignments.new_tensor(-1.0))
    order = torch.argsort(values, dim=1, descending=True, stable=True)[:, :k]
    return torch.zeros_like(candidates).scatter_(1, order, True) & candidates


def _scored(chosen: Chosen, alignments: Tensor, rule: TaskAligned) -> Chosen:
    row, score = chosen.row.clone(), torch.zeros_like(chosen.value)
    eps = torch.tensor(rule.eps, dtype=torch.float32, device=row.device)
    for box in chosen.row.unique().tolist():
        points = (chosen.row == box).nonzero().flatten()
        if box < 0:
            continue
        order = torch.argsort(alignments[box, points], descending=True, stable=True)
        kept = points[order[: rule.keep]]
        row[points[order[len(kept) :]]] = -1
        own = alignments[box, kept]
        score[kept] = (own / (own.max() + eps)) * chosen.value[kept].max()
    return Chosen(row, chosen.value, score)
