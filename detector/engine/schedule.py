"""The learning rate as a pure function of the step."""

from __future__ import annotations

from ..config import OptimConfig


def learning_rate(step: int, total_steps: int, config: OptimConfig) -> float:
    """The rate of a step, counted from 0: warm-up times step decay, so that a resumed run needs no state.

    The warm-up either rises linearly from ``warmup_factor`` to 1 or stays at ``warmup_factor``;
    ``decay_factor`` multiplies it at ``round(fraction * total_steps)`` for each fraction of ``decay_at``.
    """
    passed = sum(step >= round(fraction * total_steps) for fraction in config.decay_at)
    return config.lr * _warmup(step, config) * config.decay_factor**passed


def _warmup(step: int, config: OptimConfig) -> float:
    if step >= config.warmup_iterations:
        return 1.0
    if config.warmup == "constant":
        return config.warmup_factor
    return config.warmup_factor + (1 - config.warmup_factor) * step / config.warmup_iterations
