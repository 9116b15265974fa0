"""mmdetection's FCOSHead and its assigner registry, and the blocks of the docs that use mmdetection.

Not named test_*.py, because only `make integrations`, which installs mmdetection, is to run it; it fails without."""

from __future__ import annotations

import copy
import doctest
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from doc_blocks import BLOCKS, Block
from integrations import mmcv_stub
from torch import Tensor

from benchmarks.workloads import CocoBoxes

mmcv_stub.install()

from mmdet.models.dense_heads import FCOSHead  # noqa: E402
from mmdet.registry import MODELS, TASK_UTILS  # noqa: E402
from mmengine.structures import InstanceData  # noqa: E402

from pseudo_iou_ops import AssignRule, assign_top_k, level_points, pack_boxes, presets  # noqa: E402
from pseudo_iou_ops.integrations.mmdetection import register, use_in_fcos_head  # noqa: E402
from pseudo_iou_ops.reference import assign as reference_assign  # noqa: E402

STRIDES = (8, 16, 32, 64, 128)
CLASSES = 5


def make_head(**options: Any) -> Any:
    torch.manual_seed(0)
    return FCOSHead(CLASSES, 4, feat_channels=4, strides=STRIDES, norm_cfg=None, **options)


def make_instances(random: torch.Generator, sizes: list[int]) -> list[Any]:
    """Boxes on whole pixels, some of them equal: ties and borders are common."""
    instances = []
    for count in sizes:
        corners = torch.randint(-20, 300, (count, 2), generator=random).float()
        sides = torch.randint(1, 260, (count, 2), generator=random).float()
        boxes = torch.cat((corners, corners + sides), 1)
        boxes[1::3] = boxes[: len(boxes[1::3])]
        instances.append(InstanceData(bboxes=boxes, labels=torch.randint(0, CLASSES, (count,), generator=random)))
    return instances


def points_of(shapes: list[tuple[int, int]]) -> list[Tensor]:
    return list(level_points(shapes, STRIDES).split([height * width for height, width in shapes]))


@pytest.mark.parametrize("norm_on_bbox", [False, True])
@pytest.mark.parametrize("center_sampling", [False, True])
def test_targets_are_fcos_heads_label_for_label(center_sampling: bool, norm_on_bbox: bool) -> None:
    """25 batches for each pair of switches, 100 in all."""
    own = make_head(center_sampling=center_sampling, norm_on_bbox=norm_on_bbox)
    none = AssignRule(metric="none", regress_ranges=presets.FCOS_RANGES)
    ours = use_in_fcos_head(make_head(norm_on_bbox=norm_on_bbox), presets.fcos if center_sampling else none)
    ours.level_shapes = [(32, 40), (16, 20), (8, 10), (4, 5), (2, 3)]
    random = torch.Generator().manual_seed(0)
    positives = 0
    for _ in range(25):
        sizes = torch.randint(0, 12, (3,), generator=random).tolist()
        instances = make_instances(random, sizes)
        points = points_of(ours.level_shapes)
        own_targets, targets = own.get_targets(points, instances), ours.get_targets(points, instances)
        for own_labels, labels, own_ltrb, ltrb in zip(
            own_targets[0], targets[0], own_targets[1], targets[1], strict=True
        ):
            assert torch.equal(own_labels, labels)
            is_positive = labels < CLASSES  # elsewhere mmdetection leaves the distances to some box
            assert torch.equal(own_ltrb[is_positive], ltrb[is_positive])
            positives += int(is_positive.sum())
    assert positives > 1000


def test_a_registered_head_trains_by_the_authors_rule() -> None:
    register()
    register()  # once is enough, twice is no error
    head = MODELS.build(
        {
            "type": "PseudoIoUFCOSHead",
            "rule": "authors_code",
            "num_classes": CLASSES,
            "in_channels": 4,
            "feat_channels": 4,
            "strides": STRIDES,
            "norm_cfg": None,
            "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": True},  # the focal loss is compiled
        }
    )
    head = copy.deepcopy(head)
    features = [torch.rand(2, 4, side, side) for side in (32, 16, 8, 4, 2)]
    instances = make_instances(torch.Generator().manual_seed(1), [6, 0])
    seen: list[Any] = []
    get_targets = head.get_targets
    head.get_targets = lambda *args: seen.append(get_targets(*args)) or seen[-1]
    metas = [{"img_shape": (256, 256)}] * 2
    losses = head.loss_by_feat(*head(features), instances, metas)
    torch.stack(list(losses.values())).sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())

    boxes = torch.cat([image.bboxes for image in instances])
    labels = torch.cat([image.labels for image in instances])
    expected = reference_assign(
        boxes, labels, torch.tensor([0, 6, 6]), head.level_shapes, STRIDES, presets.authors_code
    ).labels
    given = torch.cat([level.view(2, -1) for level in seen[0][0]], dim=1)
    assert torch.equal(given, torch.where(expected >= 0, expected, CLASSES))


