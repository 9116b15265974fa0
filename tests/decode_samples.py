"""Calls of decode_topk, rich in ties, odd values and sizes that no vector divides."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from loss_samples import DTYPES, LAYOUTS, SHAPES, in_layout
from torch import Tensor

from pseudo_iou_ops import level_points

# Above 16,384 candidates of a level a GPU chooses from the logits; above 2,048 ranks, part by part.
CROWDED = ((37, 41), (3, 2))
ODD_VALUES = (float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 88.0, -88.0, 17.0)


@dataclass(frozen=True)
class DecodeSample:
    """The arguments of the op ``decode_topk``."""

    name: str
    logits: list[Tensor]
    ltrb: list[Tensor]
    centerness: list[Tensor]
    points: Tensor
    score_threshold: float
    k: int

    def __str__(self) -> str:
        return self.name

    def args(self) -> tuple[list[Tensor], list[Tensor], list[Tensor], Tensor, float, int]:
        """As the op takes them."""
        return self.logits, self.ltrb, self.centerness, self.points, self.score_threshold, self.k


def decode_sample(
    layout: str = "flat",
    dtype: torch.dtype = torch.float32,
    classes: int = 5,
    shapes: tuple[tuple[int, int], ...] = SHAPES,
    images: int = 2,
    with_centerness: bool = True,
    score_threshold: float = 0.3,
    k: int = 10,
    step: float = 0.0,
    odd_values: float = 0.0,
    seed: int = 0,
) -> DecodeSample:
    """Random predictions. Logits are multiples of ``step``, if it is given; ``odd_values``: their share."""
    generator = torch.Generator().manual_seed(seed)

    def maps(channels: int) -> list[Tensor]:
        return [4 * torch.randn(images, channels, *shape, generator=generator) for shape in shapes]

    def logits(channels: int) -> list[Tensor]:
        levels = []
        for level in maps(channels):
            values = (level / step).round() * step if step else level
            odd = torch.tensor(ODD_VALUES)[torch.randint(len(ODD_VALUES), level.shape, generator=generator)]
            is_odd = torch.rand(level.shape, generator=generator) < odd_values
            levels.append(in_layout(torch.where(is_odd, odd, values).to(dtype), layout))
        return levels

    name = f"{layout}-{str(dtype).removeprefix('torch.')}-{classes}x{shapes}x{images}-{score_threshold}-{k}-{seed}"
    return DecodeSample(
        name + ("-centerness" if with_centerness else ""),
        logits(classes),
        [in_layout(level, LAYOUTS[seed % len(LAYOUTS)]) for level in maps(4)],
        logits(1) if with_centerness else [],
        level_points(shapes, [8 * 2**level for level in range(len(shapes))]),
        score_threshold,
        k,
    )


def decode_samples() -> list[DecodeSample]:
    """Every layout and dtype, and what only many candidates or odd numbers reach."""
    found = [
        decode_sample(layout, dtype, classes, with_centerness=with_centerness, odd_values=0.05, k=k, seed=k)
        for layout in LAYOUTS
        for dtype in DTYPES
        for classes, with_centerness, k in ((5, True, 1), (8, False, 40))
    ]
    found += [decode_sample("planes", classes=1), decode_sample(classes=80, k=3000), decode_sample(images=0)]
    found += [decode_sample(score_threshold=threshold, k=400) for threshold in (-1.0, 0.0, 1e-30, 0.9999999, 1.0, 2.0)]
    found += [decode_sample(step=1.0, layout=layout, k=30) for layout in LAYOUTS]
    return found


def crowded_samples() -> list[DecodeSample]:
    """More candidates than the lists of a GPU hold, as they rarely are equal, often are, and are without exception."""
    found = []
    for layout, dtype in zip(LAYOUTS, DTYPES, strict=True):
        for step, k in ((0.0, 100), (1.0, 2500), (1e6, 7)):
            found.append(decode_sample(layout, dtype, 13, CROWDED, 1, step < 1, 0.0, k, step, seed=k))
    return found


def random_sample(seed: int) -> DecodeSample:
    """Of any kind, and small."""
    generator = torch.Generator().manual_seed(seed)

    def pick(count: int) -> int:
        return int(torch.randint(count, (), generator=generator))

    shapes = tuple((pick(9), 1 + pick(9)) for _ in range(1 + pick(3)))
    return decode_sample(
        LAYOUTS[pick(4)], DTYPES[pick(4)], 1 + pick(24), shapes, pick(4), pick(2) == 1,
        (0.05, 0.0, 0.5, -1.0, 0.9)[pick(5)], 1 + pick(60), (0.0, 0.5, 3.0)[pick(3)], (0.0, 0.1)[pick(2)], seed,
    )  # fmt: skip
