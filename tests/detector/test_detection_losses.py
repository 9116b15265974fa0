"""The losses, by hand and against plain torch."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from detector_samples import CLASSES, CPU, VARIANTS, changed, one_map, points_of, random_ltrb
from torch import Tensor, nn
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from detector.config import Config, LossConfig
from detector.data.loader import Batch
from detector.engine.train import build_model
from detector.model.head import Predictions
from detector.model.losses import detection_losses, giou_loss, iou_loss
from pseudo_iou_ops import BACKGROUND, IGNORED, Assignment


def corners(ltrb: Tensor) -> Tensor:
    return torch.cat((100 - ltrb[:, :2], 100 + ltrb[:, 2:]), dim=1)


def hand_made() -> tuple[Predictions, Assignment]:
    """One image, four points: positive of class 1, background, ignored, positive of class 0."""
    generator = torch.Generator().manual_seed(0)
    predictions = Predictions(
        class_maps=one_map(torch.randn(1, 4, 2, generator=generator)),
        ltrb_maps=one_map(random_ltrb(4, seed=2).unsqueeze(0)),
        centerness_maps=one_map(torch.randn(1, 4, 1, generator=generator)),
    )
    labels = torch.tensor([[1, BACKGROUND, IGNORED, 0]])
    is_positive = labels >= 0
    centerness = torch.tensor([[0.5, 0.0, 0.0, 0.25]])
    ltrb = random_ltrb(4, seed=3).unsqueeze(0) * is_positive.unsqueeze(-1)
    return predictions, Assignment(
        matched=torch.tensor([[0, BACKGROUND, IGNORED, 1]]),
        labels=labels,
        ltrb=ltrb,
        pseudo_iou=centerness,
        centerness=centerness,
        num_pos=torch.tensor([2]),
        pos_per_box=torch.tensor([1, 1]),
    )


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


@pytest.mark.parametrize("implementation", ["fused", "torch"])
def test_loss_by_hand(implementation: Literal["fused", "torch"]) -> None:
    predictions, assignment = hand_made()
    config = LossConfig(implementation, box_weight=2.0)
    losses = detection_losses(predictions, assignment, config)
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
    loss = detection_losses(predictions, assignment, config)["box"]
    values = giou_loss(predictions.ltrb[0, [0, 3]], assignment.ltrb[0, [0, 3]])
    torch.testing.assert_close(loss, (0.5 * values[0] + 0.25 * values[1]) / 0.75)


@pytest.mark.parametrize("changes", VARIANTS)
def test_fused_losses_are_those_of_plain_torch(
    config: Config, batch: Batch, changes: dict[str, dict[str, Any]]
) -> None:
    torch.manual_seed(0)
    model = build_model(changed(config, changes), CLASSES, CPU)
    # Boxes of about a stride: the op takes an IoU below 1e-6, as relu gives at first, for 1e-6.
    nn.init.constant_(model.head.box_output.bias, 1.0)  # type: ignore[arg-type]
    predictions = model(batch.images)
    assignment = model.assign(predictions.level_shapes, batch.targets, batch.sizes, predictions=predictions)
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
    losses = detection_losses(predictions._replace(class_maps=one_map(logits)), assignment, LossConfig(implementation))
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
