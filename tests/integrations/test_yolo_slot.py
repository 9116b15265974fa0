"""Rules of `assign_top_k` in the assigner's slot of the YOLO family, called as its losses call it."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

import pytest
import torch
from integrations.test_families import CLASSES, POINTS, SHAPES, STRIDES, make_boxes
from recorder import WAITS_FOR_THE_DEVICE, Recorder
from torch import Tensor

from pseudo_iou_ops import assign_top_k, level_points, presets
from pseudo_iou_ops.integrations.yolo import YoloAssigner

COUNT, PADDED = 9, 12
SQUARES = [(16, 16), (8, 8), (4, 4), (2, 2), (1, 1)]


def make_inputs(seed: int, dtype: torch.dtype, points: Tensor = POINTS) -> tuple[Tensor, ...]:
    """Of two images, the second without boxes: probabilities, boxes near the first one's, points and padded truths."""
    boxes, labels = make_boxes(seed, COUNT)
    random = torch.Generator().manual_seed(seed)
    padded, classes, mask = torch.full((2, PADDED, 4), torch.nan), torch.zeros(2, PADDED, 1), torch.zeros(2, PADDED, 1)
    padded[0, :COUNT], classes[0, :COUNT, 0], mask[0, :COUNT] = boxes, labels.float(), 1.0
    near = boxes[torch.randint(COUNT, (2, len(points)), generator=random)]
    predicted = near + 12 * torch.randn(near.shape, generator=random)
    scores = torch.rand(2, len(points), CLASSES, generator=random).to(dtype)
    return scores, predicted, points, classes, padded, mask


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(
    "rule",
    [
        presets.pp_yoloe_atss,
        presets.atss,
        presets.tood,
        presets.pp_yoloe,
        presets.yolov8,
        replace(presets.yolov8, keep=1),
        presets.simota,
        presets.yolox,
    ],
)
def test_a_rule_gives_the_five_tensors(rule: Any, dtype: torch.dtype) -> None:
    """The points say where they lie: the rule's own offset, 0 of mmdetection's, is not read."""
    boxes, labels = make_boxes(1, COUNT)
    inputs = make_inputs(1, dtype)
    targets = YoloAssigner(CLASSES, STRIDES, rule)(*inputs)
    given = {} if rule in (presets.pp_yoloe_atss, presets.atss) else {"pred_boxes": inputs[1], "scores": inputs[0]}
    expected = assign_top_k(
        boxes,
        labels,
        torch.tensor([0, COUNT, COUNT]),
        SHAPES,
        STRIDES,
        rule,
        offset=0.5,
        score_kind="probabilities",
        **given,
    )
    assert int(expected.num_pos[0]) >= COUNT - 2
    assert torch.equal(targets.foreground, expected.matched >= 0)
    rows = expected.matched[targets.foreground]
    assert torch.equal(targets.gt_index[targets.foreground], rows)
    assert torch.equal(targets.labels[targets.foreground], labels[rows])
    assert torch.equal(targets.boxes[targets.foreground], boxes[rows])
    assert torch.equal(targets.scores.sum(-1), expected.score.to(dtype))
    own = targets.scores[targets.foreground].gather(1, labels[rows, None]).squeeze(1)  # the rest is 0
    assert torch.equal(own, targets.scores.sum(-1)[targets.foreground])
    assert [tensor.dtype for tensor in targets] == [torch.int64, torch.float32, dtype, torch.bool, torch.int64]


def test_what_the_slot_can_not_do_is_refused() -> None:
    for rule in (presets.atss, presets.tood):
        with pytest.raises(
            ValueError, match=r"^soft: expected False with a rule of assign_top_k, which scores .*, got True$"
        ):
            YoloAssigner(CLASSES, STRIDES, rule, soft=True)
    with pytest.raises(TypeError, match=r"^rule: expected an AssignRule or a rule of assign_top_k, got str$"):
        YoloAssigner(CLASSES, STRIDES, "atss")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^rule: expected one that reads probabilities, .*, got a SoftLabel$"):
        YoloAssigner(CLASSES, STRIDES, presets.rtmdet)
    for classes in ("80", 0):
        with pytest.raises(ValueError, match=r"^num_classes: expected a whole number of at least 1, got"):
            YoloAssigner(classes, STRIDES, presets.yolov8)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^pd_scores: expected \d+ channels, got \(2, "):
        YoloAssigner(CLASSES + 1, STRIDES, presets.yolov8)(*make_inputs(1, torch.float32))


class OnDevice(Tensor):
    """Points that are on no CPU, as far as an adapter can tell."""

    is_cpu = False  # type: ignore[assignment]


@pytest.mark.parametrize("rule", [presets.paper, presets.pp_yoloe_atss, presets.yolov8])
def test_a_steady_step_never_waits_for_the_device(rule: Any) -> None:
    points = level_points(SQUARES, STRIDES).as_subclass(OnDevice)
    inputs, assigner = make_inputs(2, torch.float32, points), YoloAssigner(CLASSES, STRIDES, rule)
    first = assigner(*inputs)
    with Recorder() as recorder:
        second = assigner(*inputs)
    assert "_assert_async" in recorder.names
    assert not recorder.names & WAITS_FOR_THE_DEVICE
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))


def test_grids_of_as_many_points_are_told_apart() -> None:
    """Wide and tall images follow each other in validation; after a square there may come a longer one."""
    wide, tall, long = [(8, 16), (4, 8)], [(16, 8), (8, 4)], [(4, 64), (2, 32)]
    square = [(16, 16), (8, 8)]
    assigner = YoloAssigner(CLASSES, STRIDES[:2], presets.yolov8)
    for shapes in (wide, tall, wide, square, square, long, square):
        inputs = make_inputs(3, torch.float32, level_points(shapes, STRIDES[:2]))
        expected = YoloAssigner(CLASSES, STRIDES[:2], presets.yolov8)(*inputs)
        given = assigner(*inputs)
        assert int(expected.foreground.sum()) > COUNT
        assert all(torch.equal(one, two) for one, two in zip(given, expected, strict=True))
    on_device = [level_points(shapes, STRIDES[:2]).as_subclass(OnDevice) for shapes in (square, long)]
    assigner(*make_inputs(3, torch.float32, on_device[0]))
    with pytest.raises(RuntimeError, match="points: expected the grids of earlier calls with as many points"):
        assigner(*make_inputs(3, torch.float32, on_device[1]))


def test_a_copy_reads_the_points_for_itself() -> None:
    assigner = YoloAssigner(CLASSES, STRIDES, presets.yolov8)
    inputs = make_inputs(2, torch.float32, level_points(SQUARES, STRIDES))
    expected = assigner(*inputs)
    for twin in (copy.deepcopy(assigner), pickle.loads(pickle.dumps(assigner))):
        assert not twin._grids._known
        assert all(torch.equal(one, two) for one, two in zip(twin(*inputs), expected, strict=True))
