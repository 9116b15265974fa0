"""SimOTA and dynamic soft labels against mmdetection's own assigners; run by `make integrations`, which installs it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import torch
from integrations import mmcv_stub
from torch import Tensor

from benchmarks.workloads import CocoBoxes

mmcv_stub.install()

from mmdet.models.task_modules.assigners import AssignResult  # noqa: E402
from mmdet.registry import TASK_UTILS  # noqa: E402
from mmengine.structures import InstanceData  # noqa: E402

from pseudo_iou_ops import assign_top_k, level_points, pack_boxes, presets  # noqa: E402
from pseudo_iou_ops.integrations.mmdetection_assigners import register_assigners  # noqa: E402

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


def compare(expected: Any, given: Any) -> int:
    """Every label, every box and the bits of every overlap; returns the number of positives."""
    assert torch.equal(given.gt_inds, expected.gt_inds)
    assert torch.equal(given.labels, expected.labels)
    is_positive = expected.gt_inds > 0
    assert torch.equal(given.max_overlaps[is_positive], expected.max_overlaps[is_positive])
    return int(is_positive.sum())


@pytest.mark.parametrize("family", ["SimOTAAssigner", "DynamicSoftLabelAssigner"])
def test_the_registered_assigner_is_mmdetections_label_for_label(family: str) -> None:
    """On 100 images of COCO at 800 x 1333; YOLOXHead's objectness is read by the op beside its classes alike."""
    register_assigners()
    own, fused = (TASK_UTILS.build({"type": name}) for name in (family, f"Fused{family}"))
    is_sim_ota, positives, random = family == "SimOTAAssigner", 0, torch.Generator().manual_seed(1)
    rule = presets.simota if is_sim_ota else presets.rtmdet
    for image in itertools.islice(drawn_images(rule.offset), 100):
        objectness = torch.randn(len(image.logits), 1, generator=random)
        joint = (image.logits.sigmoid() * objectness.sigmoid()).sqrt()
        given = InstanceData(priors=image.priors, bboxes=image.predicted, scores=joint if is_sim_ota else image.logits)
        instances = InstanceData(bboxes=image.boxes, labels=image.labels)
        expected = own.assign(given, instances)
        positives += compare(expected, fused.assign(given, instances))
        result = assign_top_k(
            *pack_boxes([image.boxes], [image.labels]), image.level_shapes, STRIDES, rule,
            pred_boxes=image.predicted[None], scores=image.logits[None],
            objectness=objectness[None] if is_sim_ota else None,
        )  # fmt: skip
        compare(expected, AssignResult(len(image.boxes), result.matched[0] + 1, result.iou[0], result.labels[0]))
    assert positives > 2000
