"""The detector: backbone, pyramid, head; its loss and its detections."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from pseudo_iou_ops import Assignment, PointAssigner, level_points

from ..config import Config
from ..data.loader import Targets
from .backbone import STRIDES, build_backbone
from .head import Head, Predictions
from .losses import detection_losses
from .postprocess import Detections, detections

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Of the weights of MSRA and Detectron: the channels are blue, green, red, and are not scaled.
CAFFE_MEAN = (102.9801, 115.9465, 122.7717)


class Detector(nn.Module):
    """The paper's detector (section 3.2), trained through :class:`pseudo_iou_ops.PointAssigner`."""

    mean: Tensor
    std: Tensor
    last_assignment: Assignment | None = None

    def __init__(self, config: Config, num_classes: int, load_weights: bool = True) -> None:
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config.model, load_weights)
        self.head = Head(config.model, num_classes, STRIDES)
        self.assigner = PointAssigner(STRIDES, config.assign.rule())
        mean, std = pixel_statistics(config.model.pixels)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    def forward(self, images: Tensor) -> Predictions:
        """``images`` (B, 3, H, W) uint8 RGB, sides multiples of 32; normalised here, on their device."""
        pixels = images.flip(1) if self.config.model.pixels == "caffe" else images
        normalised = (pixels.float() - self.mean) / self.std
        if self.config.train.channels_last:
            normalised = normalised.contiguous(memory_format=torch.channels_last)
        return self.head(list(self.backbone(normalised).values()))  # type: ignore[no-any-return]

    def assign(self, level_shapes: tuple[tuple[int, int], ...], targets: Targets, sizes: Tensor) -> Assignment:
        """What the points of a batch learn; ``sizes`` (B, 2) are the images' without padding.

        The result is written over by the next call of the same shapes.
        """
        data = self.config.data
        self.last_assignment = self.assigner(
            level_shapes,
            targets.boxes,
            targets.labels,
            targets.offsets,
            ignore_boxes=targets.ignore_boxes if data.ignore_regions else None,
            ignore_offsets=targets.ignore_offsets if data.ignore_regions else None,
            valid_sizes=sizes if data.ignore_padding else None,
            out=self._reusable(level_shapes, targets),
        )
        return self.last_assignment

    def _reusable(self, level_shapes: tuple[tuple[int, int], ...], targets: Targets) -> Assignment | None:
        """The last step's result if this one fits into it: on a CPU, fresh memory costs more than assigning."""
        last = self.last_assignment
        shape = (targets.offsets.shape[0] - 1, sum(height * width for height, width in level_shapes))
        if last is None or last.matched.shape != shape or last.matched.device != targets.boxes.device:
            return None
        return last._replace(pos_per_box=last.pos_per_box.new_empty(targets.boxes.shape[0]))

    def losses(self, predictions: Predictions, assignment: Assignment) -> dict[str, Tensor]:
        """The terms of the loss; see :func:`detector.model.losses.detection_losses`."""
        target_ltrb = assignment.ltrb
        if self.assigner.rule.normalize_by_stride:
            target_ltrb = target_ltrb * _point_strides(predictions).unsqueeze(-1)
        return detection_losses(predictions, assignment, target_ltrb, self.config.loss)

    def detect(self, images: Tensor, sizes: Tensor) -> list[Detections]:
        """The detections of each image, in pixels of ``images``."""
        predictions = self(images)
        points = level_points(predictions.level_shapes, STRIDES, self.assigner.rule.offset, device=images.device)
        return detections(predictions, points, sizes, self.config.postprocess)


def pixel_statistics(pixels: Literal["rgb", "caffe"]) -> tuple[Tensor, Tensor]:
    """Mean and deviation (3, 1, 1) of the channels, in the order that the weights expect."""
    if pixels == "caffe":
        return torch.tensor(CAFFE_MEAN).view(3, 1, 1), torch.ones(3, 1, 1)
    return 255 * torch.tensor(IMAGENET_MEAN).view(3, 1, 1), 255 * torch.tensor(IMAGENET_STD).view(3, 1, 1)


def _point_strides(predictions: Predictions) -> Tensor:
    """(P,) float32, the stride of each point's level."""
    strides = [
        torch.full((height * width,), float(stride), device=predictions.ltrb_maps[0].device)
        for (height, width), stride in zip(predictions.level_shapes, STRIDES, strict=True)
    ]
    return torch.cat(strides)
