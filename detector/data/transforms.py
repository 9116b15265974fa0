"""Resize and flip, on uint8 tensors with their boxes."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from ..config import DataConfig


class Boxes(NamedTuple):
    """The boxes of one image and all that is known of each: a transform keeps the rows together."""

    boxes: Tensor
    """(M, 4) float32, x1 y1 x2 y2 in pixels."""
    labels: Tensor
    """(M,) int64."""
    ignore: Tensor
    """(M,) bool, crowd or difficult."""


class ShortestSize(v2.RandomShortestSize):  # type: ignore[misc]
    """torchvision's, which makes nothing of the shorter side of a very thin image: here a pixel stays."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        params = super().make_params(flat_inputs)
        return {**params, "size": tuple(max(1, side) for side in params["size"])}


def training_transform(config: DataConfig) -> v2.Transform:
    """Resize and flip; boxes are cut at the image's borders, those of less than a pixel are dropped."""
    return v2.Compose(
        [
            ShortestSize(min_size=list(config.short_sides), max_size=config.max_side),
            v2.RandomHorizontalFlip(config.flip),
            v2.ClampBoundingBoxes(),
            v2.SanitizeBoundingBoxes(min_size=1, labels_getter=_per_box_fields),
        ]
    )


def evaluation_transform(config: DataConfig) -> v2.Transform:
    """Resize; every box is kept as it is."""
    return ShortestSize(min_size=config.eval_short_side, max_size=config.max_side)


def apply_transform(transform: v2.Transform, image: Tensor, boxes: Boxes, seed: int) -> tuple[Tensor, Boxes]:
    """Transform an image (3, H, W) uint8 and its boxes; the seed decides what random parts do."""
    wrapped = tv_tensors.BoundingBoxes(
        boxes.boxes,
        format=tv_tensors.BoundingBoxFormat.XYXY,
        canvas_size=image.shape[-2:],
    )
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which keeps a stack trace for each device that is not in use, image after image.
        torch.default_generator.manual_seed(seed)
        image, boxes = transform(tv_tensors.Image(image), boxes._replace(boxes=wrapped))
    return image.as_subclass(Tensor), boxes._replace(boxes=boxes.boxes.as_subclass(Tensor))


def _per_box_fields(sample: tuple[Tensor, Boxes]) -> tuple[Tensor, Tensor]:
    """What SanitizeBoundingBoxes drops together with a box."""
    return sample[1].labels, sample[1].ignore


def seed_of(*parts: int) -> int:
    """A seed from several numbers, such as (seed, epoch, index), that is the same in every process."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
