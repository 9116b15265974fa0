"""The fused assigners in mmdetection's registry beside its own; run by `make integrations`, which installs it."""

from __future__ import annotations

import doctest
import inspect
import pickle
from typing import Any

import pytest
import torch
from integrations import mmcv_stub
from torch import Tensor

from benchmarks.workloads import CocoBoxes

mmcv_stub.install()

from mmdet.models.task_modules.assigners import ATSSAssigner, TaskAlignedAssigner  # noqa: E402
from mmdet.registry import TASK_UTILS  # noqa: E402
from mmengine.structures import InstanceData  # noqa: E402

from pseudo_iou_ops import level_points  # noqa: E402
from pseudo_iou_ops.integrations.mmdetection_assigners import (  # noqa: E402
    FusedATSSAssigner,
    FusedDynamicSoftLabelAssigner,
    FusedSimOTAAssigner,
    FusedTaskAlignedAssigner,
    register_assigners,
)

STRIDES = (8, 16, 32, 64, 128)
SHAPES = [(32, 40), (16, 20), (8, 10), (4, 5), (2, 3)]
COUNTS = [height * width for height, width in SHAPES]
CLASSES = 5


def anchors(shapes: Any = SHAPES) -> Tensor:
    centers = level_points(shapes, STRIDES, offset=0.0)
    counts = [height * width for height, width in shapes]
    half = 4 * torch.repeat_interleave(torch.tensor(STRIDES), torch.tensor(counts))[:, None]
    return torch.cat((centers - half, centers + half), dim=1)


def make_instances(random: torch.Generator) -> Any:
    """Boxes anywhere but on the grid: no two anchors are equally far from a center."""
    count = int(torch.randint(1, 15, (1,), generator=random))
    corners = torch.rand(count, 2, generator=random) * 280 - 10
    boxes = torch.cat((corners, corners + 4 + torch.rand(count, 2, generator=random) ** 3 * 250), dim=1)
    return InstanceData(bboxes=boxes, labels=torch.randint(0, CLASSES, (count,), generator=random))


def test_atss_is_mmdetections_label_for_label() -> None:
    register_assigners()
    own, fused = ATSSAssigner(topk=9), TASK_UTILS.build({"type": "FusedATSSAssigner", "topk": 9})
    random, priors, positives = torch.Generator().manual_seed(0), InstanceData(priors=anchors()), 0
    for _ in range(100):
        instances = make_instances(random)
        expected, given = (assigner.assign(priors, COUNTS, instances) for assigner in (own, fused))
        assert torch.equal(given.gt_inds, expected.gt_inds)
        assert torch.equal(given.labels, expected.labels)
        is_positive = expected.gt_inds > 0
        torch.testing.assert_close(given.max_overlaps[is_positive], expected.max_overlaps[is_positive])
        positives += int(is_positive.sum())
    assert positives > 1000


def predictions(priors: Tensor, boxes: Tensor, labels: Tensor, classes: int, random: torch.Generator) -> Any:
    """Of a network part-way through training: boxes near those that hold the point, good scores for some of these."""
    points = (priors[:, None, :2] + priors[:, None, 2:]) / 2
    holds = ((points > boxes[:, :2]) & (points < boxes[:, 2:])).all(-1)
    chance = holds + 1e-3
    row = torch.multinomial(chance, 1, generator=random).squeeze(1)
    near, sides = boxes[row], (boxes[row, 2:] - boxes[row, :2]).repeat(1, 2)
    spread = 0.02 + 0.4 * torch.rand(len(priors), 1, generator=random)
    scores = torch.rand(len(priors), classes, generator=random) ** 4
    own = torch.rand(len(priors), generator=random)
    scores.scatter_(1, labels[row, None], own[:, None])
    predicted = near + spread * sides * torch.randn(len(priors), 4, generator=random)
    return InstanceData(priors=priors, bboxes=predicted, scores=scores)


