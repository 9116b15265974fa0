"""The detector: backbone, pyramid, head; its loss and its detections."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from pseudo_iou_ops import (
    Assigner,
    AssignmentLike,
    AssignRule,
    PointPredictions,
    TopKAssignment,
    level_points,
    make_assigner,
)

from ..config import Config
from ..data.loader import Targets
from .backbone import STRIDES, build_backbone
from .feature_cache import FeatureCache
from .head import Head, Predictions
from .losses import detection_losses
from .postprocess import Detections, detections

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# The weights of MSRA and Detectron take the channels blue, green, red, and not scaled.
CAFFE_MEAN = (102.9801, 115.9465, 122.7717)


class Detector(nn.Module):
    """The paper's detector (section 3.2), trained through any :class:`pseudo_iou_ops.Assigner`."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: Config, num_classes: int, load_weights: bool = True) -> None:
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config.model, load_weights)
        rule = config.assign.rule()
        self.assigner: Assigner = make_assigner(STRIDES, rule, box_format="ltrb", score_kind="logits")
        initial = config.assign.initial_rule()
        # Predictions are of the points that detections are decoded from, whatever assigns.
        self.initial_assigner = None if initial is None else make_assigner(STRIDES, initial, self.assigner.offset)
        # Where boxes choose points, targets are in pixels, as the predictions that a rule compares them with.
        in_strides = isinstance(rule, AssignRule) and rule.normalize_by_stride
        self.head = Head(config.model, num_classes, STRIDES, in_strides)
        mean, std = pixel_statistics(config.model.pixels)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)
        self.feature_cache: FeatureCache | None = None

    @property
    def device(self) -> torch.device:
        """Where the parameters are, and where the images have to be."""
        return self.mean.device

    @property
    def _memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.config.train.channels_last else torch.contiguous_format

    def forward(self, images: Tensor) -> Predictions:
        """``images`` (B, 3, H, W) uint8 RGB, sides multiples of 32; normalised here, on their device."""
        if self.feature_cache is None:
            levels = self.backbone(self._normalised(images))
        else:
            kept = self.feature_cache.features(images, lambda new: self.backbone.body(self._normalised(new)))
            levels = self.backbone.fpn(kept)
        return self.head(list(levels.values()))  # type: ignore[no-any-return]

    def use_feature_cache(self) -> None:
        """From now on take the backbone's outputs from ``model.feature_cache``, if the configuration names a folder.

        For training and evaluation, which see the same images again; the weights are in place.
        """
        if self.config.model.feature_cache:
            folder = Path(self.config.model.feature_cache)
            self.feature_cache = FeatureCache(folder, self.backbone, (self.mean, self.std), self._memory_format)

    def _normalised(self, images: Tensor) -> Tensor:
        pixels = images.flip(1) if self.config.model.pixels == "caffe" else images
        return ((pixels.float() - self.mean) / self.std).contiguous(memory_format=self._memory_format)

    def assigner_at(self, step: int | None) -> Assigner:
        """The assigner after so many steps of training; None: that of a trained network."""
        if step is None or self.initial_assigner is None or step >= self.config.assign.initial_iterations:
            return self.assigner
        return self.initial_assigner

    def assign(
        self,
        level_shapes: tuple[tuple[int, int], ...],
        targets: Targets,
        sizes: Tensor,
        out: AssignmentLike | None = None,
        predictions: Predictions | None = None,
        step: int | None = None,
    ) -> AssignmentLike:
        """What the points of a batch learn.

        Args:
            level_shapes: L times (H, W), of the predictions.
            targets: the boxes of B images.
            sizes: (B, 2), height and width of the images without padding.
            out: an earlier result for as many images, points and boxes to write into; it is returned.
            predictions: of the same batch, as the head leaves them; without them, rules that read any raise ValueError.
            step: how many steps of training were taken; None: of a trained network.
        """
        data, assigner, read = self.config.data, self.assigner_at(step), None
        if predictions is not None and assigner.needs_predictions:
            read = PointPredictions(predictions.ltrb_maps, predictions.class_maps)
        return assigner(
            level_shapes,
            targets.boxes,
            targets.labels,
            targets.offsets,
            predictions=read,
            ignore_boxes=targets.ignore_boxes if data.ignore_regions else None,
            ignore_offsets=targets.ignore_offsets if data.ignore_regions else None,
            valid_sizes=sizes if data.ignore_padding else None,
            out=out,
        )

    def losses(
        self, predictions: Predictions, assignment: AssignmentLike, step: int | None = None
    ) -> dict[str, Tensor]:
        """The terms of the loss of what :meth:`assign` gave at the same step; see :func:`detection_losses`."""
        quality = None
        if isinstance(assignment, TopKAssignment) and self.assigner_at(step).needs_predictions:
            quality = assignment.score
        return detection_losses(predictions, assignment, self.config.loss, quality)

    def detect(self, images: Tensor, sizes: Tensor) -> list[Detections]:
        """The detections of each image, in pixels of ``images``."""
        predictions = self.head.in_pixels(self(images))
        points = level_points(predictions.level_shapes, STRIDES, self.assigner.offset, device=images.device)
        return detections(predictions, points, sizes, self.config.postprocess)


def pixel_statistics(pixels: Literal["rgb", "caffe"]) -> tuple[Tensor, Tensor]:
    """Mean and deviation (3, 1, 1) of the channels, in the order that the weights expect."""
    if pixels == "caffe":
        return torch.tensor(CAFFE_MEAN).view(3, 1, 1), torch.ones(3, 1, 1)
    return 255 * torch.tensor(IMAGENET_MEAN).view(3, 1, 1), 255 * torch.tensor(IMAGENET_STD).view(3, 1, 1)
