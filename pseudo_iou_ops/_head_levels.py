"""The predictions of a head, level by level, and values for each of its points: checked and made ready for an op."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from . import _loader
from ._checks import FLOATING_DTYPES, MAX_LEVELS, SIZE_DTYPES, check_tensor, is_sequence


def as_levels(name: str, levels: Tensor | Sequence[Tensor], channels: int | None = None) -> list[Tensor]:
    """The predictions of a head as a list of dense tensors, (B, C, H, W) or (B, P_l, C) each."""
    listed = [levels] if isinstance(levels, Tensor) else levels
    _check_levels(name, listed, channels)
    _loader.require_kernels(listed[0].device, name)
    return [_dense(level) for level in listed]


def _check_levels(name: str, levels: Sequence[Tensor], channels: int | None) -> None:
    if not is_sequence(levels):
        raise TypeError(f"{name}: expected a tensor or a sequence of them, one per level, got {type(levels).__name__}")
    if not 1 <= len(levels) <= MAX_LEVELS:
        raise ValueError(f"{name}: expected 1 to {MAX_LEVELS} levels, got {len(levels)}")
    for level in levels:
        _check_level(name, level, levels[0], channels)


def _check_level(name: str, level: Tensor, first: Tensor, channels: int | None) -> None:
    check_tensor(name, level)
    if level.ndim not in (3, 4):
        raise ValueError(f"{name}: expected shapes (B, C, H, W) or (B, P, C), got {tuple(level.shape)}")
    if level.dtype not in FLOATING_DTYPES:
        raise TypeError(f"{name}: expected a floating dtype, got {level.dtype}")
    if level.dtype != first.dtype:
        raise TypeError(f"{name}: expected levels of one dtype, {first.dtype}, got {level.dtype}")
    if level.device != first.device:
        raise ValueError(f"{name}: expected levels on one device, {first.device}, got {level.device}")
    expected = (first.shape[0], _channels(first) if channels is None else channels)
    if (level.shape[0], _channels(level)) != expected:
        raise ValueError(f"{name}: expected {expected[0]} images and {expected[1]} channels, got {tuple(level.shape)}")


def _channels(level: Tensor) -> int:
    return level.shape[1] if level.ndim == 4 else level.shape[2]


def num_points(level: Tensor) -> int:
    return level.shape[2] * level.shape[3] if level.ndim == 4 else level.shape[1]


def _dense(level: Tensor) -> Tensor:
    """Returns the level itself if its channels or its points lie side by side, else a copy."""
    if level.is_contiguous():
        return level
    if level.ndim == 4:
        return level if level.is_contiguous(memory_format=torch.channels_last) else level.contiguous()
    return level if level.transpose(1, 2).is_contiguous() else level.contiguous()


def check_labels(labels: Tensor, levels: Sequence[Tensor]) -> None:
    check_tensor("labels", labels)
    if labels.dtype != torch.int64:
        raise TypeError(f"labels: expected dtype torch.int64, got {labels.dtype}")
    _check_place("labels", labels, levels, ())


def check_per_point(name: str, values: Tensor, levels: Sequence[Tensor], channels: tuple[int, ...] = ()) -> None:
    check_tensor(name, values)
    if values.dtype not in FLOATING_DTYPES:
        raise TypeError(f"{name}: expected a floating dtype, got {values.dtype}")
    _check_place(name, values, levels, channels)


def _check_place(name: str, values: Tensor, levels: Sequence[Tensor], channels: tuple[int, ...]) -> None:
    expected = (levels[0].shape[0], sum(num_points(level) for level in levels), *channels)
    if values.shape != expected:
        raise ValueError(f"{name}: expected shape {expected}, got {tuple(values.shape)}")
    if values.device != levels[0].device:
        raise ValueError(f"{name}: expected device {levels[0].device}, that of the predictions, got {values.device}")


def as_float32(values: Tensor) -> Tensor:
    return values.detach().to(torch.float32).contiguous()


def as_normalizer(normalizer: Tensor | None, predictions: Tensor) -> Tensor | None:
    if normalizer is None:
        return None
    check_tensor("normalizer", normalizer)
    if normalizer.numel() != 1:
        raise ValueError(f"normalizer: expected one number, got shape {tuple(normalizer.shape)}")
    if normalizer.dtype not in SIZE_DTYPES:
        raise TypeError(f"normalizer: expected a floating or integer dtype, got {normalizer.dtype}")
    if normalizer.device != predictions.device:
        raise ValueError(f"normalizer: expected device {predictions.device}, got {normalizer.device}")
    return as_float32(normalizer)
