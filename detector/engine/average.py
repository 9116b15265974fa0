"""An exponential moving average of the weights."""

from __future__ import annotations

from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..model import Detector


def build_average(model: Detector, decay: float) -> AveragedModel | None:
    """A copy of the model that :func:`update_average` moves; None for a decay of 0."""
    return AveragedModel(model, use_buffers=True) if decay > 0 else None


def update_average(average: AveragedModel, model: Detector, decay: float, step: int) -> None:
    """Move the average towards the weights after a step, counted from 0.

    The decay rises to its value as (1 + step) / (10 + step), so that a short run forgets where it began.
    """
    average.multi_avg_fn = get_ema_multi_avg_fn(min(decay, (1 + step) / (10 + step)))
    average.update_parameters(model)
