"""Batches for the rules that read predictions: what a network part-way through training predicts at each point."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from pseudo_iou_ops import assign, level_points, presets

from .workloads import Batch, CocoBoxes, Pyramid, Workload

YOLO_STRIDES = (8, 16, 32)

# A predicted side is off by this share of the box's side, as a standard deviation.
BOX_NOISE = 0.15
# Logits scatter by 1 about the first where a class is absent, and are raised by the second where it is present.
ABSENT_LOGIT, PRESENT = -4.0, 3.5

_XVIEW = Workload(
    "xview",
    640,
    640,
    16,
    counts=(20, 80, 250, 700, 1800),
    sizes=(4, 10, 16, 26, 120),
    fullest=4967,
    strides=YOLO_STRIDES,
    classes=60,
)

# No box is cut at its image's border: a center in the very middle ties points, and which of them a peer takes is open.
TOP_K_WORKLOADS: dict[str, Workload | CocoBoxes] = {
    "coco640": CocoBoxes("coco640", 640, 640, strides=YOLO_STRIDES),
    "coco800": CocoBoxes("coco800"),
    "objects365": Workload(
        "objects365",
        640,
        640,
        16,
        counts=(300, 300),
        sizes=(8, 28, 60, 120, 400),
        strides=YOLO_STRIDES,
        classes=365,
    ),
    "xview": _XVIEW,
    # The fullest image beside one of the others: as many as the tables of the peers have memory for.
    "xview2": replace(_XVIEW, name="xview2", images=2),
}

SWEPT_BOXES = (1, 10, 30, 100, 300, 1000, 3000)


def swept_workload(boxes: int) -> Workload:
    """Batches with ``boxes`` boxes in every image and 8,400 points."""
    sizes = (8, 16, 24, 40, 300)
    return Workload(f"{boxes} boxes", 640, 640, 8, counts=(boxes, boxes), sizes=sizes, strides=YOLO_STRIDES)


@dataclass(frozen=True, eq=False)
class PredictedBatch(Batch):
    """Ground truths, and a head's predictions for them."""

    pred_boxes: Tensor
    """(B, P, 4) float32, x1 y1 x2 y2."""
    logits: Tensor
    """(B, P, C) float32."""

    objectness: Tensor
    """(B, P, 1) float32 logits, which SimOTA reads beside those of the classes."""

    @cached_property
    def probabilities(self) -> Tensor:
        """(B, P, C), which other assigners are given."""
        return self.logits.sigmoid()

    @cached_property
    def joint_probabilities(self) -> Tensor:
        """(B, P, C) of class and object, which other SimOTA assigners are given."""
        return (self.probabilities * self.objectness.sigmoid()).sqrt()

    @cached_property
    def maps(self) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Boxes (B, 4, H, W), logits (B, C, H, W) and objectness (B, 1, H, W) of each level, as convolutions leave
        them: channels first."""
        return self._maps(self.pred_boxes), self._maps(self.logits), self._maps(self.objectness)

    def _maps(self, values: Tensor) -> list[Tensor]:
        levels = values.transpose(1, 2).split(self.pyramid.points_per_level, dim=2)
        shapes = self.pyramid.level_shapes
        return [level.contiguous().unflatten(2, shape) for level, shape in zip(levels, shapes, strict=True)]

    def points_at(self, offset: float) -> Tensor:
        """(P, 2) the points of a rule; where they lie is not found anew in every call."""
        return _points(self.pyramid, offset)

    @cached_property
    def point_strides(self) -> Tensor:
        """(P,) float32."""
        counts = torch.tensor(self.pyramid.points_per_level)
        return torch.tensor(self.pyramid.strides, dtype=torch.float32).repeat_interleave(counts).to(self.pyramid.device)


@lru_cache(maxsize=8)
def _points(pyramid: Pyramid, offset: float) -> Tensor:
    return level_points(pyramid.level_shapes, pyramid.strides, offset, device=pyramid.device)


def predicted_batch(workload: Workload | CocoBoxes, seed: int, device: torch.device | str = "cpu") -> PredictedBatch:
    """A batch of the workload, with boxes that scatter about the smallest ground truth at a point, or about the point
    itself where there is none, and with logits that are high for the class of that ground truth."""
    batch = workload.batch(seed)
    generator = torch.Generator().manual_seed(seed)
    targets = assign(*batch.packed, batch.pyramid.level_shapes, batch.pyramid.strides, presets.paper_baseline)
    corners, sides = _centers_of_scatter(batch, targets.matched)
    pred_boxes = corners + BOX_NOISE * torch.randn(corners.shape, generator=generator) * sides.repeat(1, 1, 2)
    logits = torch.randn(*targets.matched.shape, workload.classes, generator=generator) + ABSENT_LOGIT
    present = (targets.labels >= 0).to(logits.dtype) * PRESENT
    logits.scatter_add_(2, targets.labels.clamp(min=0)[..., None], present[..., None])
    objectness = torch.randn(present.shape, generator=generator) + ABSENT_LOGIT + present
    predictions = (pred_boxes, logits, objectness[..., None])
    on_device = workload.batch(seed, device)
    return PredictedBatch(
        on_device.boxes, on_device.labels, on_device.pyramid, *(values.to(device) for values in predictions)
    )


def _centers_of_scatter(batch: Batch, matched: Tensor) -> tuple[Tensor, Tensor]:
    """(B, P, 4) corners and (B, P, 2) sides of the box about which a prediction scatters."""
    counts = torch.tensor(batch.pyramid.points_per_level)
    reach = 4.0 * torch.tensor(batch.pyramid.strides).repeat_interleave(counts)[:, None]
    about_points = torch.cat((batch.pyramid.points - reach, batch.pyramid.points + reach), dim=1)
    boxes = torch.cat((batch.packed[0], torch.zeros(1, 4)))  # so that there is a row for images without boxes
    corners = torch.where((matched >= 0)[..., None], boxes[matched.clamp(min=0)], about_points)
    return corners, corners[..., 2:] - corners[..., :2]