def test_the_registered_assigner_agrees_with_the_reference() -> None:
    register()
    rule = {"threshold": 0.5, "ignore_threshold": 0.3}
    assigner = TASK_UTILS.build({"type": "PseudoIoUAssigner", "rule": rule, "strides": STRIDES})
    shapes = [(20, 24), (10, 12), (5, 6), (3, 3), (2, 2)]
    (instances,) = make_instances(torch.Generator().manual_seed(2), [9])
    points = level_points(shapes, STRIDES)
    priors = torch.cat((points, torch.ones_like(points)), dim=1)
    result = assigner.assign(InstanceData(priors=priors), instances)
    expected = reference_assign(
        instances.bboxes,
        instances.labels,
        torch.tensor([0, 9]),
        shapes,
        STRIDES,
        AssignRule(**rule),
    )
    assert torch.equal(result.gt_inds, expected.matched[0] + 1)
    assert torch.equal(result.labels, expected.labels[0].clamp(min=-1))
    assert torch.equal(result.max_overlaps, expected.pseudo_iou[0])
    assert {-1, 0, 4} <= set(result.gt_inds.tolist())


def test_atss_is_mmdetections_label_for_label() -> None:
    """100 batches of COCO's boxes, moved by up to half a pixel: on whole ones distances tie, where topk promises no
    order."""
    workload = replace(CocoBoxes(), images=2)
    assigner = TASK_UTILS.build({"type": "ATSSAssigner", "topk": 9})
    random = torch.Generator().manual_seed(0)
    positives = 0
    for seed in range(100):
        batch = workload.batch(seed)
        boxes = [image + torch.rand(image.shape, generator=random) - 0.5 for image in batch.boxes]
        shapes, strides = batch.pyramid.level_shapes, STRIDES
        sizes = [height * width for height, width in shapes]
        half = torch.tensor([4.0 * stride for stride in strides]).repeat_interleave(torch.tensor(sizes))[:, None]
        points = level_points(shapes, strides, offset=0.0)
        anchors = InstanceData(priors=torch.cat((points - half, points + half), dim=1))
        result = assign_top_k(*pack_boxes(boxes, batch.labels), shapes, strides, presets.atss)
        first_row = 0
        for image, (own, labels) in enumerate(zip(boxes, batch.labels, strict=True)):
            expected = assigner.assign(anchors, sizes, InstanceData(bboxes=own, labels=labels))
            rows = torch.where(result.matched[image] >= 0, result.matched[image] - first_row, -1)
            assert torch.equal(rows + 1, expected.gt_inds)
            is_positive = rows >= 0
            assert torch.equal(result.labels[image][is_positive], expected.labels[is_positive])
            assert torch.equal(result.iou[image][is_positive], expected.max_overlaps[is_positive])
            positives += int(is_positive.sum())
            first_row += len(own)
    assert positives > 5000


def test_task_aligned_is_mmdetections_label_for_label() -> None:
    """100 batches of COCO's boxes, with predictions as of a network part-way through its training: boxes about a box
    of the image, better ones at points inside it, and scores that know the class now and then."""
    workload = replace(CocoBoxes(), images=1)
    assigner = TASK_UTILS.build({"type": "TaskAlignedAssigner", "topk": 13})
    random = torch.Generator().manual_seed(0)
    positives = 0
    for seed in range(100):
        batch = workload.batch(seed)
        (boxes,), (labels,) = batch.boxes, batch.labels
        if len(boxes) == 0:
            continue
        points = level_points(batch.pyramid.level_shapes, STRIDES, offset=0.0)
        anchors = torch.cat((points - 4, points + 4), dim=1)
        nearest = (points[:, None] - (boxes[:, :2] + boxes[:, 2:]) / 2).square().sum(-1).argmin(1)
        sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)[nearest]
        predicted = boxes[nearest] + 0.25 * sides * torch.randn(anchors.shape, generator=random)
        logits = torch.randn(len(points), 91, generator=random) - 3
        logits[torch.arange(len(points)), labels[nearest]] += 2
        packed = pack_boxes([boxes], [labels])
        result = assign_top_k(
            *packed, batch.pyramid.level_shapes, STRIDES, presets.tood, pred_boxes=predicted[None], scores=logits[None]
        )
        instances = InstanceData(priors=anchors, bboxes=predicted, scores=logits.sigmoid())
        expected = assigner.assign(instances, InstanceData(bboxes=boxes, labels=labels))
        assert torch.equal(result.matched[0] + 1, expected.gt_inds)
        is_positive = result.matched[0] >= 0
        assert torch.equal(result.iou[0][is_positive], expected.max_overlaps[is_positive])
        positives += int(is_positive.sum())
    assert positives > 2000


def test_unknown_rules_and_heads_are_refused() -> None:
    register()
    with pytest.raises(ValueError, match="rule: expected a preset"):
        TASK_UTILS.build({"type": "PseudoIoUAssigner", "rule": "papers", "strides": STRIDES})
    with pytest.raises(TypeError, match="head: expected an mmdetection FCOSHead with 'loss_by_feat', got Linear"):
        use_in_fcos_head(torch.nn.Linear(1, 1))


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.project == "mmdet"], ids=lambda block: block.name)
def test_python_block_of_the_docs_runs(block: Block) -> None:
    exec(compile(block.text, block.name, "exec"), {})


@pytest.mark.parametrize("function", [use_in_fcos_head, register])
def test_example_of_a_docstring_runs(function: Callable[..., Any]) -> None:
    example = doctest.DocTestParser().get_doctest(inspect.getdoc(function) or "", {}, function.__name__, None, None)
    assert doctest.DocTestRunner().run(example) == (0, len(example.examples))
    assert example.examples
