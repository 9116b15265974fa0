"""The network, its losses and its detections."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models.resnet import BasicBlock
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from detector.config import AssignConfig, Backbone, Config, LossConfig, ModelConfig, PostprocessConfig
from detector.data.loader import Batch
from detector.engine.optimizer import build_optimizer, set_learning_rate
from detector.engine.train import build_model, train_step
from detector.errors import UserError
from detector.model import Detector
from detector.model.backbone import STRIDES, build_backbone
from detector.model.deformable import ModulatedDeformConv2d
from detector.model.head import SMALLEST_DISTANCE, Predictions
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
    pytest.param(
        {
            "model": {"box_activation": "relu", "centerness": True, "pixels": "caffe"},
            "loss": {"box": "giou", "weight_boxes_by_centerness": True},
            "assign": {"preset": "authors_code", "normalize_by_stride": True},
        },
        id="authors' code",
    ),
    pytest.param({"model": {"box_activation": "relu"}}, id="relu and iou"),
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


def one_map(points: Tensor, shape: tuple[int, int] = (2, 2)) -> tuple[Tensor]:
    """(B, P, C) as a map (B, C, H, W) in the same memory."""
    return (points.unflatten(1, shape).permute(0, 3, 1, 2),)


def points_of(maps: tuple[Tensor, ...]) -> Tensor:
    """What `one_map` was made of."""
    return maps[0].permute(0, 2, 3, 1).flatten(1, 2)


def hand_made() -> tuple[Predictions, Assignment]:
    """One image, four points: positive of class 1, background, ignored, positive of class 0."""
    generator = torch.Generator().manual_seed(0)
    predictions = Predictions(
        class_maps=one_map(torch.randn(1, 4, 2, generator=generator)),
        ltrb_maps=one_map(random_ltrb(4, seed=2).unsqueeze(0)),
        centerness_maps=one_map(torch.randn(1, 4, 1, generator=generator)),
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


@pytest.mark.parametrize("implementation", ["fused", "torch"])
def test_loss_by_hand(implementation: Literal["fused", "torch"]) -> None:
    predictions, assignment = hand_made()
    config = LossConfig(implementation, box_weight=2.0)
    losses = detection_losses(predictions, assignment, assignment.ltrb, config)
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


@pytest.mark.parametrize("implementation", ["fused", "torch"])
def test_box_loss_weighted_by_centerness(implementation: Literal["fused", "torch"]) -> None:
    predictions, assignment = hand_made()
    config = LossConfig(implementation, box="giou", weight_boxes_by_centerness=True)
    loss = detection_losses(predictions, assignment, assignment.ltrb, config)["box"]
    values = giou_loss(predictions.ltrb[0, [0, 3]], assignment.ltrb[0, [0, 3]])
    torch.testing.assert_close(loss, (0.5 * values[0] + 0.25 * values[1]) / 0.75)


@pytest.mark.parametrize("changes", VARIANTS)
def test_fused_losses_are_those_of_plain_torch(
    config: Config, batch: Batch, changes: dict[str, dict[str, Any]]
) -> None:
    model = build_model(changed(config, changes), CLASSES, CPU)
    # Boxes of about a stride: the op takes an IoU below 1e-6, as relu gives at first, for 1e-6.
    nn.init.constant_(model.head.box_output.bias, 1.0)  # type: ignore[arg-type]
    predictions = model(batch.images)
    assignment = model.assign(predictions.level_shapes, batch.targets, batch.sizes)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    found: list[tuple[dict[str, Tensor], Any]] = []
    for implementation in ("fused", "torch"):
        model.config = changed(model.config, {"loss": {"implementation": implementation}})
        losses = model.losses(predictions, assignment)
        total = torch.stack(list(losses.values())).sum()
        found.append((losses, torch.autograd.grad(total, parameters, retain_graph=True)))
    for name, loss in found[1][0].items():
        torch.testing.assert_close(found[0][0][name], loss, rtol=1e-5, atol=1e-6)
    for fused, plain in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-3, atol=1e-5 * plain.abs().max().item())


@pytest.mark.parametrize("implementation", ["fused", "torch"])
def test_ignored_points_get_no_gradient(implementation: Literal["fused", "torch"]) -> None:
    predictions, assignment = hand_made()
    logits = points_of(predictions.class_maps).clone().requires_grad_()
    losses = detection_losses(
        predictions._replace(class_maps=one_map(logits)), assignment, assignment.ltrb, LossConfig(implementation)
    )
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
    return Predictions(one_map(logits, shape), one_map(torch.full((1, count, 4), 6.0), shape), None)


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
    points_of(predictions.class_maps)[0, 5, 0] = 1.0  # same box, other class: kept
    points_of(predictions.class_maps)[0, 6, 1] = 0.5
    # Nearly the same box: suppressed.
    points_of(predictions.ltrb_maps)[0, 6] = torch.tensor([14.0, 6.0, -2.0 + 1e-3, 6.0])
    found = run_postprocess(predictions)
    assert found.labels.tolist() == [1, 0]
    assert len(run_postprocess(predictions, detections_per_image=1).boxes) == 1
    assert len(run_postprocess(predictions, candidates_per_level=1).boxes) == 1


def test_centerness_multiplies_scores_but_not_the_threshold() -> None:
    predictions = only(5, 1, 0.75)._replace(centerness_maps=(torch.full((1, 1, 4, 4), -math.log(19.0)),))
    assert run_postprocess(predictions).scores.tolist() == pytest.approx([0.75 * 0.05])


def test_detections_are_scaled_back_to_the_file() -> None:
    found = rescaled(run_postprocess(only(5, 1, 0.75)), torch.tensor([32, 32]), torch.tensor([64, 16]))
    assert found.boxes.tolist() == [[3, 12, 9, 36]]


@pytest.mark.parametrize("stages", [0, 3, 5])
def test_frozen_stages(stages: int) -> None:
    backbone = build_backbone(ModelConfig(backbone="resnet18", weights="none", trainable_stages=stages))
    trained = {name.split(".")[0] for name, p in backbone.body.named_parameters() if p.requires_grad}
    assert trained == set(("layer4", "layer3", "layer2", "layer1", "conv1")[:stages])


def test_resnet10_has_one_block_a_stage() -> None:
    backbone = build_backbone(ModelConfig(backbone="resnet10", weights="none", norm="batch", trainable_stages=5))
    blocks = [name for name, module in backbone.body.named_modules() if isinstance(module, BasicBlock)]
    assert blocks == ["layer1.0", "layer2.0", "layer3.0", "layer4.0"]
    shapes = [tuple(feature.shape[-2:]) for feature in backbone(torch.zeros(1, 3, 96, 64)).values()]
    assert shapes == [(12, 8), (6, 4), (3, 2), (2, 1), (1, 1)]
    with pytest.raises(UserError, match=r"model\.weights: torchvision has none of resnet10"):
        build_backbone(ModelConfig(backbone="resnet10", weights="imagenet"))


@pytest.mark.parametrize("name", ["resnet50", "resnet101", "resnext101_32x8d", "resnext101_64x4d"])
@pytest.mark.parametrize("deformable", [False, True], ids=["plain", "deformable"])
def test_the_papers_backbones(name: Backbone, deformable: bool) -> None:
    config = ModelConfig(backbone=name, weights="none", deformable=deformable)
    with FakeTensorMode():  # the large ones without their memory
        backbone = build_backbone(config, load_weights=False)
        shapes = [tuple(feature.shape) for feature in backbone(torch.zeros(1, 3, 160, 224)).values()]
    assert shapes == [(1, 256, 20, 28), (1, 256, 10, 14), (1, 256, 5, 7), (1, 256, 3, 4), (1, 256, 2, 2)]
    layers = [key for key, module in backbone.named_modules() if isinstance(module, ModulatedDeformConv2d)]
    if not deformable:
        assert layers == []
        return
    assert {layer.split(".")[1] for layer in layers} == {"layer2", "layer3", "layer4"}
    blocks = [key for key, _ in backbone.named_modules() if re.fullmatch(r"body\.layer[234]\.\d+", key)]
    assert len(layers) == len(blocks)
    first = backbone.get_submodule(layers[0])
    assert first.sampling.out_channels == 4 * 9 * 3  # of 4 groups and 9 samples: x, y and weight


def test_a_deformable_convolution_begins_as_half_the_plain_one() -> None:
    """Offsets 0, weights sigmoid(0): the samples of the plain convolution, at half their size."""
    torch.manual_seed(0)
    plain = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=2, bias=False)
    expected = plain(image := torch.randn(2, 8, 10, 12)) / 2
    layer = ModulatedDeformConv2d(plain, deform_groups=4)
    torch.testing.assert_close(layer(image), expected)
    assert layer.weight is plain.weight
    assert set(layer.state_dict()) == {"weight", "sampling.weight", "sampling.bias"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_deformable_convolutions_are_float32_under_autocast(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = ModulatedDeformConv2d(nn.Conv2d(8, 8, 3, padding=1, bias=False), deform_groups=2)
    nn.init.normal_(layer.sampling.weight, std=0.2)
    image = torch.randn(1, 8, 6, 6).to(dtype)
    with torch.autocast("cpu", dtype):
        found = layer(image)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, layer(image.float()), rtol=0, atol=0)
    found.sum().backward()
    assert all(parameter.grad is not None and bool(parameter.grad.isfinite().all()) for parameter in layer.parameters())


def test_deformable_convolutions_take_the_weights_of_plain_ones(tmp_path: Path) -> None:
    import torchvision

    torch.save(torchvision.models.resnet50().state_dict(), tmp_path / "full.pth")
    weights = str(tmp_path / "full.pth")
    plain = build_backbone(ModelConfig(weights=weights)).body.state_dict()
    deformable = build_backbone(ModelConfig(weights=weights, deformable=True)).body.state_dict()
    for name, value in plain.items():
        assert torch.equal(deformable[name], value), name
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in set(deformable) - set(plain)} == {"sampling"}


def test_deformable_convolutions_that_can_not_be() -> None:
    with pytest.raises(UserError, match=r"model\.deformable: expected a backbone with bottlenecks, got resnet18"):
        build_backbone(ModelConfig(backbone="resnet18", weights="none", deformable=True))
    with pytest.raises(UserError, match=r"model\.deform_groups: expected a divisor of 128 channels, got 3"):
        build_backbone(ModelConfig(weights="none", deformable=True, deform_groups=3))


def test_the_relu_head_gives_distances_that_keep_an_area(config: Config) -> None:
    relu = changed(config, {"model": {"box_activation": "relu"}})
    head = build_model(relu, CLASSES, CPU).head
    scaled = torch.tensor([-2.0, 0.0, 0.5, 3.0])
    assert head._distances(scaled).tolist() == pytest.approx([SMALLEST_DISTANCE, SMALLEST_DISTANCE, 0.5, 3.0])
    exponential = build_model(config, CLASSES, CPU).head
    assert exponential._distances(scaled).tolist() == pytest.approx(scaled.exp().tolist())


def test_caffe_pixels_are_bgr_minus_the_mean(config: Config) -> None:
    model = build_model(changed(config, {"model": {"pixels": "caffe"}}), CLASSES, CPU)
    seen: list[Tensor] = []
    model.backbone.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    image = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    image[:, 0] = 200  # red
    model(image)
    expected = [-102.9801, -115.9465, 200 - 122.7717]
    assert seen[0][0, :, 0, 0].tolist() == pytest.approx(expected)


def test_biases_have_their_own_rate_and_decay(config: Config) -> None:
    doubled = changed(config, {"optim": {"optimizer": "sgd", "bias_lr_factor": 2.0, "decay_biases": False}})
    model = build_model(doubled, CLASSES, CPU)
    optimizer = build_optimizer(model, doubled)
    set_learning_rate(optimizer, 0.5)
    names = {parameter: name for name, parameter in model.named_parameters()}
    weights, biases = optimizer.param_groups
    assert (weights["lr"], weights["weight_decay"]) == (0.5, doubled.optim.weight_decay)
    assert (biases["lr"], biases["weight_decay"]) == (1.0, 0.0)
    chosen = {names[parameter] for parameter in biases["params"]}
    assert {"head.class_output.bias", "head.box_output.bias"} <= chosen
    assert not any("bn" in name or "branch" in name for name in chosen)  # of normalisations
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert sorted(map(id, trained)) == sorted(id(p) for group in optimizer.param_groups for p in group["params"])


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
    message = r"resnet18-f37072fd\.pth is missing; put https://\S+ there \(its sha256 begins with f37072fd\)"
    with pytest.raises(UserError, match=message):
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
