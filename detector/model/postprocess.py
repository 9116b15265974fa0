"""From predictions to detections: thresholds, decoding and non-maximum suppression."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image

from ..config import PostprocessConfig
from .head import Predictions


class Detections(NamedTuple):
    """Of one image, best first: ``boxes`` (N, 4) x1 y1 x2 y2, ``scores`` (N,), ``labels`` (N,) int64."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def detections(predictions: Predictions, points: Tensor, sizes: Tensor, config: PostprocessConfig) -> list[Detections]:
    """The detections of each image, in pixels of the resized image.

    Args:
        predictions: of B images and P points.
        points: (P, 2) float32, x y of the points in pixels.
        sizes: (B, 2), height and width of the images without padding.
        config: thresholds and limits.
    """
    class_scores = predictions.class_logits.float().sigmoid()
    # As in FCOS, the threshold is on the class alone and the ranking on class times centerness.
    scores = class_scores
    if predictions.centerness_logits is not None:
        scores = class_scores * predictions.centerness_logits.float().sigmoid().unsqueeze(-1)
    boxes = torch.cat((points - predictions.ltrb[..., :2], points + predictions.ltrb[..., 2:]), dim=-1)
    point_counts = [height * width for height, width in predictions.level_shapes]
    return [
        _image_detections(class_scores[b], scores[b], boxes[b], point_counts, (int(h), int(w)), config)
        for b, (h, w) in enumerate(sizes.tolist())
    ]


def rescaled(found: Detections, size: Tensor, original_size: Tensor) -> Detections:
    """Detections in pixels of the file, from those in pixels of the image resized to ``size`` (h, w)."""
    scale = (original_size / size).flip(0).repeat(2).to(found.boxes)
    return found._replace(boxes=found.boxes * scale)


def _image_detections(
    class_scores: Tensor,
    scores: Tensor,
    boxes: Tensor,
    point_counts: list[int],
    size: tuple[int, int],
    config: PostprocessConfig,
) -> Detections:
    num_classes = scores.shape[1]
    kept = []
    first = 0
    for count in point_counts:
        rows = slice(first, first + count)
        passing = (class_scores[rows].flatten() > config.score_threshold).nonzero().squeeze(1)
        best = scores[rows].flatten()[passing].argsort(descending=True, stable=True)
        kept.append(passing[best[: config.candidates_per_level]] + first * num_classes)
        first += count
    candidates = torch.cat(kept)
    candidate_scores = scores.flatten()[candidates]
    labels = candidates % num_classes
    candidate_boxes = clip_boxes_to_image(boxes[candidates // num_classes], size)
    best = batched_nms(candidate_boxes, candidate_scores, labels, config.nms_threshold)
    best = best[: config.detections_per_image]
    return Detections(candidate_boxes[best], candidate_scores[best], labels[best])
