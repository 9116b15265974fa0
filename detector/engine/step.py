"""One update of the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from pseudo_iou_ops import Assignment

from ..data.loader import Batch
from ..model import Detector
from .precision import autocast


def train_step(
    model: Detector,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    network: nn.Module | None = None,
    scaler: GradScaler | None = None,
) -> tuple[dict[str, Tensor], Assignment, Tensor]:
    """Update the weights, without waiting for the device.

    Args:
        model: the detector.
        optimizer: of its parameters.
        batch: on the model's device.
        network: what is called for the predictions: ``model``, or a wrapper that averages its gradients.
        scaler: of the loss, for fp16; it waits for the device to see whether a gradient overflowed.

    Returns:
        The terms of the loss, the assignment and the norm of the gradient before it is clipped.
    """
    losses, assignment = forward(model, batch, network)
    optimizer.zero_grad(set_to_none=True)
    scaler = GradScaler(enabled=False) if scaler is None else scaler
    scaler.scale(torch.stack(list(losses.values())).sum()).backward()
    scaler.unscale_(optimizer)
    limit = model.config.optim.clip_grad_norm
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradient_norm = nn.utils.clip_grad_norm_(trained, limit if limit > 0 else float("inf"))
    scaler.step(optimizer)
    scaler.update()
    return losses, assignment, gradient_norm


def forward(model: Detector, batch: Batch, network: nn.Module | None = None) -> tuple[dict[str, Tensor], Assignment]:
    """The terms of the loss and the assignment of a batch."""
    with autocast(model.config.train, batch.images.device):
        predictions = (model if network is None else network)(batch.images)
    assignment = model.assign(predictions.level_shapes, batch.targets, batch.sizes)
    return model.losses(predictions, assignment), assignment
