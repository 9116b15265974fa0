"""Samples of the losses as what the emulated module takes: numpy arrays that share the tensors' memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from loss_samples import HeadSample
from torch import Tensor


def memory(tensor: Tensor) -> np.ndarray:
    """The values in the order they lie in, as numpy knows them: 16-bit floats as their bits. Shares the memory."""
    flat = tensor.as_strided((tensor.numel(),), (1,))
    return (flat.view(torch.int16) if tensor.dtype.itemsize == 2 else flat).numpy()


def channels_last(level: Tensor) -> bool:
    return level.is_contiguous() if level.ndim == 3 else level.stride(1) == 1


def level_tuples(levels: list[Tensor], gradients: list[Tensor] | None) -> list[tuple[Any, ...]]:
    points = [level.shape[1] if level.ndim == 3 else level.shape[2] * level.shape[3] for level in levels]
    given = gradients or [None] * len(levels)
    return [
        (memory(level), None if gradient is None else memory(gradient), count, channels_last(level))
        for level, gradient, count in zip(levels, given, points, strict=True)
    ]


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def unwritten(levels: list[Tensor]) -> list[Tensor]:
    return [torch.empty_strided(level.shape, level.stride(), dtype=level.dtype).fill_(-99) for level in levels]


def numpy_or_none(tensor: Tensor | None) -> np.ndarray | None:
    return None if tensor is None else tensor.numpy()


def class_loss(
    sample: HeadSample,
    settings: tuple[Any, ...],
    targets: Tensor | None = None,
    normalizer: float = 1.0,
    gradients: list[Tensor] | None = None,
) -> dict[str, Any]:
    """A call of ``class_loss``, short of its schedule and seed; ``settings`` are the op's numbers."""
    first = sample.levels[0]
    positional = (
        level_tuples(sample.levels, gradients),
        first.shape[2 if first.ndim == 3 else 1],
        name_of(first.dtype),
        sample.labels.numpy(),
        numpy_or_none(targets),
        np.array([normalizer], np.float32),
        *settings,
    )
    return {"function": "class_loss", "positional": positional}


def ltrb_loss(
    sample: HeadSample,
    kind: int,
    labels: Tensor | None = None,
    weights: Tensor | None = None,
    normalizer: float = 1.0,
    gradients: list[Tensor] | None = None,
) -> dict[str, Any]:
    """A call of ``ltrb_loss``, likewise; labels are the sample's if neither they nor weights are given."""
    if labels is None and weights is None:
        labels = sample.labels
    positional = (
        level_tuples(sample.levels, gradients),
        name_of(sample.levels[0].dtype),
        sample.quality.numpy(),
        numpy_or_none(labels),
        numpy_or_none(weights),
        np.array([normalizer], np.float32),
        kind,
    )
    return {"function": "ltrb_loss", "positional": positional}
