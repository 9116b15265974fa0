"""mmdetection's heads with the fused assigners in the places of its own; run by `make integrations`."""

from __future__ import annotations

import copy
import doctest
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from integrations import mmcv_stub
from torch import Tensor

mmcv_stub.install()

from mmdet.models.dense_heads import RTMDetHead, TOODHead, YOLOXHead  # noqa: E402
from mmdet.registry import MODELS  # noqa: E402
from mmengine.logging import MessageHub  # noqa: E402
from mmengine.structures import InstanceData  # noqa: E402

from pseudo_iou_ops import level_points  # noqa: E402
from pseudo_iou_ops.integrations.mmdetection import register  # noqa: E402
from pseudo_iou_ops.integrations.mmdetection_assigners import register_assigners  # noqa: E402
from pseudo_iou_ops.integrations.mmdetection_tood import use_in_tood_head  # noqa: E402

STRIDES = (8, 16, 32)
SHAPES = [(20, 24), (10, 12), (5, 6)]
CLASSES = 5
IMAGES = 3
# The second image is smaller than the batch: anchors in its padding take no part, where a head asks for that.
METAS = [{"img_shape": shape, "pad_shape": shape} for shape in ((160, 192), (120, 150), (160, 192))]


def make_instances(random: torch.Generator) -> list[Any]:
    """Boxes in three images, the last of which has none."""
    instances = []
    for count, (height, width) in zip((9, 5, 0), (meta["img_shape"] for meta in METAS), strict=True):
        corners = torch.rand(count, 2, generator=random) * torch.tensor([width - 40.0, height - 40.0])
        boxes = torch.cat((corners, corners + 6 + torch.rand(count, 2, generator=random) * 90), dim=1)
        instances.append(InstanceData(bboxes=boxes, labels=torch.randint(0, CLASSES, (count,), generator=random)))
    return instances


def draw_maps(channels: int, random: torch.Generator) -> list[Tensor]:
    return [torch.randn(IMAGES, channels, *shape, generator=random) for shape in SHAPES]


def make_yolox(assigner: str) -> Any:
    train_cfg = {"assigner": {"type": assigner, "center_radius": 2.5}}
    return YOLOXHead(CLASSES, 8, feat_channels=8, stacked_convs=1, strides=STRIDES, train_cfg=train_cfg)


def yolox_maps(random: torch.Generator) -> tuple[list[Tensor], ...]:
    """Boxes of a few strides about their cells, as that head encodes them; its classes and objectness."""
    boxes = draw_maps(4, random)
    for level in boxes:
        level[:, 2:] = 0.6 * level[:, 2:] + 1.2
    return draw_maps(CLASSES, random), boxes, draw_maps(1, random)


def make_rtmdet(assigner: str) -> Any:
    return RTMDetHead(
        CLASSES, 8, feat_channels=8, stacked_convs=1, with_objectness=False, norm_cfg=None,
        anchor_generator={"type": "MlvlPointGenerator", "offset": 0, "strides": STRIDES},
        bbox_coder={"type": "DistancePointBBoxCoder"},
        loss_cls={"type": "QualityFocalLoss", "use_sigmoid": True, "beta": 2.0, "loss_weight": 1.0},
        loss_bbox={"type": "GIoULoss", "loss_weight": 2.0},
        train_cfg={"assigner": {"type": assigner, "topk": 13}, "allowed_border": -1, "pos_weight": -1},
    )  # fmt: skip


def rtmdet_maps(random: torch.Generator) -> tuple[list[Tensor], ...]:
    boxes = draw_maps(4, random)
    return draw_maps(CLASSES, random), [
        stride * (0.6 * level).exp() * 1.5 for level, stride in zip(boxes, STRIDES, strict=True)
    ]


def tood_config(assigner: str = "TaskAlignedAssigner", pos_weight: float = -1, **options: Any) -> dict[str, Any]:
    train_cfg = {
        "initial_epoch": 4,
        "initial_assigner": {"type": assigner.replace("TaskAligned", "ATSS"), "topk": 9},
        "assigner": {"type": assigner, "topk": 13},
        "alpha": 1,
        "beta": 6,
        "allowed_border": -1,
        "pos_weight": pos_weight,
    }
    generator = {"type": "AnchorGenerator", "ratios": [1.0], "octave_base_scale": 8, "scales_per_octave": 1}
    loss = {"type": "QualityFocalLoss", "use_sigmoid": True, "activated": True, "beta": 2.0, "loss_weight": 1.0}
    return {
        "num_classes": CLASSES,
        "in_channels": 8,
        "feat_channels": 8,
        "stacked_convs": 2,
        "norm_cfg": None,
        "anchor_generator": {**generator, "strides": STRIDES, **options},
        "loss_cls": loss,
        "loss_bbox": {"type": "GIoULoss", "loss_weight": 2.0},
        "train_cfg": train_cfg,
    }


def make_tood(*args: Any, **options: Any) -> Any:
    return TOODHead(**tood_config(*args, **options))


