"""From predictions to detections: thresholds, decoding and non-maximum suppression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import clip_boxes_to_image

from pseudo_iou_ops import decode_topk

from ..config import PostprocessConfig
from .head import Predictions
from .nms import Suppress, kept_by_class


class Detections(NamedTuple):
    """What one image holds, best first: ``boxes`` (N, 4) x1 y1 x2 y2, ``scores`` (N,), ``labels`` (N,) int64."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class Decoded(NamedTuple):
    """B images of P points: ``boxes`` (B, P, 4) x1 y1 x2 y2, not clipped; ``class_scores`` and ``scores``
    (B, P, C), the second times the centerness."""

    boxes: Tensor
    class_scores: Tensor
    scores: Tensor


def detections(predictions: Predictions, points: Tensor, sizes: Tensor, config: PostprocessConfig) -> list[Detections]:
    """The detections of each image, in pixels of the resized image.

    Args:
        predictions: of B images and P points, their distances in pixels.
        points: (P, 2) float32, x y of the points in pixels.
        sizes: (B, 2), height and width of the images without padding.
        config: thresholds and limits.
    """
    best = decode_topk(
        predictions.class_maps,
        predictions.ltrb_maps,
        points,
        predictions.centerness_maps,
        config.score_threshold,
        config.candidates_per_level,
    )
    found = []
    for index, (height, width) in enumerate(sizes.tolist()):
        there = best.labels[index] >= 0
        candidates = Detections(best.boxes[index][there], best.scores[index][there], best.labels[index][there])
        found.append(suppressed(candidates, (int(height), int(width)), config))
    return found


def suppressed(
    candidates: Detections, size: tuple[int, int], config: PostprocessConfig, suppress: Suppress = kept_by_class
) -> Detections:
    """What non-maximum suppression leaves of an image's candidates; ``size``: its height, width without padding.

    ``suppress`` is :func:`kept_by_class`, or another form of it that can be exported.
    """
    boxes, scores, labels = clip_boxes_to_image(candidates.boxes, size), candidates.scores, candidates.labels
    # A point of the padding, or near the border, can predict a box that lies outside of the image.
    is_inside = (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])
    kept = (suppress(boxes, scores, labels, config.nms_threshold) & is_inside).nonzero().squeeze(1)
    best = kept[scores[kept].argsort(descending=True, stable=True)][: config.detections_per_image]
    return Detections(boxes[best], scores[best], labels[best])


def decode(predictions: Predictions, points: Tensor) -> Decoded:
    """The box and the scores of every point, from distances and ``points`` (P, 2) float32, x y, in pixels.

    This and :func:`image_detections` are :func:`detections` in plain torch, for an exported network: other runtimes
    do not have the library's op.
    """
    boxes = torch.cat((points - predictions.ltrb[..., :2], points + predictions.ltrb[..., 2:]), dim=-1)
    class_scores = predictions.class_logits.float().sigmoid()
    if predictions.centerness_logits is None:
        return Decoded(boxes, class_scores, class_scores)
    centerness = predictions.centerness_logits.float().sigmoid().unsqueeze(-1)
    return Decoded(boxes, class_scores, class_scores * centerness)


def image_detections(
    decoded: Decoded,
    index: int,
    level_shapes: Sequence[tuple[int, int]],
    size: tuple[int, int],
    config: PostprocessConfig,
    suppress: Suppress = kept_by_class,
) -> Detections:
    """The detections of one image of a batch; ``size`` is its height and width without padding.

    ``suppress`` is :func:`kept_by_class`, or another form of it that can be exported.
    """
    boxes, class_scores, scores = (tensor[index] for tensor in decoded)
    num_classes = scores.shape[1]
    of_levels = []
    first = 0
    for height, width in level_shapes:
        rows = slice(first, first + height * width)
        # As in FCOS, the threshold is on the class alone and the ranking on class times centerness.
        passing = (class_scores[rows].flatten() > config.score_threshold).nonzero().squeeze(1)
        best = scores[rows].flatten()[passing].argsort(descending=True, stable=True)
        of_levels.append(passing[best[: config.candidates_per_level]] + first * num_classes)
        first += height * width
    candidates = torch.cat(of_levels)
    best_boxes, labels = boxes[candidates // num_classes], candidates % num_classes
    return suppressed(Detections(best_boxes, scores.flatten()[candidates], labels), size, config, suppress)


def rescaled(found: Detections, size: Tensor, original_size: Tensor) -> Detections:
    """Detections in pixels of the file, from those in pixels of the image resized to ``size`` (h, w)."""
    scale = (original_size / size).flip(0).repeat(2).to(found.boxes)
    return found._replace(boxes=found.boxes * scale)
