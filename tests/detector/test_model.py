"""The network, its losses and its detections."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from detector.config import AssignConfig, Config, LossConfig, ModelConfig, PostprocessConfig
from detector.data.loader import Batch
from detector.engine.train import build_model, build_optimizer, train_step
from detector.errors import UserError
from detector.model import Detector
from detector.model.backbone import STRIDES, build_backbone
from detector.model.head import Predictions
from detector.model.losses import detection_losses, giou_loss, iou_loss
from detector.model.postprocess import detections, rescaled
from pseudo_iou_ops import Assignment, level_points

CPU = torch.device("cpu")
CLASSES = 5
VARIANTS = [
    pytest.param({}, id="paper"),
    pytest.param({"model": {"centerness": True}, "loss": {"box": "giou"}}, id="giou and centerness"),
    pytest.param({"loss": {"weight_boxes_by_centerness": True}}, id="weighted"),
    pytest.param({"assign": {"normalize_by_stride": True}}, id="normalised"),
    pytest.param({"assign": {"preset": "fcos"}}, id="fcos"),
]


def changed(config: Config, changes: dict[str, dict[str, Any]]) -> Config:
    sections = {name: dataclasses.replace(getattr(config, name), **values) for name, values in changes.items()}
    return dataclasses.replace(config, **sections)


def random_ltrb(count: int, seed: int) -> Tensor:
    return torch.rand(count, 4, generator=torch.Generator().manual_seed(seed)) * 50 + 0.5


def corners(ltrb: Tensor) -> Tensor:
    return torch.cat((100 - ltrb[:, :2], 100 + ltrb[:, 2:]), dim=1)


def test_predictions_are_in_the_order_of_the_op(config: Config, batch: Batch) -> None:
    model = build_model(config, CLASSES, CPU).eval()
    with torch.no_grad():
        predictions = model(batch.images)
    points = level_points(predictions.level_shapes, STRIDES)
    assert predictions.level_shapes == ((8, 8), (4, 4), (2, 2), (1, 1), (1, 1))
    assert predictions.class_logits.shape == (4, len(points), CLASSES)
    assert predictions.ltrb.shape == (4, len(points), 4)
    assert bool((predictions.ltrb > 0).all())
    assert predictions.centerness_logits is None


def test_points_lie_where_their_features_look(config: Config) -> None:
    """A head that copies a feature shows that the flattened order is row-major."""
    model = build_model(config, CLASSES, CPU)
    feature = torch.zeros(1, 16, 8, 8)
    feature[0, :, 2, 5] = 1.0
    model.head.class_branch = nn.Identity()
    with torch.no_grad():
        model.head.class_output.weight.zero_()[:, :, 1, 1] = 1.0
        features = [feature] + [torch.zeros(1, 16, n, n) for n in (4, 2, 1, 1)]
        logits = model.head(features).class_logits
    best = int(logits[0, :, 0].argmax())
    assert level_points([(8, 8)], [8])[best].tolist() == [5.5 * 8, 2.5 * 8]


def test_iou_losses_agree_with_boxes() -> None:
    predicted, target = random_ltrb(200, seed=0), random_ltrb(200, seed=1)
    left_top = torch.maximum(corners(predicted)[:, :2], corners(target)[:, :2])
    right_bottom = torch.minimum(corners(predicted)[:, 2:], corners(target)[:, 2:])
    intersection = (right_bottom - left_top).prod(1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (corners(predicted), corners(target))]
    iou = intersection / (sum(areas) - intersection)
    torch.testing.assert_close(iou_loss(predicted, target), -iou.log(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        giou_loss(predicted, target),
        generalized_box_iou_loss(corners(predicted), corners(target)),
        rtol=1e-4,
        atol=1e-5,
    )
    assert float(iou_loss(target, target).abs().max()) < 1e-6


def hand_made() -> tuple[Predictions, Assignment]:
    """One image, four points: positive of class 1, background, ignored, positive of class 0."""
    generator = torch.Generator().manual_seed(0)
    predictions = Predictions(
        class_logits=torch.randn(1, 4, 2, generator=generator),
        ltrb=random_ltrb(4, seed=2).unsqueeze(0),
        centerness_logits=torch.randn(1, 4, generator=generator),
        level_shapes=((2, 2),),
    )
    labels = torch.tensor([[1, -1, -2, 0]])
    is_positive = labels >= 0
    centerness = torch.tensor([[0.5, 0.0, 0.0, 0.25]])
    ltrb = random_ltrb(4, seed=3).unsqueeze(0) * is_positive.unsqueeze(-1)
    return predictions, Assignment(
        matched=torch.tensor([[0, -1, -2, 1]]),
        labels=labels,
        ltrb=ltrb,
        pseudo_iou=centerness,
        centerness=centerness,
        num_pos=torch.tensor([2]),
        pos_per_box=torch.tensor([1, 1]),
    )


def test_loss_by_hand() -> None:
    predictions, assignment = hand_made()
    losses = detection_losses(predictions, assignment, assignment.ltrb, LossConfig(box_weight=2.0))
    targets = torch.tensor([[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    logits = predictions.class_logits[0, [0, 1, 3]]  # the ignored point is left out
    expected = sigmoid_focal_loss(logits, targets, 0.25, 2.0, reduction="sum") / 2
    torch.testing.assert_close(losses["class"], expected)
    positive = [0, 3]
    box = iou_loss(predictions.ltrb[0, positive], assignment.ltrb[0, positive]).sum() / 2
    torch.testing.assert_close(losses["box"], 2.0 * box)
    assert predictions.centerness_logits is not None
    centers = nn.functional.binary_cross_entropy_with_logits(
        predictions.centerness_logits[0, positive], assignment.centerness[0, positive]
    )
    torch.testing.assert_close(losses["centerness"], centers)


def test_box_loss_weighted_by_centerness() -> None:
    predictions, assignment = hand_made()
    config = LossConfig(box="giou", weight_boxes_by_centerness=True)
    loss = detection_losses(predictions, assignment, assignment.ltrb, config)["box"]
    values = giou_loss(predictions.ltrb[0, [0, 3]], assignment.ltrb[0, [0, 3]])
    torch.testing.assert_close(loss, (0.5 * values[0] + 0.25 * values[1]) / 0.75)


def test_ignored_points_get_no_gradient() -> None:
    predictions, assignment = hand_made()
    logits = predictions.class_logits.clone().requires_grad_()
    losses = detection_losses(predictions._replace(class_logits=logits), assignment, assignment.ltrb, LossConfig())
    losses["class"].backward()
    assert logits.grad is not None
    assert logits.grad[0].abs().sum(1).gt(0).tolist() == [True, True, False, True]


def test_stride_normalised_targets_give_the_same_loss(config: Config, batch: Batch) -> None:
    losses = []
    for normalize in (False, True):
        torch.manual_seed(0)
        model = build_model(changed(config, {"assign": {"normalize_by_stride": normalize}}), CLASSES, CPU)
        predictions = model(batch.images)
        assignment = model.assign(predictions.level_shapes, batch.targets, batch.sizes)
        losses.append(model.losses(predictions, assignment))
    torch.testing.assert_close(losses[0], losses[1])


@pytest.mark.parametrize("changes", VARIANTS)
@pytest.mark.parametrize("is_empty", [False, True], ids=["boxes", "no boxes"])
def test_every_parameter_gets_a_finite_gradient(
    config: Config, batch: Batch, empty_batch: Batch, changes: dict[str, dict[str, Any]], is_empty: bool
) -> None:
    model = build_model(changed(config, changes), CLASSES, CPU)
    optimizer = build_optimizer(model, model.config)
    losses, assignment, _ = train_step(model, optimizer, empty_batch if is_empty else batch)
    assert bool(assignment.num_pos.sum() == 0) is is_empty
    assert all(bool(value.isfinite()) for value in losses.values())
    if is_empty:
        assert losses["box"].item() == 0
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name


class Recorder(TorchDispatchMode):
    """The names of the operators that run, and whether an index was a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        if name in ("index", "index_put", "index_put_"):
            masks = [index for index in args[1] if index is not None and index.dtype == torch.bool]
            name = "masked " + name if masks else name
        self.names.add(name)
        return func(*args, **(kwargs or {}))