def tood_maps(random: torch.Generator) -> tuple[list[Tensor], ...]:
    """Probabilities, and corners in strides of boxes about the anchors."""
    boxes = []
    for shape, stride, level in zip(SHAPES, STRIDES, draw_maps(4, random), strict=True):
        points = level_points([shape], [stride], offset=0.0).T.reshape(2, *shape) / stride
        half = (0.5 * level[:, 2:]).exp() * 2
        boxes.append(torch.cat((points + level[:, :2] - half, points + level[:, :2] + half), dim=1))
    return [level.sigmoid() for level in draw_maps(CLASSES, random)], boxes


HEADS: dict[str, tuple[Callable[..., Any], Callable[..., Any], str]] = {
    "YOLOXHead": (make_yolox, yolox_maps, "SimOTAAssigner"),
    "RTMDetHead": (make_rtmdet, rtmdet_maps, "DynamicSoftLabelAssigner"),
    "TOODHead": (make_tood, tood_maps, "TaskAlignedAssigner"),
}


def losses_of(head: Any, maps: tuple[list[Tensor], ...], instances: list[Any]) -> tuple[dict[str, Any], list[Tensor]]:
    """The losses, and the gradient of each map."""
    leaves = [[level.clone().requires_grad_() for level in kind] for kind in maps]
    losses = head.loss_by_feat(*leaves, instances, copy.deepcopy(METAS))
    flat = [value for loss in losses.values() for value in (loss if isinstance(loss, list) else [loss])]
    torch.stack(flat).sum().backward()
    return losses, [level.grad for kind in leaves for level in kind if level.grad is not None]


@pytest.fixture
def later_epoch() -> None:
    MessageHub.get_current_instance().update_info("epoch", 4)


@pytest.mark.usefixtures("later_epoch")
@pytest.mark.parametrize("name", HEADS)
def test_a_head_has_the_losses_and_gradients_of_its_own_assigner(name: str) -> None:
    """To the bit for those whose targets are overlaps; TOODHead's powers are torch's."""
    register_assigners()
    make, draw, assigner = HEADS[name]
    own, fused = make(assigner), make(f"Fused{assigner}")
    random = torch.Generator().manual_seed(0)
    for _ in range(10):
        maps, instances = draw(random), make_instances(random)
        expected, given = (losses_of(head, maps, instances) for head in (own, fused))
        tolerance = 1e-5 if name == "TOODHead" else 0.0
        torch.testing.assert_close(given, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("pos_weight", [-1, 2.5])
@pytest.mark.parametrize("epoch", [0, 4])
def test_the_targets_of_a_batch_are_those_of_mmdetections_loops(epoch: int, pos_weight: float) -> None:
    """Of TOODHead: anchors, labels, weights, boxes and normalised metrics, by ATSS first and then task-aligned."""
    MessageHub.get_current_instance().update_info("epoch", epoch)
    own, fused = make_tood(pos_weight=pos_weight), use_in_tood_head(make_tood(pos_weight=pos_weight))
    fused = copy.deepcopy(fused)
    seen: list[Any] = []
    for head in (own, fused):
        targets = head.get_targets
        head.get_targets = lambda *args, targets=targets, **options: seen.append(targets(*args, **options)) or seen[-1]
    random, positives = torch.Generator().manual_seed(0), 0
    for _ in range(25):
        maps, instances = tood_maps(random), make_instances(random)
        for head in (own, fused):
            head.loss_by_feat(*maps, instances, copy.deepcopy(METAS))
        expected, given = seen[-2:]
        assert [len(kind) for kind in given] == [len(kind) for kind in expected] == [3] * 5
        for kind, (ours, theirs) in enumerate(zip(given, expected, strict=True)):
            for one, other in zip(ours, theirs, strict=True):
                assert one.dtype == other.dtype
                tolerance = 1e-6 if kind == 4 else 0.0
                torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)
        positives += sum(int((level < CLASSES).sum()) for level in given[1])
    assert positives > 1000


@pytest.mark.usefixtures("later_epoch")
def test_a_registered_tood_head_trains() -> None:
    register()
    random = torch.Generator().manual_seed(1)
    head = MODELS.build({"type": "FusedTOODHead", **tood_config()})
    own = make_tood()
    maps, instances = tood_maps(random), make_instances(random)
    torch.testing.assert_close(losses_of(head, maps, instances), losses_of(own, maps, instances), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"octave_base_scale": 8, "scales_per_octave": 2}, r"^head: expected one anchor a cell, got \[2, 2, 2\]$"),
        ({"center_offset": 0.5}, r"^head: expected anchors of center_offset 0, got 0\.5$"),
    ],
)
def test_a_head_of_other_anchors_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        use_in_tood_head(make_tood(**options))


def test_example_of_the_docstring_runs() -> None:
    text = inspect.getdoc(use_in_tood_head) or ""
    example = doctest.DocTestParser().get_doctest(text, {}, "use_in_tood_head", None, None)
    assert doctest.DocTestRunner().run(example) == (0, len(example.examples))
    assert example.examples
