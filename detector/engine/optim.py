"""What moves the weights: the optimiser, its learning rate and the average of what it leaves."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..config import Config, OptimConfig
from ..data.sampler import steps_per_epoch
from ..model import Detector
from ..model.deformable import ModulatedDeformConv2d


def build_optimizer(model: Detector) -> torch.optim.Optimizer:
    """SGD or AdamW over the parameters that train; a group's ``lr_factor`` multiplies its rate."""
    optim = model.config.optim
    biases = _convolution_biases(model)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {
            "params": [parameter for parameter in trained if parameter not in biases],
            "lr_factor": 1.0,
            "weight_decay": optim.weight_decay,
        },
        {
            "params": [parameter for parameter in trained if parameter in biases],
            "lr_factor": optim.bias_lr_factor,
            "weight_decay": optim.weight_decay if optim.decay_biases else 0.0,
        },
    ]
    if optim.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=optim.lr, fused=True)
    return torch.optim.SGD(groups, lr=optim.lr, momentum=optim.momentum, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_factor"]


def learning_rate(step: int, total_steps: int, config: OptimConfig) -> float:
    """The rate of a step, counted from 0: warm-up times step decay, so that a resumed run needs no state.

    The warm-up either rises linearly from ``warmup_factor`` to 1 or stays at ``warmup_factor``;
    ``decay_factor`` multiplies it at ``round(fraction * total_steps)`` for each fraction of ``decay_at``.
    """
    passed = sum(step >= round(fraction * total_steps) for fraction in config.decay_at)
    return config.lr * _warmup(step, config) * config.decay_factor**passed


def total_steps(config: Config, images: int) -> int:
    """The length of a run on so many images."""
    if config.train.iterations is not None:
        return config.train.iterations
    return config.train.epochs * steps_per_epoch(images, config.train.batch_size)


def build_average(model: Detector) -> AveragedModel | None:
    """A copy of the model that :func:`update_average` moves; None if ``train.ema`` is 0."""
    return AveragedModel(model, use_buffers=True) if model.config.train.ema > 0 else None


def update_average(average: AveragedModel, model: Detector, step: int) -> None:
    """Move the average towards the weights after a step, counted from 0.

    The decay rises to ``train.ema`` as (1 + step) / (10 + step), so that a short run forgets where it began.
    """
    average.multi_avg_fn = get_ema_multi_avg_fn(min(model.config.train.ema, (1 + step) / (10 + step)))
    average.update_parameters(model)


def _convolution_biases(model: nn.Module) -> set[nn.Parameter]:
    """Those that mmdetection counts: not of normalisation layers, nor of the offsets of deformable ones."""
    offsets = {module.sampling for module in model.modules() if isinstance(module, ModulatedDeformConv2d)}
    return {
        module.bias
        for module in model.modules()
        if isinstance(module, nn.Conv2d) and isinstance(module.bias, nn.Parameter) and module not in offsets
    }


def _warmup(step: int, config: OptimConfig) -> float:
    if step >= config.warmup_iterations:
        return 1.0
    if config.warmup == "constant":
        return config.warmup_factor
    return config.warmup_factor + (1 - config.warmup_factor) * step / config.warmup_iterations
