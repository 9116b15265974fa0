"""Soft targets in the detector: what they weigh, from which step on, and from which maps they come."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from detector_samples import CLASSES, CPU, changed, one_map
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from detector.assign_config import AtssConfig
from detector.config import Config, LossConfig, check_config
from detector.data.loader import Batch
from detector.engine.checkpoint import TrainingState
from detector.engine.optim import build_optimizer
from detector.engine.precision import autocast
from detector.engine.step import train_step
from detector.engine.train import build_model
from detector.model.backbone import STRIDES
from detector.model.head import Predictions
from detector.model.losses import detection_losses, giou_loss
from pseudo_iou_ops import (
    BACKGROUND,
    IGNORED,
    Assignment,
    TopKAssignment,
    assign_top_k,
    presets,
)


def soft_example() -> tuple[Predictions, Tensor, Tensor, Tensor]:
    """One image, four points, two classes: positive of class 1, background, ignored, positive of class 0."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 4, 2, generator=generator)
    ltrb, target = (torch.rand(1, 4, 4, generator=generator) * 50 + 0.5 for _ in range(2))
    predictions = Predictions(one_map(logits), one_map(ltrb), None)
    return predictions, target, torch.tensor([[1, BACKGROUND, IGNORED, 0]]), torch.tensor([[0.75, 0.0, 0.0, 0.5]])


@pytest.mark.parametrize("implementation", ["fused", "torch"])
@pytest.mark.parametrize("beta", [0.0, 2.0])
def test_soft_targets_weigh_classes_and_boxes(implementation: Any, beta: float) -> None:
    predictions, target, labels, quality = soft_example()
    zero = torch.zeros(1, 4)
    counts = torch.tensor([2]), torch.tensor([1, 1])
    assignment = TopKAssignment(labels, labels, target, zero, quality, *counts)
    config = LossConfig(implementation, box="giou", quality_beta=beta)
    losses = detection_losses(predictions, assignment, config, quality)
    logits = predictions.class_logits[0, [0, 1, 3]]  # the ignored point is left out
    soft = torch.tensor([[0.0, 0.75], [0.0, 0.0], [0.5, 0.0]])
    errors = binary_cross_entropy_with_logits(logits, soft, reduction="none") * (soft - logits.sigmoid()).abs() ** beta
    torch.testing.assert_close(losses["class"], errors.sum() / 1.25)
    boxes = giou_loss(predictions.ltrb[0, [0, 3]], target[0, [0, 3]])
    torch.testing.assert_close(losses["box"], (0.75 * boxes[0] + 0.5 * boxes[1]) / 1.25)


@pytest.mark.parametrize("implementation", ["fused", "torch"])
def test_few_good_matches_do_not_make_a_batch_weigh_more(implementation: Any) -> None:
    predictions, target, labels, quality = soft_example()
    assignment = TopKAssignment(labels, labels, target, quality, quality, torch.tensor([2]), torch.tensor([1, 1]))
    config = LossConfig(implementation)
    whole = detection_losses(predictions, assignment, config, quality)["box"] * 1.25
    poor = detection_losses(predictions, assignment, config, quality / 100)["box"]  # a sum of 0.0125 divides as 1
    torch.testing.assert_close(poor, whole / 100)


def test_the_centerness_of_a_top_k_result_is_that_of_its_distances(config: Config, batch: Batch) -> None:
    """An assignment of points, given as boxes that chose, makes the same losses in every bit."""
    config = changed(config, {"model": {"centerness": True}, "loss": {"weight_boxes_by_centerness": True}})
    model = build_model(config, CLASSES, CPU)
    predictions = model(batch.images)
    points = model.assign(predictions.level_shapes, batch.targets, batch.sizes)
    assert isinstance(points, Assignment)
    zero = torch.zeros_like(points.centerness)
    chosen = TopKAssignment(points.matched, points.labels, points.ltrb, zero, zero, points.num_pos, points.pos_per_box)
    assert int(chosen.num_pos.sum()) > 0
    expected, given = model.losses(predictions, points), model.losses(predictions, chosen)
    assert expected.keys() == {"class", "box", "centerness"}
    assert all(torch.equal(given[name], expected[name]) for name in expected)


def test_the_first_steps_are_atss_and_later_ones_read_predictions(config: Config, batch: Batch) -> None:
    """Until then the focal loss learns 1 at each positive; points stay where detections are decoded from."""
    atss = AtssConfig(preset="pp_yoloe_atss", k=5)
    assign = {"kind": "task_aligned", "initial_iterations": 2, "atss": atss}
    config = changed(config, {"assign": assign, "loss": {"quality_beta": 2.0}})
    check_config(config)
    model = build_model(config, CLASSES, CPU)
    assert model.initial_assigner is not None
    assert (model.assigner.offset, model.initial_assigner.offset) == (0.0, 0.0)
    predictions = model(batch.images)
    shapes, targets = predictions.level_shapes, batch.targets
    expected = assign_top_k(
        targets.boxes,
        targets.labels,
        targets.offsets,
        shapes,
        STRIDES,
        dataclasses.replace(presets.pp_yoloe_atss, k=5),
        offset=0.0,
    )
    found = [model.assign(shapes, targets, batch.sizes, None, predictions, step) for step in (0, 1, 2, None)]
    assert [torch.equal(one.matched, expected.matched) for one in found] == [True, True, False, False]
    hard = detection_losses(predictions, expected, config.loss)
    soft = detection_losses(predictions, found[2], config.loss, found[2].score)
    for step, losses in ((1, hard), (2, soft), (None, soft)):
        given = model.losses(predictions, found[2] if step != 1 else expected, step)
        assert all(torch.equal(given[name], losses[name]) for name in losses)
    state = TrainingState(model, build_optimizer(model), step=1)
    for step in (1, 2):  # the step that is counted decides
        _, assignment, _ = train_step(state, batch)
        assert torch.equal(assignment.matched, expected.matched) == (step == 1)


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
@pytest.mark.parametrize("layout", [False, True])
def test_maps_of_the_head_are_read_as_they_lie(config: Config, batch: Batch, amp: Any, layout: bool) -> None:
    """In mixed precision and either memory format: the assignment is that of the dense float32 predictions."""
    train = {"amp": amp, "channels_last": layout}
    model = build_model(changed(config, {"assign": {"kind": "task_aligned"}, "train": train}), CLASSES, CPU)
    with autocast(model.config.train, CPU):
        predictions = model(batch.images)
    assert predictions.class_maps[0].dtype == {"bf16": torch.bfloat16, "fp16": torch.float16}[amp]
    found = model.assign(predictions.level_shapes, batch.targets, batch.sizes, predictions=predictions)
    rule, targets = presets.tood, batch.targets
    expected = assign_top_k(
        targets.boxes,
        targets.labels,
        targets.offsets,
        predictions.level_shapes,
        STRIDES,
        rule,
        pred_boxes=predictions.ltrb.detach(),
        scores=predictions.class_logits.detach().float(),
        box_format="ltrb",
    )
    assert isinstance(found, TopKAssignment)
    assert int(found.num_pos.sum()) > 0
    assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))
    assert not found.score.requires_grad
    losses = model.losses(predictions, found)
    torch.stack(list(losses.values())).sum().backward()
    assert all(parameter.grad is not None for parameter in model.head.parameters())
