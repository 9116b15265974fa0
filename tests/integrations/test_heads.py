"""The heads of other projects whose way to their targets is replaced, as stand-ins of their documented interfaces."""

from __future__ import annotations

import copy
import pickle
import sys
import types
from typing import Any

import pytest
import torch
from integrations.test_families import CLASSES, POINT_STRIDES, SHAPES, STRIDES, Instances, draw_predictions, make_boxes
from torch import Tensor, nn

from pseudo_iou_ops import SimOta, assign_top_k, level_points, pack_boxes, presets
from pseudo_iou_ops.integrations.mmdetection_tood import use_in_tood_head
from pseudo_iou_ops.integrations.yolox import use_in_yolox_head

COUNTS = (9, 5)
LEVEL_COUNTS = [height * width for height, width in SHAPES]
POINTS = sum(LEVEL_COUNTS)


class YoloxHead(nn.Module):
    """Stands in for YOLOX's: its losses ask for the positives of one image after another."""

    num_classes, strides = CLASSES, STRIDES

    def get_losses(self, labels: list[Tensor], boxes: Tensor, objectness: Tensor, classes: Tensor) -> list[Any]:
        cells = [torch.cartesian_prod(torch.arange(h), torch.arange(w)) for h, w in SHAPES]
        y, x = torch.cat(cells).float().T[:, None]
        found = []
        for image, label in enumerate(labels):
            arguments = (len(label), label[:, 1:], label[:, 0], boxes[image], POINT_STRIDES[None], x, y)
            found.append(self.get_assignments(image, *arguments, classes, objectness))
        return found

    def get_assignments(self, *_: Any) -> Any:
        raise NotImplementedError


def yolox_batch() -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    """Labels ``class x y width height`` on quarters of a pixel, and predictions of two images."""
    labels, predicted, scores = [], [], []
    for seed, count in enumerate(COUNTS):
        boxes, classes = make_boxes(seed, count)
        boxes = (4 * boxes).round() / 4
        labels.append(torch.cat((classes[:, None], (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]), 1))
        corners, score = draw_predictions(level_points(SHAPES, STRIDES), boxes)
        corners = (4 * corners).round() / 4
        predicted.append(torch.cat(((corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]), 1))
        scores.append(score.logit())
    objectness = torch.randn(2, POINTS, 1, generator=torch.Generator().manual_seed(2))
    return labels, torch.stack(predicted), objectness, torch.stack(scores)


def corners_of(boxes: Tensor) -> Tensor:
    return torch.cat((boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2), dim=-1)


@pytest.mark.parametrize("rule", [presets.yolox, SimOta(radius=2.5)])
def test_yolox_gets_the_positives_of_each_image(rule: SimOta) -> None:
    head = use_in_yolox_head(YoloxHead(), rule)
    labels, boxes, objectness, classes = yolox_batch()
    expected = assign_top_k(
        *pack_boxes([corners_of(label[:, 1:]) for label in labels], [label[:, 0].long() for label in labels]),
        SHAPES, STRIDES, rule, pred_boxes=corners_of(boxes), scores=classes, objectness=objectness[..., 0],
    )  # fmt: skip
    assert min(expected.num_pos.tolist()) > 5
    for twin in (head, copy.deepcopy(head), pickle.loads(pickle.dumps(head))):
        for image, found in enumerate(twin.get_losses(labels, boxes, objectness, classes)):
            foreground = expected.matched[image] >= 0
            rows = expected.matched[image][foreground] - sum(COUNTS[:image])
            assert torch.equal(found[0], labels[image][rows, 0])  # in the dtype of the labels
            assert torch.equal(found[1], foreground)
            assert torch.equal(found[2], expected.iou[image][foreground])
            assert torch.equal(found[3], rows)
            assert found[4] == int(expected.num_pos[image])


def test_yolox_in_half_precision_and_out_of_memory() -> None:
    """Predictions under autocast are widened; the way out of a full GPU is taken to be the usual one."""
    head: Any = use_in_yolox_head(YoloxHead())
    labels, boxes, objectness, classes = yolox_batch()
    seen: list[Any] = []
    assignments = head.get_assignments
    head.get_assignments = lambda *args: seen.append(args) or assignments(*args)
    whole = head.get_losses(labels, boxes.half().float(), objectness.half().float(), classes.half().float())
    half = head.get_losses(labels, boxes.half(), objectness.half(), classes.half())
    again = [assignments(*arguments, mode="cpu") for arguments in seen[len(labels) :]]
    for expected, *given in zip(whole, half, again, strict=True):
        for one in given:
            assert all(torch.equal(*pair) for pair in zip(one[:4], expected[:4], strict=True))


def test_what_is_no_yolox_head_or_rule_of_it_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^head: expected a YOLOXHead with 'get_losses', got Linear$"):
        use_in_yolox_head(nn.Linear(1, 1))
    with pytest.raises(TypeError, match=r"^rule: expected a SimOta, got TaskAligned$"):
        use_in_yolox_head(YoloxHead(), presets.tood)  # type: ignore[arg-type]