WAITS_FOR_THE_DEVICE = {
    "nonzero",
    "item",
    "_local_scalar_dense",
    "is_nonzero",
    "masked_select",
    "masked index",
    "masked index_put",
    "masked index_put_",
    "unique",
    "_unique2",
    "equal",
}


@pytest.mark.parametrize("changes", VARIANTS)
def test_the_loss_never_waits_for_the_device(config: Config, batch: Batch, changes: dict[str, dict[str, Any]]) -> None:
    model = build_model(changed(config, changes), CLASSES, CPU)
    with Recorder() as recorder:
        predictions = model(batch.images)
        assignment = model.assign(predictions.level_shapes, batch.targets, batch.sizes)
        losses = model.losses(predictions, assignment)
        torch.stack(list(losses.values())).sum().backward()
    assert "assign" in {name.rpartition("::")[2] for name in recorder.names}
    assert not recorder.names & WAITS_FOR_THE_DEVICE


def test_ignore_regions_and_padding_reach_the_assignment(config: Config, batch: Batch) -> None:
    everything = torch.tensor([[-1.0, -1.0, 65.0, 65.0]])
    targets = dataclasses.replace(batch.targets, ignore_boxes=everything, ignore_offsets=torch.tensor([0, 1, 1, 1, 1]))
    sizes = torch.tensor([[64, 64], [64, 64], [64, 20], [64, 64]])
    shapes = ((8, 8), (4, 4), (2, 2), (1, 1), (1, 1))
    off = build_model(config, CLASSES, CPU).assign(shapes, targets, sizes)
    assert not bool((off.matched == -2).any())
    on_config = changed(config, {"data": {"ignore_regions": True, "ignore_padding": True}})
    on = build_model(on_config, CLASSES, CPU).assign(shapes, targets, sizes)
    x = level_points(shapes, STRIDES)[:, 0]
    inside = level_points(shapes, STRIDES).amax(1) < 64
    assert not bool((on.matched[0, inside] == -1).any())
    assert bool((on.matched[2, x >= 20] == -2).all())


