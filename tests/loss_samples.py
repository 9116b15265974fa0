"""Inputs of the losses and what they should give, in plain float64 torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

LAYOUTS = ("flat", "planes", "channels_last", "transposed")
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
SHAPES = ((7, 9), (4, 5), (1, 1))


@dataclass(frozen=True)
class HeadSample:
    """Predictions of a head, level by level, and what their points learn."""

    name: str
    levels: list[Tensor]
    labels: Tensor
    quality: Tensor

    def __str__(self) -> str:
        return self.name

    def map_levels(self, change: Any) -> HeadSample:
        return dataclasses.replace(self, levels=[change(level) for level in self.levels])

    def to(self, device: str) -> HeadSample:
        moved = self.map_levels(lambda level: level.to(device))
        return dataclasses.replace(moved, labels=self.labels.to(device), quality=self.quality.to(device))


def in_layout(level: Tensor, layout: str) -> Tensor:
    """A contiguous (B, C, H, W) as a tensor of the layout, with the same values."""
    if layout == "planes":
        return level
    if layout == "channels_last":
        return level.contiguous(memory_format=torch.channels_last)
    points_last = level.flatten(2).transpose(1, 2)
    return points_last.contiguous() if layout == "flat" else points_last


def flat(levels: list[Tensor]) -> Tensor:
    """(B, P, C) float64 of any levels."""
    rows = [level.flatten(2).transpose(1, 2) if level.ndim == 4 else level for level in levels]
    return torch.cat(rows, dim=1).double()


def class_sample(
    layout: str = "flat",
    dtype: torch.dtype = torch.float32,
    classes: int = 5,
    shapes: tuple[tuple[int, int], ...] = SHAPES,
    images: int = 2,
    seed: int = 0,
) -> HeadSample:
    """Logits on both sides of 0, labels of every kind."""
    generator = torch.Generator().manual_seed(seed)
    levels = [4 * torch.randn(images, classes, *shape, generator=generator) for shape in shapes]
    points = sum(h * w for h, w in shapes)
    labels = torch.randint(-2, classes, (images, points), generator=generator)
    quality = torch.rand(images, points, generator=generator)
    name = f"{layout}-{str(dtype).removeprefix('torch.')}-{classes}"
    return HeadSample(name, [in_layout(level.to(dtype), layout) for level in levels], labels, quality)


def class_samples() -> list[HeadSample]:
    """Every layout and dtype; counts of classes that fill vectors, do not, and are one."""
    found = [class_sample(layout, dtype) for layout in LAYOUTS for dtype in DTYPES]
    found += [class_sample(layout, classes=classes) for layout in LAYOUTS for classes in (1, 8, 80, 1500)]
    mixed = class_sample("planes", classes=3)
    levels = [in_layout(level, layout) for level, layout in zip(mixed.levels, LAYOUTS[1:], strict=True)]
    found.append(dataclasses.replace(mixed, name="mixed", levels=levels))
    found.append(class_sample(shapes=((32, 64), (16, 32)), classes=3, layout="planes"))
    return found


def box_sample(
    layout: str = "flat",
    dtype: torch.dtype = torch.float32,
    shapes: tuple[tuple[int, int], ...] = SHAPES,
    seed: int = 0,
) -> HeadSample:
    """Distances to the sides of boxes, some equal to their targets; the targets are in ``quality``."""
    generator = torch.Generator().manual_seed(seed)
    sample = class_sample(layout, dtype, classes=4, shapes=shapes, seed=seed)
    levels = [30 * torch.rand(2, 4, *shape, generator=generator) + 0.01 for shape in shapes]
    target = 30 * torch.rand(*sample.labels.shape, 4, generator=generator) + 0.01
    distances = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)
    equal = torch.rand(target.shape, generator=generator) < 0.2
    shown = [in_layout(level.to(dtype), layout) for level in levels]
    return HeadSample(sample.name, shown, sample.labels, torch.where(equal, distances, target).to(dtype).float())


def expected_class_loss(
    levels: list[Tensor], labels: Tensor, quality: Tensor | None, negative: float, matched: float, exponent: float
) -> Tensor:
    """weight * |target - sigmoid|^exponent * binary cross entropy, over everything not ignored."""
    logits = flat(levels)
    is_match = labels.unsqueeze(-1) == torch.arange(logits.shape[-1], device=labels.device)
    target = is_match.double() * (1.0 if quality is None else quality.double().unsqueeze(-1))
    errors = binary_cross_entropy_with_logits(logits, target, reduction="none")
    # In float64: torch.where of two Python numbers would round them to float32.
    weights = torch.where(is_match, errors.new_tensor(matched), errors.new_tensor(negative))
    weights = weights * (labels >= -1).unsqueeze(-1)
    return (weights * (target - logits.sigmoid()).abs() ** exponent * errors).sum()


def expected_box_loss(levels: list[Tensor], target: Tensor, weights: Tensor, kind: str) -> Tensor:
    """Over the points of a weight above 0, from the corners of boxes around the origin."""
    counts = weights > 0
    ours, theirs = (ltrb[counts] * ltrb.new_tensor([-1, -1, 1, 1]) for ltrb in (flat(levels), target.double()))
    low, high = torch.maximum(ours, theirs)[:, :2], torch.minimum(ours, theirs)[:, 2:]
    outer_low, outer_high = torch.minimum(ours, theirs)[:, :2], torch.maximum(ours, theirs)[:, 2:]
    intersection = (high - low).prod(1)
    union = (ours[:, 2:] - ours[:, :2]).prod(1) + (theirs[:, 2:] - theirs[:, :2]).prod(1) - intersection
    hull = (outer_high - outer_low).prod(1)
    losses = -(intersection / union).log() if kind == "iou" else 1 - intersection / union + (hull - union) / hull
    return (losses * weights[counts].double()).sum()
