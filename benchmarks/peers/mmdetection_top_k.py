"""mmdetection's own assigners where they can be imported: image by image, as its heads call them. Scores are left to
the heads, which normalise them box by box."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from pseudo_iou_ops import Atss, TaskAligned

from ..predicted import PredictedBatch
from .top_k_targets import TopKTargets


def is_there() -> bool:
    return find_spec("mmdet") is not None


@cache
def _mmdetection() -> tuple[Any, Any, Any]:
    """ATSSAssigner, TaskAlignedAssigner and InstanceData. mmcv's compiled ops have no wheel for current torch and are
    not called here; the tests' stand-in for them serves where they are missing."""
    from tests.integrations import mmcv_stub

    mmcv_stub.install()
    from mmdet.models.task_modules.assigners import ATSSAssigner, TaskAlignedAssigner
    from mmengine.structures import InstanceData

    return ATSSAssigner, TaskAlignedAssigner, InstanceData


def assign_atss(batch: PredictedBatch, rule: Atss) -> TopKTargets:
    atss, _, instances = _mmdetection()
    assigner, priors = atss(topk=rule.k), instances(priors=_anchors(batch, rule))
    counts = batch.pyramid.points_per_level

    def of_image(image: int, truths: Any) -> Any:
        return assigner.assign(priors, counts, truths)

    return _collected(batch, of_image)


def assign_task_aligned(batch: PredictedBatch, rule: TaskAligned) -> TopKTargets:
    _, task_aligned, instances = _mmdetection()
    assigner, points = task_aligned(topk=rule.k), batch.points_at(rule.offset)
    priors = torch.cat((points, points), dim=1)  # it reads their centers alone

    def of_image(image: int, truths: Any) -> Any:
        predictions = instances(priors=priors, bboxes=batch.pred_boxes[image], scores=batch.probabilities[image])
        return assigner.assign(predictions, truths, alpha=rule.alpha, beta=rule.beta)

    return _collected(batch, of_image)


def _anchors(batch: PredictedBatch, rule: Atss) -> Tensor:
    points, half = batch.points_at(rule.offset), rule.anchor_scale * batch.point_strides[:, None] / 2
    return torch.cat((points - half, points + half), dim=1)


def _collected(batch: PredictedBatch, of_image: Callable[[int, Any], Any]) -> TopKTargets:
    instances = _mmdetection()[2]
    matched, matched_labels, first_row = [], [], 0
    for image, (boxes, labels) in enumerate(zip(batch.boxes, batch.labels, strict=True)):
        given = of_image(image, instances(bboxes=boxes, labels=labels))
        is_positive = given.gt_inds > 0
        matched.append(torch.where(is_positive, given.gt_inds - 1 + first_row, -1))
        matched_labels.append(torch.where(is_positive, given.labels, -1))
        first_row += boxes.shape[0]
    rows = torch.stack(matched)
    return TopKTargets(rows, torch.stack(matched_labels), (rows >= 0).sum(1), None)