def only(point: int, label: int, score: float, shape: tuple[int, int] = (4, 4)) -> Predictions:
    """One confident point on a level of stride 8, whose box reaches 6 pixels to each side."""
    count = shape[0] * shape[1]
    logits = torch.full((1, count, 2), -10.0)
    logits[0, point, label] = math.log(score / (1 - score))
    return Predictions(logits, torch.full((1, count, 4), 6.0), None, (shape,))


def run_postprocess(predictions: Predictions, size: tuple[int, int] = (32, 32), **options: Any) -> Any:
    points = level_points(predictions.level_shapes, [8])
    return detections(predictions, points, torch.tensor([size]), PostprocessConfig(**options))[0]


def test_detections_are_decoded_and_clipped() -> None:
    found = run_postprocess(only(5, 1, 0.75))
    assert found.boxes.tolist() == [[6, 6, 18, 18]]
    assert found.labels.tolist() == [1]
    assert found.scores.tolist() == pytest.approx([0.75])
    assert run_postprocess(only(5, 1, 0.75), size=(10, 14)).boxes.tolist() == [[6, 6, 14, 10]]
    assert len(run_postprocess(only(5, 1, 0.04)).boxes) == 0


def test_suppression_is_per_class_and_limited() -> None:
    predictions = only(5, 1, 0.75)
    predictions.class_logits[0, 5, 0] = 1.0  # same box, other class: kept
    predictions.class_logits[0, 6, 1] = 0.5
    predictions.ltrb[0, 6] = torch.tensor([14.0, 6.0, -2.0 + 1e-3, 6.0])  # nearly the same box: suppressed
    found = run_postprocess(predictions)
    assert found.labels.tolist() == [1, 0]
    assert len(run_postprocess(predictions, detections_per_image=1).boxes) == 1
    assert len(run_postprocess(predictions, candidates_per_level=1).boxes) == 1


