"""The batches that are timed: laws of box counts and sizes, and real COCO boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pseudo_iou_ops import level_points, pack_boxes, presets

STRIDES = (8, 16, 32, 64, 128)
NUM_CLASSES = 80
PADDING = 32
COCO_BOXES = Path(__file__).parent / "data" / "coco_val2017_boxes.npz"


@dataclass(frozen=True, eq=False)
class Pyramid:
    """The points of one image size, P3..P7 unless the strides are others."""

    level_shapes: tuple[tuple[int, int], ...]
    device: torch.device
    strides: tuple[int, ...] = STRIDES

    @staticmethod
    def of_image(height: int, width: int, device: torch.device, strides: tuple[int, ...] = STRIDES) -> Pyramid:
        height, width = (math.ceil(side / PADDING) * PADDING for side in (height, width))
        shapes = tuple((math.ceil(height / stride), math.ceil(width / stride)) for stride in strides)
        return Pyramid(shapes, device, strides)

    @cached_property
    def points_per_level(self) -> list[int]:
        return [height * width for height, width in self.level_shapes]

    @property
    def num_points(self) -> int:
        return sum(self.points_per_level)

    @cached_property
    def points(self) -> Tensor:
        """(P, 2) float32, x y."""
        return level_points(self.level_shapes, self.strides, device=self.device)

    @cached_property
    def ranges(self) -> Tensor:
        """(P, 2) float32, FCOS's bounds on max(l, t, r, b) at each point."""
        bounds = torch.tensor(presets.FCOS_RANGES)
        return bounds.repeat_interleave(torch.tensor(self.points_per_level), dim=0).to(self.device)


@dataclass(frozen=True, eq=False)
class Batch:
    """One input set, in the three layouts detectors use. Building a layout is not timed."""

    boxes: list[Tensor]
    labels: list[Tensor]
    pyramid: Pyramid

    @property
    def num_images(self) -> int:
        return len(self.boxes)

    @property
    def num_boxes(self) -> int:
        return sum(boxes.shape[0] for boxes in self.boxes)

    @property
    def most_boxes(self) -> int:
        return max((boxes.shape[0] for boxes in self.boxes), default=0)

    @cached_property
    def packed(self) -> tuple[Tensor, Tensor, Tensor]:
        """boxes (M, 4), labels (M,), offsets (B+1,) on the CPU."""
        return pack_boxes(self.boxes, self.labels)

    @cached_property
    def padded(self) -> tuple[Tensor, Tensor, Tensor]:
        """boxes (B, G, 4), labels (B, G), and each image's first row once packed (B,). Padding has no area."""
        no_box = self.boxes[0].new_zeros(1, 4), self.labels[0].new_zeros(1)  # so that G is never 0
        boxes = pad_sequence([*self.boxes, no_box[0]], batch_first=True)[:-1]
        labels = pad_sequence([*self.labels, no_box[1]], batch_first=True)[:-1]
        return boxes, labels, self.packed[2][:-1].to(boxes.device)