class ToodHead(nn.Module):
    """Stands in for mmdetection's: `loss_by_feat` calls `get_targets` as its documentation says."""

    num_classes, initial_epoch = CLASSES, 4

    def __init__(self, pos_weight: float = -1, offset: float = 0.0, priors: int = 1, border: int = -1) -> None:
        super().__init__()
        self.train_cfg = {"pos_weight": pos_weight, "allowed_border": border}
        self.prior_generator = types.SimpleNamespace(
            strides=[(stride, stride) for stride in STRIDES], num_base_priors=[priors] * 5, center_offset=offset
        )

    def loss_by_feat(self, cls_scores: list[Tensor], corners: Tensor, instances: list[Any], metas: list[Any]) -> Any:
        flat = torch.cat([level.flatten(2).transpose(1, 2) for level in cls_scores], dim=1)
        anchors = list(anchors_of_points().split(LEVEL_COUNTS))
        flags = [[torch.ones(count, dtype=torch.bool) for count in LEVEL_COUNTS]] * len(metas)
        return self.get_targets(
            flat, corners, [anchors] * len(metas), flags, instances, metas, batch_gt_instances_ignore=None
        )

    def get_targets(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


def anchors_of_points() -> Tensor:
    centers, half = level_points(SHAPES, STRIDES, 0.0), 4 * POINT_STRIDES[:, None]
    return torch.cat((centers - half, centers + half), dim=1)


@pytest.fixture
def epoch(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What mmengine's MessageHub says of it."""
    known: dict[str, int] = {}
    hub = types.SimpleNamespace(get_current_instance=lambda: types.SimpleNamespace(get_info=known.__getitem__))
    for name, members in {"mmengine": {}, "mmengine.logging": {"MessageHub": hub}}.items():
        module = types.ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    return known


@pytest.mark.parametrize(("number", "pos_weight", "weight"), [(3, -1, 1.0), (4, -1, 1.0), (4, 2.5, 2.5)])
def test_tood_gets_the_targets_of_a_batch(epoch: dict[str, int], number: int, pos_weight: float, weight: float) -> None:
    """Of two images, the second of which has padding; the first epochs by ATSS."""
    epoch["epoch"] = number
    truths = [make_boxes(seed, count) for seed, count in enumerate(COUNTS)]
    predicted = [draw_predictions(level_points(SHAPES, STRIDES, 0.0), boxes) for boxes, _ in truths]
    corners, scores = (torch.stack(kind) for kind in zip(*predicted, strict=True))
    maps = [
        level.transpose(1, 2).unflatten(2, shape)
        for level, shape in zip(scores.split(LEVEL_COUNTS, dim=1), SHAPES, strict=True)
    ]
    metas = [{"pad_shape": (160, 192, 3)}, {"pad_shape": (120, 150, 3)}]
    head = pickle.loads(pickle.dumps(use_in_tood_head(ToodHead(pos_weight))))
    found = head.loss_by_feat(maps, corners, [Instances(*truth) for truth in truths], metas)
    assert [[level.shape[1] for level in kind] for kind in found] == [LEVEL_COUNTS] * 5
    anchors, labels, weights, boxes, metrics = (torch.cat(kind, dim=1) for kind in found)
    packed = pack_boxes(*(list(kind) for kind in zip(*truths, strict=True)))
    is_initial = number < ToodHead.initial_epoch
    given = {} if is_initial else {"pred_boxes": corners, "scores": scores, "score_kind": "probabilities"}
    expected = assign_top_k(
        *packed, SHAPES, STRIDES, presets.atss if is_initial else presets.tood,
        valid_sizes=torch.tensor([[160.0, 192.0], [120.0, 150.0]]), **given,
    )  # fmt: skip
    is_positive, is_padding = expected.matched >= 0, expected.matched == -2
    assert is_padding.sum(1).tolist()[0] == 0 < is_padding.sum(1).tolist()[1]
    assert torch.equal(anchors, anchors_of_points() * ~is_padding[..., None])
    assert torch.equal(labels, torch.where(is_positive, expected.labels, CLASSES))
    assert torch.equal(weights, torch.where(is_positive, weight, (~is_padding).float()))
    assert torch.equal(boxes[is_positive], packed[0][expected.matched[is_positive]])
    assert not boxes[~is_positive].any()
    assert torch.equal(metrics, expected.score)
    nothing = head.loss_by_feat(maps, corners, [Instances(boxes[:0], label[:0]) for boxes, label in truths], metas)
    assert set(torch.cat(nothing[1], dim=1).unique().tolist()) == {CLASSES}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"offset": 0.5}, "expected anchors of center_offset 0, got 0.5"),
        ({"priors": 2}, r"expected one anchor a cell, got \[2, 2, 2, 2, 2\]"),
        ({"border": 0}, "expected allowed_border -1, because all anchors take part, got 0"),
    ],
)
def test_a_tood_head_of_other_anchors_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^head: {message}$"):
        use_in_tood_head(ToodHead(**options))


def test_what_is_no_tood_head_or_rule_of_it_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^head: expected an mmdetection TOODHead with 'loss_by_feat', got Linear$"):
        use_in_tood_head(nn.Linear(1, 1))
    with pytest.raises(TypeError, match=r"^rule: expected a TaskAligned, got SimOta$"):
        use_in_tood_head(ToodHead(), presets.simota)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^initial_rule: expected an Atss, got TaskAligned$"):
        use_in_tood_head(ToodHead(), initial_rule=presets.tood)  # type: ignore[arg-type]
