"""Rules of every family in the slots that other projects have for an assigner."""

from __future__ import annotations

import pickle
import sys
import types
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from pseudo_iou_ops import (
    Atss,
    SimOta,
    SoftLabel,
    TaskAligned,
    TopKAssignment,
    assign_top_k,
    level_points,
    pack_boxes,
    presets,
)
from pseudo_iou_ops.integrations import detectron2
from pseudo_iou_ops.integrations._grid import grids_of_priors
from pseudo_iou_ops.integrations.mmdetection_assigners import (
    FusedATSSAssigner,
    FusedDynamicSoftLabelAssigner,
    FusedSimOTAAssigner,
    FusedTaskAlignedAssigner,
    register_assigners,
)

STRIDES = (8, 16, 32, 64, 128)
SHAPES = [(20, 24), (10, 12), (5, 6), (3, 3), (2, 2)]
POINTS = level_points(SHAPES, STRIDES)
POINT_STRIDES = torch.repeat_interleave(
    torch.tensor(STRIDES, dtype=torch.float32), torch.tensor([height * width for height, width in SHAPES])
)
CLASSES = 7
KINDS: tuple[Any, ...] = (
    FusedATSSAssigner,
    FusedTaskAlignedAssigner,
    FusedSimOTAAssigner,
    FusedDynamicSoftLabelAssigner,
)


def make_boxes(seed: int, count: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=random) * 150 - 10
    boxes = torch.cat((corners, corners + 5 + torch.rand(count, 2, generator=random) * 90), dim=1)
    return boxes, torch.randint(0, CLASSES, (count,), generator=random)


def expected_of(rule: Any, seed: int, offset: float, **predictions: Any) -> TopKAssignment:
    boxes, labels = make_boxes(seed, 9)
    offsets = torch.tensor([0, 9])
    result = assign_top_k(boxes, labels, offsets, SHAPES, STRIDES, rule, offset=offset, **predictions)
    assert int(result.num_pos.sum()) > 9
    return result


