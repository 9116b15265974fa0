"""An installed ultralytics (AGPL) as a black box: its assigner is called, and its source was not read."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from pseudo_iou_ops import TaskAligned

from ..predicted import PredictedBatch
from .top_k_targets import TopKTargets


def is_there() -> bool:
    return find_spec("ultralytics") is not None


@cache
def _assigner(rule: TaskAligned, classes: int, strides: tuple[int, ...]) -> Any:
    from ultralytics.utils.tal import TaskAlignedAssigner

    return TaskAlignedAssigner(topk=rule.k, num_classes=classes, alpha=rule.alpha, beta=rule.beta, stride=list(strides))


def inputs_of(batch: PredictedBatch) -> tuple[Tensor, ...]:
    """Probabilities, predicted boxes, points and padded truths, as the family's losses hand them over."""
    boxes, labels, _ = batch.padded
    mask = (boxes[..., 2:] > boxes[..., :2]).all(-1, keepdim=True)
    return batch.probabilities, batch.pred_boxes, batch.points_at(0.5), labels[..., None], boxes, mask


def assign(batch: PredictedBatch, rule: TaskAligned) -> TopKTargets:
    own = _assigner(rule, batch.logits.shape[2], tuple(batch.pyramid.strides))
    labels, _, scores, foreground, row = own(*inputs_of(batch))
    is_positive = foreground.bool()
    return TopKTargets(
        matched=torch.where(is_positive, row + batch.padded[2][:, None], -1),
        labels=torch.where(is_positive, labels.long(), -1),
        num_pos=is_positive.sum(1),
        score=scores.amax(2),
    )
