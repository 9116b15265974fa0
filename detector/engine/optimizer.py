"""The optimiser, with the biases' own rate and decay."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..config import Config
from ..model import Detector
from ..model.deformable import ModulatedDeformConv2d


def build_optimizer(model: Detector, config: Config) -> torch.optim.Optimizer:
    """SGD or AdamW over the parameters that train; a group's ``lr_factor`` multiplies its rate."""
    optim = config.optim
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


def _convolution_biases(model: nn.Module) -> set[nn.Parameter]:
    """As mmdetection counts them: not those of normalisation layers, nor of the offsets of deformable ones."""
    offsets = {module.sampling for module in model.modules() if isinstance(module, ModulatedDeformConv2d)}
    return {
        module.bias
        for module in model.modules()
        if isinstance(module, nn.Conv2d) and isinstance(module.bias, nn.Parameter) and module not in offsets
    }
