"""The optimiser's groups and the course of the learning rate."""

from __future__ import annotations

import pytest
from detector_samples import CLASSES, CPU, changed

from detector.config import Config, OptimConfig
from detector.engine.optim import build_optimizer, learning_rate, set_learning_rate
from detector.engine.train import build_model


def test_linear_warmup_and_steps() -> None:
    config = OptimConfig(lr=1.0, warmup_iterations=10, warmup_factor=0.2, decay_at=(0.5, 0.8), decay_factor=0.1)
    rates = [learning_rate(step, 100, config) for step in (0, 5, 10, 49, 50, 79, 80, 99)]
    assert rates == pytest.approx([0.2, 0.6, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01])


def test_constant_warmup_and_the_epochs_of_the_paper() -> None:
    config = OptimConfig(
        lr=0.01, warmup="constant", warmup_iterations=500, warmup_factor=1 / 3, decay_at=(0.6666667, 0.8333333)
    )
    per_epoch = 1034
    total = 12 * per_epoch
    assert learning_rate(499, total, config) == pytest.approx(0.01 / 3)
    assert learning_rate(500, total, config) == 0.01
    changes = [
        step
        for step in range(501, total)
        if learning_rate(step, total, config) != learning_rate(step - 1, total, config)
    ]
    assert changes == [8 * per_epoch, 10 * per_epoch]


def test_biases_have_their_own_rate_and_decay(config: Config) -> None:
    doubled = changed(config, {"optim": {"optimizer": "sgd", "bias_lr_factor": 2.0, "decay_biases": False}})
    model = build_model(doubled, CLASSES, CPU)
    optimizer = build_optimizer(model)
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
