"""What a head predicts for one image, as the references read it: dense and in float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from . import _reference_exact as exact
from ._predictions import Predictions
from .metrics import is_valid_box


class ImagePredictions(NamedTuple):
    """What a head predicts for one image."""

    boxes: Tensor
    """(P, 4) float32 x1 y1 x2 y2."""
    probabilities: Tensor
    """(P, C) float32 in [0, 1]."""


def predictions_of(
    predictions: Predictions, image: int, points: Tensor, objectness: Sequence[Tensor] = ()
) -> ImagePredictions:
    """With objectness a probability is the root of its product with that of the class."""
    are_logits = predictions.scores_are_logits
    probabilities = probabilities_of(dense(predictions.scores, image), are_logits)
    if objectness:
        probabilities = exact.sqrt(probabilities * probabilities_of(dense(objectness, image), are_logits))
    return ImagePredictions(predicted_boxes(predictions, image, points), probabilities)


def predicted_boxes(predictions: Predictions, image: int, points: Tensor) -> Tensor:
    """(P, 4) float32 x1 y1 x2 y2."""
    boxes = dense(predictions.boxes, image)
    if predictions.boxes_are_ltrb:
        boxes = torch.cat((points - boxes[:, :2], points + boxes[:, 2:]), dim=1)
    return boxes


def probabilities_of(scores: Tensor, are_logits: bool) -> Tensor:
    """Scores as numbers in [0, 1]."""
    is_number = scores == scores
    scores = torch.where(is_number, scores, torch.zeros_like(scores))
    probabilities = exact.sigmoid(scores) if are_logits else scores.clamp(0, 1)
    return torch.where(is_number, probabilities, torch.zeros_like(scores))


def dense(levels: Sequence[Tensor], image: int) -> Tensor:
    """(P, C) float32."""
    parts = [level[image].flatten(1).t() if level.ndim == 4 else level[image] for level in levels]
    return torch.cat([part.to(torch.float32) for part in parts])


def of_classes(values: Tensor, labels: Tensor, missing: float) -> Tensor:
    """(G, P) the values (P, C) of each box's class, ``missing`` of a class that the head does not have."""
    classes = values.shape[1]
    if classes == 0:
        return values.new_full((len(labels), len(values)), missing)
    is_class = (labels >= 0) & (labels < classes)
    own = values[:, labels.clamp(0, classes - 1)].t()
    return torch.where(is_class[:, None], own, missing).contiguous()


def safe_boxes(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes (P, 4) of which those that are none are replaced by one that is, and (P,) which are valid."""
    is_valid = is_valid_box(boxes)
    return torch.where(is_valid[:, None], boxes, boxes.new_tensor([0.0, 0.0, 1.0, 1.0])), is_valid
