"""mmdetection's own assigners where they can be imported: image by image, as its heads call them. Scores are left to
the heads, which normalise them box by box."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from pseudo_iou_ops import Atss, SimOta, SoftLabel, TaskAligned

from ..predicted import PredictedBatch
from .top_k_targets import TopKTargets


def is_there() -> bool:
    return find_spec("mmdet") is not None


@cache
def _mmdetection() -> tuple[Any, Any]:
    """The module of the assigners, and InstanceData. mmcv's compiled ops have no wheel for current torch and are
    not called here; the tests' stand-in for them serves where they are missing."""
    from tests.integrations import mmcv_stub

    mmcv_stub.install()
    from mmdet.models.task_modules import assigners
    from mmengine.structures import InstanceData

    return assigners, InstanceData


def assign_atss(batch: PredictedBatch, rule: Atss) -> TopKTargets:
    assigners, instances = _mmdetection()
    assigner, priors = assigners.ATSSAssigner(topk=rule.k), instances(priors=_anchors(batch, rule))
    counts = batch.pyramid.points_per_level

    def of_image(image: int, truths: Any) -> Any:
        return assigner.assign(priors, counts, truths)

    return _collected(batch, of_image)


def assign_task_aligned(batch: PredictedBatch, rule: TaskAligned) -> TopKTargets:
    assigners, instances = _mmdetection()
    assigner, points = assigners.TaskAlignedAssigner(topk=rule.k), batch.points_at(rule.offset)
    priors = torch.cat((points, points), dim=1)  # it reads their centers alone

    def of_image(image: int, truths: Any) -> Any:
        predictions = instances(priors=priors, bboxes=batch.pred_boxes[image], scores=batch.probabilities[image])
        return assigner.assign(predictions, truths, alpha=rule.alpha, beta=rule.beta)

    return _collected(batch, of_image)


def assign_sim_ota(batch: PredictedBatch, rule: SimOta) -> TopKTargets:
    own = _mmdetection()[0].SimOTAAssigner(rule.radius, rule.top_ious, rule.iou_weight, rule.cls_weight)
    return _dynamic_k(batch, own, rule.offset, batch.joint_probabilities)


def assign_soft_label(batch: PredictedBatch, rule: SoftLabel) -> TopKTargets:
    own = _mmdetection()[0].DynamicSoftLabelAssigner(rule.radius, rule.top_ious, rule.iou_weight)
    return _dynamic_k(batch, own, rule.offset, batch.logits)


def _dynamic_k(batch: PredictedBatch, own: Any, offset: float, scores: Tensor) -> TopKTargets:
    instances, strides = _mmdetection()[1], batch.point_strides[:, None]
    priors = torch.cat((batch.points_at(offset), strides, strides), dim=1)

    def of_image(image: int, truths: Any) -> Any:
        return own.assign(instances(priors=priors, bboxes=batch.pred_boxes[image], scores=scores[image]), truths)

    return _collected(batch, of_image)


def _anchors(batch: PredictedBatch, rule: Atss) -> Tensor:
    points, half = batch.points_at(rule.offset), rule.anchor_scale * batch.point_strides[:, None] / 2
    return torch.cat((points - half, points + half), dim=1)


def _collected(batch: PredictedBatch, of_image: Callable[[int, Any], Any]) -> TopKTargets:
    instances = _mmdetection()[1]
    matched, matched_labels, first_row = [], [], 0
    for image, (boxes, labels) in enumerate(zip(batch.boxes, batch.labels, strict=True)):
        given = of_image(image, instances(bboxes=boxes, labels=labels))
        is_positive = given.gt_inds > 0
        matched.append(torch.where(is_positive, given.gt_inds - 1 + first_row, -1))
        matched_labels.append(torch.where(is_positive, given.labels, -1))
        first_row += boxes.shape[0]
    rows = torch.stack(matched)
    return TopKTargets(rows, torch.stack(matched_labels), (rows >= 0).sum(1), None)