@dataclass(frozen=True)
class Workload:
    """A law of batches.

    ``counts`` and ``sizes`` are quantiles at equal steps from 0 to 1, of the boxes in an image and of the square
    root of a box's area in pixels. Draws are stratified, so that every batch has nearly the same shape.
    """

    name: str
    height: int
    width: int
    images: int
    counts: tuple[int, ...]
    sizes: tuple[float, ...]
    fullest: int | None = None
    """Boxes of the fullest image, where one image is far beyond the others."""
    aspect: float = 2.5
    """Width over height lies between 1 / aspect and aspect."""
    strides: tuple[int, ...] = STRIDES
    classes: int = NUM_CLASSES

    def shrunk(self, images: int, side: int, most_boxes: int) -> Workload:
        """A small version with the same laws, for tests."""
        return replace(
            self,
            images=images,
            height=min(self.height, side),
            width=min(self.width, side),
            counts=tuple(min(count, most_boxes) for count in self.counts),
            fullest=self.fullest and min(self.fullest, most_boxes),
        )

    def batch(self, seed: int, device: torch.device | str = "cpu") -> Batch:
        device = torch.device(device)
        generator = np.random.default_rng(seed)
        counts = np.rint(np.interp(*_stratified(self.images, self.counts, generator))).astype(int)
        if self.fullest is not None:
            counts[np.argmax(counts)] = self.fullest
        packed = torch.from_numpy(self._boxes(int(counts.sum()), generator))
        labels = torch.from_numpy(generator.integers(self.classes, size=len(packed)))
        return Batch(
            list(packed.to(device).split(counts.tolist())),
            list(labels.to(device).split(counts.tolist())),
            Pyramid.of_image(self.height, self.width, device, self.strides),
        )

    def _boxes(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """(count, 4) float32, anywhere in the image."""
        drawn, steps, logarithms = _stratified(count, np.log(self.sizes), generator)
        size = np.exp(np.interp(drawn, steps, logarithms))
        root_aspect = self.aspect ** generator.uniform(-0.5, 0.5, count)
        width = np.minimum(size * root_aspect, self.width)
        height = np.minimum(size / root_aspect, self.height)
        x1 = generator.uniform(0, 1, count) * (self.width - width)
        y1 = generator.uniform(0, 1, count) * (self.height - height)
        return np.stack((x1, y1, x1 + width, y1 + height), axis=1).astype(np.float32)


@dataclass(frozen=True)
class CocoBoxes:
    """Batches of the true boxes of COCO val2017's landscape images, resized to 800 x 1333 unless told."""

    name: str = "coco_real"
    height: int = 800
    width: int = 1333
    images: int = 16
    strides: tuple[int, ...] = STRIDES
    classes: int = NUM_CLASSES

    def batch(self, seed: int, device: torch.device | str = "cpu") -> Batch:
        device = torch.device(device)
        with np.load(COCO_BOXES) as data:
            sizes, offsets, boxes = data["size_hw"], data["offsets"], data["boxes_xyxy"]
            labels, is_crowd = data["labels"], data["iscrowd"]
        landscape = np.flatnonzero(sizes[:, 1] >= sizes[:, 0])
        chosen = np.random.default_rng(seed).choice(landscape, self.images, replace=False)
        image_boxes, image_labels = [], []
        for image in chosen:
            rows = np.arange(offsets[image], offsets[image + 1])
            rows = rows[~is_crowd[rows]]
            scale = min(self.height / sizes[image, 0], self.width / sizes[image, 1])
            image_boxes.append(torch.from_numpy(boxes[rows] * np.float32(scale)).to(device))
            image_labels.append(torch.from_numpy(labels[rows].astype(np.int64)).to(device))
        return Batch(image_boxes, image_labels, Pyramid.of_image(self.height, self.width, device, self.strides))


def _stratified(
    count: int, quantiles: Sequence[float] | np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arguments of np.interp: one draw from each of ``count`` equal strata, shuffled."""
    draws = (generator.permutation(count) + generator.uniform(size=count)) / max(count, 1)
    return draws, np.linspace(0, 1, len(quantiles)), np.asarray(quantiles, dtype=float)


_DOTA_SIZES = (8, 16, 24, 40, 300)

_SYNTHETIC = (
    Workload("voc", 600, 1000, 16, counts=(1, 1, 2, 4, 9), sizes=(20, 110, 210, 350, 560)),
    Workload("coco", 800, 1333, 16, counts=(1, 2, 4, 10, 26), sizes=(8, 48, 105, 240, 900)),
    Workload("lvis", 800, 1333, 16, counts=(1, 3, 7, 13, 24), sizes=(6, 24, 60, 140, 700), fullest=300),
    Workload("crowd", 800, 1400, 16, counts=(200, 200), sizes=(12, 40, 62, 95, 400)),
    Workload("dota", 1024, 1024, 8, counts=(5, 30, 80, 150, 200), sizes=_DOTA_SIZES, fullest=2000),
    Workload("dota2k", 1024, 1024, 8, counts=(2000, 2000), sizes=_DOTA_SIZES),
    Workload("4k", 2160, 3840, 2, counts=(300, 300), sizes=(16, 48, 90, 170, 1200)),
)

WORKLOADS: dict[str, Workload | CocoBoxes] = {
    **{workload.name: workload for workload in _SYNTHETIC},
    "coco_real": CocoBoxes(),
}

SWEPT_BOXES = (0, 1, 10, 30, 100, 300, 1000, 2000, 3000, 5000)


def swept_workload(boxes: int) -> Workload:
    """Batches with ``boxes`` boxes in every image."""
    return Workload(f"{boxes} boxes", 1024, 1024, 8, counts=(boxes, boxes), sizes=_DOTA_SIZES)