def test_centerness_multiplies_scores_but_not_the_threshold() -> None:
    predictions = only(5, 1, 0.75)._replace(centerness_logits=torch.full((1, 16), -math.log(19.0)))
    assert run_postprocess(predictions).scores.tolist() == pytest.approx([0.75 * 0.05])


def test_detections_are_scaled_back_to_the_file() -> None:
    found = rescaled(run_postprocess(only(5, 1, 0.75)), torch.tensor([32, 32]), torch.tensor([64, 16]))
    assert found.boxes.tolist() == [[3, 12, 9, 36]]


@pytest.mark.parametrize("stages", [0, 3, 5])
def test_frozen_stages(stages: int) -> None:
    backbone = build_backbone(ModelConfig(backbone="resnet18", weights="none", trainable_stages=stages))
    trained = {name.split(".")[0] for name, p in backbone.body.named_parameters() if p.requires_grad}
    assert trained == set(("layer4", "layer3", "layer2", "layer1", "conv1")[:stages])


def test_stride_in_1x1() -> None:
    body = build_backbone(ModelConfig(backbone="resnet50", weights="none", stride_in_1x1=True)).body
    assert [body[name][0].conv1.stride for name in ("layer2", "layer3", "layer4")] == [(2, 2)] * 3
    assert [body[name][0].conv2.stride for name in ("layer2", "layer3", "layer4")] == [(1, 1)] * 3
    with pytest.raises(UserError, match=r"model\.stride_in_1x1: expected a backbone with bottlenecks, got resnet18"):
        build_backbone(ModelConfig(backbone="resnet18", weights="none", stride_in_1x1=True))


def test_weights_from_a_file(tmp_path: Path) -> None:
    import torchvision
    from safetensors.torch import save_file

    weights = torchvision.models.resnet18().state_dict()
    body = {name: value.half() for name, value in weights.items() if "num_batches" not in name and "fc." not in name}
    save_file(body, tmp_path / "half.safetensors")
    torch.save(weights, tmp_path / "full.pth")
    for name in ("half.safetensors", "full.pth"):
        config = ModelConfig(backbone="resnet18", weights=str(tmp_path / name))
        loaded = build_backbone(config).body.state_dict()
        torch.testing.assert_close(loaded["conv1.weight"], weights["conv1.weight"], rtol=1e-3, atol=1e-4)
        assert loaded["conv1.weight"].dtype == torch.float32


def test_weights_that_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other\.pth: not weights of resnet18: \d+ tensors missing"):
        build_backbone(ModelConfig(backbone="resnet18", weights=str(tmp_path / "other.pth")))
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(UserError, match=r"text\.pth: not a weights file"):
        build_backbone(ModelConfig(backbone="resnet18", weights=str(tmp_path / "text.pth")))
    with pytest.raises(UserError, match=r"model\.weights: no file 'nowhere\.pth'"):
        build_backbone(ModelConfig(backbone="resnet18", weights="nowhere.pth"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"resnet18-\w+\.pth is missing; download it from https"):
        build_backbone(ModelConfig(backbone="resnet18", weights="imagenet"))


def test_the_rule_comes_from_preset_and_switches() -> None:
    rule = AssignConfig(preset="fcos", threshold=2.0).rule()
    assert (rule.metric, rule.threshold, rule.order) == ("center_radius", 2.0, "filter_then_choose")


def test_rule_offset_reaches_the_points(config: Config, batch: Batch) -> None:
    """With torchvision's grid, a detector decodes from the corners of the cells."""
    model = Detector(changed(config, {"assign": {"preset": "torchvision_fcos"}}), CLASSES).eval()
    with torch.no_grad():
        model.head.box_output.weight.zero_()
        model.head.class_output.bias.fill_(3.0)
        found = model.detect(batch.images[:1], batch.sizes[:1])[0]
    right = found.boxes[(found.boxes[:, 2] - 8.0).abs() < 1e-4]
    assert len(right) > 0  # the box of the point (0, 0): one stride to each side, clipped at 0
