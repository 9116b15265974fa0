"""The whole detector: its gradients, its assignment and its pixels."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from detector_samples import CLASSES, CPU, VARIANTS, changed
from recorder import WAITS_FOR_THE_DEVICE, Recorder
from torch import Tensor

from detector.config import Config
from detector.data.loader import Batch
from detector.engine.checkpoint import TrainingState
from detector.engine.optim import build_optimizer
from detector.engine.step import train_step
from detector.engine.train import build_model
from detector.model import Detector
from detector.model.backbone import STRIDES
from pseudo_iou_ops import BACKGROUND, IGNORED, level_points


@pytest.mark.parametrize("changes", VARIANTS)
@pytest.mark.parametrize("is_empty", [False, True], ids=["boxes", "no boxes"])
def test_every_parameter_gets_a_finite_gradient(
    config: Config, batch: Batch, empty_batch: Batch, changes: dict[str, dict[str, Any]], is_empty: bool
) -> None:
    model = build_model(changed(config, changes), CLASSES, CPU)
    state = TrainingState(model, build_optimizer(model))
    losses, assignment, _ = train_step(state, empty_batch if is_empty else batch)
    assert bool(assignment.num_pos.sum() == 0) is is_empty
    assert all(bool(value.isfinite()) for value in losses.values())
    if is_empty:
        assert losses["box"].item() == 0
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name


@pytest.mark.parametrize("changes", VARIANTS)
def test_the_loss_never_waits_for_the_device(config: Config, batch: Batch, changes: dict[str, dict[str, Any]]) -> None:
    model = build_model(changed(config, changes), CLASSES, CPU)
    with Recorder() as recorder:
        predictions = model(batch.images)
        assignment = model.assign(predictions.level_shapes, batch.targets, batch.sizes, predictions=predictions)
        losses = model.losses(predictions, assignment)
        torch.stack(list(losses.values())).sum().backward()
    op = "assign" if model.config.assign.kind == "points" else f"assign_{model.config.assign.kind}"
    assert op in {name.rpartition("::")[2] for name in recorder.names}
    assert not recorder.names & WAITS_FOR_THE_DEVICE


def test_ignore_regions_and_padding_reach_the_assignment(config: Config, batch: Batch) -> None:
    everything = torch.tensor([[-1.0, -1.0, 65.0, 65.0]])
    targets = dataclasses.replace(batch.targets, ignore_boxes=everything, ignore_offsets=torch.tensor([0, 1, 1, 1, 1]))
    sizes = torch.tensor([[64, 64], [64, 64], [64, 20], [64, 64]])
    shapes = ((8, 8), (4, 4), (2, 2), (1, 1), (1, 1))
    off = build_model(config, CLASSES, CPU).assign(shapes, targets, sizes)
    assert not bool((off.matched == IGNORED).any())
    on_config = changed(config, {"data": {"ignore_regions": True, "ignore_padding": True}})
    on = build_model(on_config, CLASSES, CPU).assign(shapes, targets, sizes)
    x = level_points(shapes, STRIDES)[:, 0]
    inside = level_points(shapes, STRIDES).amax(1) < 64
    assert not bool((on.matched[0, inside] == BACKGROUND).any())
    assert bool((on.matched[2, x >= 20] == IGNORED).all())


def test_caffe_pixels_are_bgr_minus_the_mean(config: Config) -> None:
    model = build_model(changed(config, {"model": {"pixels": "caffe"}}), CLASSES, CPU)
    seen: list[Tensor] = []
    model.backbone.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    image = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    image[:, 0] = 200  # red
    model(image)
    expected = [-102.9801, -115.9465, 200 - 122.7717]
    assert seen[0][0, :, 0, 0].tolist() == pytest.approx(expected)


def test_rule_offset_reaches_the_points(config: Config, batch: Batch) -> None:
    """With torchvision's grid, a detector decodes from the corners of the cells."""
    torch.manual_seed(0)
    model = Detector(changed(config, {"assign": {"preset": "torchvision_fcos"}}), CLASSES).eval()
    with torch.no_grad():
        model.head.box_output.weight.zero_()
        model.head.class_output.bias.fill_(3.0)
        found = model.detect(batch.images[:1], batch.sizes[:1])[0]
    right = found.boxes[(found.boxes[:, 2] - 8.0).abs() < 1e-4]
    assert len(right) > 0  # the box of the point (0, 0): one stride to each side, clipped at 0


def test_targets_in_strides_change_nothing_but_their_unit(config: Config, batch: Batch) -> None:
    """Strides are powers of two, so that losses, gradients and boxes are equal in every bit."""
    found, farthest = [], []
    for normalize in (False, True):
        torch.manual_seed(0)
        model = build_model(changed(config, {"assign": {"normalize_by_stride": normalize}}), CLASSES, CPU)
        losses, assignment, norm = train_step(TrainingState(model, build_optimizer(model)), batch)
        farthest.append(float(assignment.ltrb.max()))
        with torch.no_grad():
            model.head.class_output.bias.fill_(3.0)
        detections = model.eval().detect(batch.images, batch.sizes)
        assert len(detections[0].boxes) > 0
        found.append((losses, norm, [parameter.grad for parameter in model.parameters()], detections))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    assert farthest[0] >= 8 * farthest[1] > 0
