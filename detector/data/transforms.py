"""Resize and flip, on uint8 tensors with their boxes."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from ..config import DataConfig


def training_transform(config: DataConfig) -> v2.Transform:
    return v2.Compose(
        [
            v2.RandomShortestSize(min_size=list(config.short_sides), max_size=config.max_side),
            v2.RandomHorizontalFlip(config.flip),
        ]
    )


def evaluation_transform(config: DataConfig) -> v2.Transform:
    return v2.RandomShortestSize(min_size=config.eval_short_side, max_size=config.max_side)


def apply_transform(transform: v2.Transform, image: Tensor, boxes: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Transform an image (3, H, W) uint8 and its boxes (M, 4); the seed decides what random parts do."""
    height, width = image.shape[-2:]
    wrapped = tv_tensors.BoundingBoxes(boxes, format=tv_tensors.BoundingBoxFormat.XYXY, canvas_size=(height, width))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        image, wrapped = transform(tv_tensors.Image(image), wrapped)
    return image.as_subclass(Tensor), wrapped.as_subclass(Tensor)


def seed_of(*parts: int) -> int:
    """A seed from several numbers, such as (seed, epoch, index), that is the same in every process."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