def test_task_aligned_is_mmdetections_label_for_label() -> None:
    """On 100 batches of COCO's boxes at 800 x 1333: labels, overlaps and metrics, in every bit."""
    register_assigners()
    own, fused = TaskAlignedAssigner(topk=13), TASK_UTILS.build({"type": "FusedTaskAlignedAssigner", "topk": 13})
    workload, random, positives = CocoBoxes(images=2), torch.Generator().manual_seed(0), 0
    for seed in range(100):
        batch = workload.batch(seed)
        priors = anchors(batch.pyramid.level_shapes)
        for boxes, labels in zip(batch.boxes, batch.labels, strict=True):
            if len(boxes) == 0:
                continue
            given = predictions(priors, boxes, labels, 80, random)
            instances = InstanceData(bboxes=boxes, labels=labels)
            expected, found = (assigner.assign(given, instances, None, 1, 6) for assigner in (own, fused))
            assert torch.equal(found.gt_inds, expected.gt_inds)
            assert torch.equal(found.labels, expected.labels)
            is_positive = expected.gt_inds > 0
            assert torch.equal(found.max_overlaps[is_positive], expected.max_overlaps[is_positive])
            assert torch.equal(found.assign_metrics, expected.assign_metrics)
            positives += int(is_positive.sum())
    assert positives > 4000


def test_equal_alignments_are_the_peers_to_order_and_go_to_the_lower_point_here() -> None:
    """Every point predicts the box that holds all of them, with one score: ``topk`` may return any 13."""
    priors, labels = anchors(), torch.tensor([2])
    box = torch.tensor([[-9.0, -9.0, 400.0, 300.0]])
    scores = torch.full((len(priors), CLASSES), 0.5)
    given = InstanceData(priors=priors, bboxes=box.expand(len(priors), 4), scores=scores)
    expected, found = (
        kind(topk=13).assign(given, InstanceData(bboxes=box, labels=labels)).gt_inds.nonzero().flatten().tolist()
        for kind in (TaskAlignedAssigner, FusedTaskAlignedAssigner)
    )
    assert found == [*range(13)]
    assert len(expected) == 13


def test_the_padding_of_a_smaller_image_leaves_its_own_grids() -> None:
    """TOODHead drops the anchors outside an image's own padding, so that the priors are those of a smaller pyramid."""
    register_assigners()
    smaller = [(24, 28), (12, 14), (6, 7), (3, 4), (2, 2)]
    rows = [
        (start + torch.arange(height)[:, None] * full[1] + torch.arange(width)).flatten()
        for start, full, (height, width) in zip(
            [sum(COUNTS[:level]) for level in range(5)], SHAPES, smaller, strict=True
        )
    ]
    random, whole = torch.Generator().manual_seed(1), anchors()
    boxes = make_instances(random)
    given = predictions(whole[torch.cat(rows)], boxes.bboxes, boxes.labels, CLASSES, random)
    expected, found = (kind(topk=13).assign(given, boxes) for kind in (TaskAlignedAssigner, FusedTaskAlignedAssigner))
    assert int((expected.gt_inds > 0).sum()) > 0
    assert torch.equal(found.gt_inds, expected.gt_inds)


KINDS = (FusedATSSAssigner, FusedTaskAlignedAssigner, FusedSimOTAAssigner, FusedDynamicSoftLabelAssigner)


@pytest.mark.parametrize("kind", KINDS)
def test_a_replaced_name_builds_the_fused_assigner(kind: Any) -> None:
    names = [fused.__name__.removeprefix("Fused") for fused in KINDS]
    before, name = {name: TASK_UTILS.get(name) for name in names}, kind.__name__.removeprefix("Fused")
    counts = {} if kind is FusedSimOTAAssigner else {"topk": 9}
    try:
        register_assigners(replace=True)
        assert isinstance(TASK_UTILS.build({"type": name, **counts}), kind)
        assert pickle.loads(pickle.dumps(TASK_UTILS.get(name))) is kind
    finally:
        for name, module in before.items():
            TASK_UTILS.register_module(name=name, module=module, force=True)


@pytest.mark.parametrize("function", [register_assigners, *KINDS])
def test_example_of_a_docstring_runs(function: Any) -> None:
    example = doctest.DocTestParser().get_doctest(inspect.getdoc(function) or "", {}, function.__name__, None, None)
    assert doctest.DocTestRunner().run(example) == (0, len(example.examples))
    assert example.examples
