"""One update of the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pseudo_iou_ops import Assignment, AssignmentLike, TopKAssignment

from ..data.loader import Batch, Targets
from ..model import Detector
from ..model.normalisation import check_normalisation
from .checkpoint import TrainingState
from .optim import update_average
from .precision import autocast


def train_step(
    state: TrainingState, batch: Batch, network: nn.Module | None = None, previous: AssignmentLike | None = None
) -> tuple[dict[str, Tensor], AssignmentLike, Tensor]:
    """Update the weights and their average, without waiting for the device.

    In fp16 it does wait: the scaler looks whether a gradient overflowed.

    Args:
        state: the run, one step further afterwards.
        batch: on the model's device.
        network: what is called for the predictions: the model, or a wrapper that averages its gradients.
        previous: an assignment that is no longer needed; see :func:`forward`.

    Returns:
        The terms of the loss, the assignment and the norm of the gradient before it is clipped.

    Raises:
        UserError: the batch is too small for the network's normalisation.
    """
    model, optimizer, scaler = state.model, state.optimizer, state.scaler
    check_normalisation(model.config.model, batch.images.shape, is_training=True)
    losses, assignment = forward(model, batch, network, previous, state.step)
    optimizer.zero_grad(set_to_none=True)
    scaler.scale(torch.stack(list(losses.values())).sum()).backward()
    scaler.unscale_(optimizer)
    limit = model.config.optim.clip_grad_norm
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradient_norm = nn.utils.clip_grad_norm_(trained, limit if limit > 0 else float("inf"))
    scaler.step(optimizer)
    scaler.update()
    if state.average is not None:
        update_average(state.average, model, state.step)
    state.step += 1
    return losses, assignment, gradient_norm


def forward(
    model: Detector,
    batch: Batch,
    network: nn.Module | None = None,
    previous: AssignmentLike | None = None,
    step: int | None = None,
) -> tuple[dict[str, Tensor], AssignmentLike]:
    """The terms of the loss and the assignment of a batch, after so many steps; see :meth:`Detector.assigner_at`.

    The assignment is written into the memory of ``previous`` if it fits there: on a CPU, fresh memory costs
    more than assigning.
    """
    with autocast(model.config.train, batch.images.device):
        predictions = (model if network is None else network)(batch.images)
    shapes = predictions.level_shapes
    out = _reusable(previous, shapes, batch.targets)
    assignment = model.assign(shapes, batch.targets, batch.sizes, out, predictions, step)
    return model.losses(predictions, assignment, step), assignment


def _reusable(
    previous: AssignmentLike | None, level_shapes: tuple[tuple[int, int], ...], targets: Targets
) -> AssignmentLike | None:
    """The memory of an assignment of as many images and points, with counters for the boxes of this one."""
    if not isinstance(previous, (Assignment, TopKAssignment)):
        return None
    shape = (targets.offsets.shape[0] - 1, sum(height * width for height, width in level_shapes))
    if previous.matched.shape != shape or previous.matched.device != targets.boxes.device:
        return None
    return previous._replace(pos_per_box=previous.pos_per_box.new_empty(targets.boxes.shape[0]))
