"""SimOTA and dynamic soft labels against mmdetection's own assigners; run by `make integrations`, which installs it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from integrations import mmcv_stub
from torch import Tensor

from benchmarks.workloads import CocoBoxes

mmcv_stub.install()

from mmdet.models.task_modules.assigners import DynamicSoftLabelAssigner, SimOTAAssigner  # noqa: E402
from mmengine.structures import InstanceData  # noqa: E402

from pseudo_iou_ops import assign_top_k, level_points, pack_boxes, presets  # noqa: E402
from pseudo_iou_ops.top_k_rules import SimOta, SoftLabel  # noqa: E402

STRIDES = (8, 16, 32, 64, 128)
CLASSES = 91


class Drawn(NamedTuple):
    """An image with the predictions of a network part-way through its training."""

    boxes: Tensor
    labels: Tensor
    level_shapes: tuple[tuple[int, int], ...]
    priors: Tensor
    predicted: Tensor
    logits: Tensor


def drawn_images(offset: float) -> Iterator[Drawn]:
    """Images of COCO with boxes. A point predicts a box about that whose center is nearest, and knows its class now and
    then."""
    workload, random = replace(CocoBoxes(), images=1), torch.Generator().manual_seed(0)
    for seed in itertools.count():
        batch = workload.batch(seed)
        (boxes,), (labels,) = batch.boxes, batch.labels
        if len(boxes) == 0:
            continue
        shapes = batch.pyramid.level_shapes
        points = level_points(shapes, STRIDES, offset)
        counts = torch.tensor([height * width for height, width in shapes])
        strides = torch.tensor(STRIDES, dtype=torch.float32).repeat_interleave(counts)[:, None]
        nearest = (points[:, None] - (boxes[:, :2] + boxes[:, 2:]) / 2).square().sum(-1).argmin(1)
        sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)[nearest]
        predicted = boxes[nearest] + 0.25 * sides * torch.randn(len(points), 4, generator=random)
        logits = torch.randn(len(points), CLASSES, generator=random) - 3
        logits[torch.arange(len(points)), labels[nearest]] += 2
        yield Drawn(boxes, labels, shapes, torch.cat((points, strides, strides), dim=1), predicted, logits)


def compare(assigner: Any, image: Drawn, given_scores: Tensor, rule: SimOta | SoftLabel, **predictions: Tensor) -> int:
    """Every label, every box and the bits of every overlap; returns the number of positives."""
    given = InstanceData(priors=image.priors, bboxes=image.predicted, scores=given_scores)
    expected = assigner.assign(given, InstanceData(bboxes=image.boxes, labels=image.labels))
    result = assign_top_k(
        *pack_boxes([image.boxes], [image.labels]), image.level_shapes, STRIDES, rule,
        pred_boxes=image.predicted[None], **predictions,
    )  # fmt: skip
    assert torch.equal(result.matched[0] + 1, expected.gt_inds)
    assert torch.equal(result.labels[0], expected.labels)
    is_positive = result.matched[0] >= 0
    assert torch.equal(result.iou[0][is_positive], expected.max_overlaps[is_positive])
    return int(result.num_pos)


def test_sim_ota_is_mmdetections_label_for_label() -> None:
    random, positives = torch.Generator().manual_seed(1), 0
    for image in itertools.islice(drawn_images(presets.simota.offset), 100):
        objectness = torch.randn(len(image.logits), 1, generator=random)
        joint = (image.logits.sigmoid() * objectness.sigmoid()).sqrt()  # as its YOLOXHead does
        scores = {"scores": image.logits[None], "objectness": objectness[None]}
        positives += compare(SimOTAAssigner(), image, joint, presets.simota, **scores)
    assert positives > 2000


def test_soft_labels_are_mmdetections_label_for_label() -> None:
    positives = 0
    for image in itertools.islice(drawn_images(presets.rtmdet.offset), 100):
        logits = image.logits
        positives += compare(DynamicSoftLabelAssigner(), image, logits, presets.rtmdet, scores=logits[None])
    assert positives > 2000