def draw_predictions(centers: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Each point predicts a box about that whose center is nearest; its scores are in [0, 1]."""
    random = torch.Generator().manual_seed(0)
    predicted = boxes[torch.cdist(centers, (boxes[:, :2] + boxes[:, 2:]) / 2).argmin(1)]
    predicted = predicted + 8 * torch.randn(predicted.shape, generator=random)
    return predicted, torch.rand(len(centers), CLASSES, generator=random)


class Instances(NamedTuple):
    """Stands in for mmengine's InstanceData."""

    bboxes: Tensor
    labels: Tensor


@dataclass
class AssignResult:
    """Stands in for mmdetection's."""

    num_gts: int
    gt_inds: Tensor
    max_overlaps: Tensor
    labels: Tensor


class Registry(dict[str, type]):
    """Stands in for mmengine's: a name is taken once, unless it is forced."""

    def register_module(self, name: str, module: type, force: bool = False) -> None:
        if name in self and not force:
            raise KeyError(f"{name} is already registered")
        self[name] = module


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """mmdetection's assigners and registry, as far as the adapter uses them."""
    registry = Registry({kind.__name__.removeprefix("Fused"): object for kind in KINDS})
    members: dict[str, dict[str, Any]] = {
        "mmdet": {},
        "mmdet.models": {},
        "mmdet.models.task_modules": {},
        "mmdet.models.task_modules.assigners": {"AssignResult": AssignResult},
        "mmdet.registry": {"TASK_UTILS": registry},
    }
    for name, values in members.items():
        module = types.ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    return registry


@pytest.mark.parametrize(("offset", "scale"), [(0.0, 8.0), (0.5, 8.0), (0.5, 5.0)])
def test_mmdetections_atss_is_called_as_its_heads_call_it(registry: Registry, offset: float, scale: float) -> None:
    boxes, labels = make_boxes(2, 9)
    centers = level_points(SHAPES, STRIDES, offset)
    half = scale / 2 * POINT_STRIDES[:, None]
    priors = torch.cat((centers - half, centers + half), dim=1)
    counts = [height * width for height, width in SHAPES]
    assigner = FusedATSSAssigner(topk=9, anchor_scale=scale)
    result = assigner.assign(types.SimpleNamespace(priors=priors), counts, Instances(boxes, labels), None)
    expected = expected_of(replace(presets.atss, anchor_scale=scale), 2, offset)
    assert result.num_gts == 9
    assert torch.equal(result.gt_inds, expected.matched[0] + 1)
    assert torch.equal(result.labels, expected.labels[0])
    assert torch.equal(result.max_overlaps, expected.iou[0])
    nothing = assigner.assign(types.SimpleNamespace(priors=priors), counts, Instances(boxes[:0], labels[:0]))
    assert (nothing.num_gts, nothing.gt_inds.any(), nothing.labels.unique().tolist()) == (0, False, [-1])


@pytest.mark.parametrize("powers", [{}, {"alpha": 0.5, "beta": 2}])
def test_mmdetections_task_aligned_is_called_as_its_head_calls_it(registry: Registry, powers: dict[str, Any]) -> None:
    boxes, labels = make_boxes(2, 9)
    centers = level_points(SHAPES, STRIDES, 0.0)
    half = 4 * POINT_STRIDES[:, None]
    predicted, scores = draw_predictions(centers, boxes)
    scores.requires_grad_()
    given = types.SimpleNamespace(
        priors=torch.cat((centers - half, centers + half), dim=1), bboxes=predicted, scores=scores
    )
    assigner = FusedTaskAlignedAssigner(topk=13)
    result = assigner.assign(given, Instances(boxes, labels), None, **powers)
    expected = expected_of(
        replace(presets.tood, **powers),
        2,
        offset=0.0,
        pred_boxes=predicted[None],
        scores=scores[None],
        score_kind="probabilities",
    )
    assert result.num_gts == 9
    assert torch.equal(result.gt_inds, expected.matched[0] + 1)
    assert torch.equal(result.labels, expected.labels[0])
    assert torch.equal(result.max_overlaps, expected.iou[0])
    assert not result.assign_metrics.requires_grad
    # What the head makes of the metrics is the score of the op.
    normalised = torch.zeros(len(centers))
    for row in range(9):
        own = result.gt_inds == row + 1
        if own.any():
            metrics = result.assign_metrics[own]
            normalised[own] = metrics / (metrics.max() + 1e-7) * result.max_overlaps[own].max()
    torch.testing.assert_close(normalised, expected.score[0], rtol=1e-5, atol=1e-7)
    assert not result.assign_metrics[result.gt_inds == 0].any()
    nothing = assigner.assign(given, Instances(boxes[:0], labels[:0]))
    assert (nothing.num_gts, nothing.gt_inds.any(), nothing.labels.unique().tolist()) == (0, False, [-1])
    assert nothing.assign_metrics.shape == nothing.max_overlaps.shape == (len(centers),)
    with pytest.raises(TypeError, match=r"^beta: expected an integer, got 2\.5$"):
        assigner.assign(given, Instances(boxes, labels), beta=2.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("assigner", "rule", "score_kind"),
    [
        (FusedSimOTAAssigner(), presets.simota, "probabilities"),
        (FusedSimOTAAssigner(1.5, 7, 2.0, 0.5), SimOta(1.5, "box_or_center", 7, 2.0, 0.5), "probabilities"),
        (FusedDynamicSoftLabelAssigner(), presets.rtmdet, "logits"),
        (FusedDynamicSoftLabelAssigner(2.0, 7, 1.0), SoftLabel(2.0, 7, 1.0), "logits"),
    ],
)
@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_mmdetections_dynamic_k_is_called_as_its_heads_call_it(
    registry: Registry, assigner: Any, rule: Any, score_kind: str, offset: float
) -> None:
    """By names, with points that carry their strides, whose offset counts."""
    boxes, labels = make_boxes(2, 9)
    centers = level_points(SHAPES, STRIDES, offset)
    predicted, scores = draw_predictions(centers, boxes)
    scores = scores if score_kind == "probabilities" else scores.logit()
    strides = POINT_STRIDES[:, None].expand(-1, 2)
    given = types.SimpleNamespace(priors=torch.cat((centers, strides), dim=1), bboxes=predicted, scores=scores)
    result = assigner.assign(pred_instances=given, gt_instances=Instances(boxes, labels), gt_instances_ignore=None)
    predictions = {"pred_boxes": predicted[None], "scores": scores[None], "score_kind": score_kind}
    expected = expected_of(rule, 2, offset, **predictions)
    assert result.num_gts == 9
    assert torch.equal(result.gt_inds, expected.matched[0] + 1)
    assert torch.equal(result.labels, expected.labels[0])
    assert torch.equal(result.max_overlaps, expected.iou[0])
    nothing = assigner.assign(given, Instances(boxes[:0], labels[:0]))
    assert (nothing.num_gts, nothing.gt_inds.any(), nothing.labels.unique().tolist()) == (0, False, [-1])


def test_boxes_whose_masks_have_centers_of_their_own_are_refused() -> None:
    instances = types.SimpleNamespace(bboxes=torch.zeros(1, 4), labels=torch.zeros(1), masks=None)
    with pytest.raises(ValueError, match=r"^gt_instances: expected no masks, because .*, got masks$"):
        FusedDynamicSoftLabelAssigner().assign(None, instances)


@pytest.mark.parametrize("kind", KINDS)
def test_registered_assigners_can_be_pickled_and_replace_their_models(registry: Registry, kind: Any) -> None:
    register_assigners()
    register_assigners()  # twice is no error
    name = kind.__name__.removeprefix("Fused")
    assert registry[kind.__name__] is kind
    assert registry[name] is object
    register_assigners(replace=True)
    assert registry[name] is kind
    count = "candidate_topk" if kind is FusedSimOTAAssigner else "topk"
    rule = pickle.loads(pickle.dumps(registry[name](**{count: 5}))).rule
    assert getattr(rule, "k" if isinstance(rule, Atss | TaskAligned) else "top_ious") == 5


@pytest.mark.parametrize(
    ("kind", "argument", "value"),
    [
        (FusedATSSAssigner, "alpha", 0.8),
        (FusedATSSAssigner, "ignore_iof_thr", 0.5),
        *((kind, "iou_calculator", {"type": "BboxOverlaps2D", "scale": 512.0}) for kind in KINDS),
    ],
)
def test_what_mmdetections_assigner_has_and_ours_has_not_is_refused(kind: Any, argument: str, value: Any) -> None:
    given = {"topk": 13} if kind is FusedTaskAlignedAssigner else {}
    with pytest.raises(ValueError, match=rf"^{argument}: expected .*, got "):
        kind(**given, **{argument: value})


def test_anchors_that_are_no_squares_are_refused(registry: Registry) -> None:
    boxes, labels = make_boxes(2, 9)
    reach = POINT_STRIDES[:, None] * torch.tensor([4.0, 4.5])
    priors = torch.cat((POINTS - reach, POINTS + reach), dim=1)
    with pytest.raises(ValueError, match="priors: expected anchors that are squares"):
        FusedATSSAssigner(topk=9).assign(types.SimpleNamespace(priors=priors), None, Instances(boxes, labels))


def test_grids_are_read_from_priors() -> None:
    for offset in (0.0, 0.5):
        points = level_points(SHAPES, STRIDES, offset)
        assert grids_of_priors(points, POINT_STRIDES) == (SHAPES, list(STRIDES), offset)
    assert grids_of_priors(torch.empty(0, 2), torch.empty(0)) == ([], [], 0.5)


def test_levels_that_begin_at_different_places_are_refused() -> None:
    """As those of anchors of which a head has left out what reaches beyond the image."""
    inner = POINTS[(POINTS > 24).all(1)]
    strides = POINT_STRIDES[(POINTS > 24).all(1)]
    with pytest.raises(ValueError, match=r"^points: expected level 16 to begin at 56, got \[40\.0, 40\.0\]$"):
        grids_of_priors(inner, strides)


def test_torchvisions_fcos_trains_by_atss() -> None:
    pytest.importorskip("torchvision")
    from torchvision.models.detection import fcos_resnet50_fpn

    from pseudo_iou_ops.integrations.torchvision import use_in_fcos, use_in_retinanet

    model: Any = use_in_fcos(fcos_resnet50_fpn(weights=None, weights_backbone=None, min_size=128), presets.atss)
    boxes, labels = make_boxes(3, 5)
    seen: list[Tensor] = []
    compute_loss = model.head.compute_loss
    model.head.compute_loss = lambda *args: seen.append(args[3][0]) or compute_loss(*args)
    model.train()([torch.rand(3, 128, 128)], [{"boxes": boxes.clamp(0, 128), "labels": labels}])
    packed = pack_boxes([boxes.clamp(0, 128)], [labels])
    shapes = [(side, side) for side in (16, 8, 4, 2, 1)]
    expected = assign_top_k(*packed, shapes, STRIDES, presets.atss)
    assert int(expected.num_pos.sum()) > 0
    assert torch.equal(seen[0], expected.matched[0])
    for use_in in (use_in_fcos, use_in_retinanet):
        with pytest.raises(TypeError, match="rule: expected an AssignRule or an Atss, got str"):
            use_in(fcos_resnet50_fpn(weights=None, weights_backbone=None, min_size=128), "atss")


def test_detectron2s_fcos_takes_atss_at_its_own_offset() -> None:
    from integrations.test_stand_ins import STRIDES as LEVEL_STRIDES
    from integrations.test_stand_ins import Boxes, Fcos
    from integrations.test_stand_ins import Instances as Detectron2Instances

    boxes, labels = make_boxes(4, 9)
    model: Any = detectron2.use_in_fcos(Fcos(offset=0.5), presets.atss)
    anchors = model.anchor_generator([torch.empty(1, 1, height, width) for height, width in SHAPES])
    (given,), _ = model.label_anchors(anchors, [Detectron2Instances(Boxes(boxes), labels)])
    expected = expected_of(presets.atss, 4, offset=0.5).labels[0]
    assert LEVEL_STRIDES == STRIDES
    assert torch.equal(given, torch.where(expected >= 0, expected, CLASSES))
    with pytest.raises(TypeError, match="rule: expected an AssignRule or an Atss, got Linear"):
        detectron2.use_in_fcos(Fcos(), nn.Linear(1, 1))  # type: ignore[arg-type]
