"""What the normalising layers need of a batch: more than one value to take a mean and a deviation of."""

from __future__ import annotations

import math

from ..config import ModelConfig
from ..errors import UserError
from .backbone import STRIDES

LAST_STAGE_STRIDE = 32


def check_normalisation(config: ModelConfig, shape: tuple[int, ...], is_training: bool) -> None:
    """Raise UserError for a batch (B, C, H, W) of so few and so small images that a layer would get a single value."""
    images, _, height, width = shape
    if is_training and config.norm == "batch" and images * _cells(height, width, LAST_STAGE_STRIDE) == 1:
        raise UserError(
            f"model.norm: batch normalisation of {images} image padded to {height}x{width} has a single value in the "
            "backbone's last stage; raise --train.batch-size or --data.short-sides, or set --model.norm frozen"
        )
    channels = config.channels // config.norm_groups
    if images * channels * _cells(height, width, STRIDES[-1]) == 1:
        raise UserError(
            f"model.norm_groups: {config.norm_groups} groups of {config.channels} channels have a single value on P7 "
            f"for {images} image padded to {height}x{width}; lower --model.norm-groups, or take more or larger images"
        )


def _cells(height: int, width: int, stride: int) -> int:
    return math.ceil(height / stride) * math.ceil(width / stride)
