"""The paper's head: two branches without shared weights, applied to every level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..config import ModelConfig

# exp(10) strides are more than any image; beyond, float32 would overflow in the areas.
LARGEST_EXPONENT = 10.0
# Where relu gives 0: a box keeps an area, so that no IoU is 0 / 0.
SMALLEST_DISTANCE = 1e-3


class Predictions(NamedTuple):
    """What the network says of the points of all levels, one tensor per level, as the convolutions leave it.

    ``class_maps`` (B, C, H, W), logits; ``ltrb_maps`` (B, 4, H, W) float32, positive distances to the sides in the
    unit of the targets, pixels or strides; ``centerness_maps`` (B, 1, H, W), logits, or None.
    """

    class_maps: tuple[Tensor, ...]
    ltrb_maps: tuple[Tensor, ...]
    centerness_maps: tuple[Tensor, ...] | None

    @property
    def level_shapes(self) -> tuple[tuple[int, int], ...]:
        """L times (H, W)."""
        return tuple((level.shape[-2], level.shape[-1]) for level in self.class_maps)

    @property
    def class_logits(self) -> Tensor:
        """(B, P, C), in the order of ``pseudo_iou_ops.assign``; a copy, as the two below."""
        return _flat(self.class_maps)

    @property
    def ltrb(self) -> Tensor:
        """(B, P, 4)."""
        return _flat(self.ltrb_maps)

    @property
    def centerness_logits(self) -> Tensor | None:
        """(B, P) or None."""
        return None if self.centerness_maps is None else _flat(self.centerness_maps).squeeze(-1)


class Head(nn.Module):
    """Class and box branch (paper, section 3.2, with the group normalisation of section 4.1).

    A distance in strides is ``exp(scale * x)``, with one learnable scale per level as in FCOS, or the authors'
    ``relu(scale * x)``. It is multiplied by the stride unless ``in_strides``, for rules that normalise by it.
    """

    def __init__(self, config: ModelConfig, num_classes: int, strides: Sequence[int], in_strides: bool = False) -> None:
        super().__init__()
        channels = config.channels
        self.strides = tuple(strides)
        self.in_strides = in_strides
        self.box_activation = config.box_activation
        self.class_branch = _branch(config)
        self.box_branch = _branch(config)
        self.class_output = nn.Conv2d(channels, num_classes, 3, padding=1)
        self.box_output = nn.Conv2d(channels, 4, 3, padding=1)
        self.centerness_output = nn.Conv2d(channels, 1, 3, padding=1) if config.centerness else None
        self.scales = nn.Parameter(torch.ones(len(strides)))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        prior = config.prior_probability
        nn.init.constant_(self.class_output.bias, -math.log((1 - prior) / prior))  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor]) -> Predictions:
        """``features``: one (B, channels, H, W) per level."""
        classes, boxes, centers = [], [], []
        for feature, stride, scale in zip(features, self.strides, self.scales, strict=True):
            classes.append(self.class_output(self.class_branch(feature)))
            box_feature = self.box_branch(feature)
            distances = self._distances(scale * self.box_output(box_feature).float())
            boxes.append(distances if self.in_strides else distances * stride)
            if self.centerness_output is not None:
                centers.append(self.centerness_output(box_feature))
        return Predictions(tuple(classes), tuple(boxes), tuple(centers) or None)

    def in_pixels(self, predictions: Predictions) -> Predictions:
        """The same predictions with distances in pixels, to be decoded."""
        if not self.in_strides:
            return predictions
        maps = zip(predictions.ltrb_maps, self.strides, strict=True)
        return predictions._replace(ltrb_maps=tuple(distances * stride for distances, stride in maps))

    def _distances(self, scaled: Tensor) -> Tensor:
        """From the scaled outputs to positive distances in strides."""
        if self.box_activation == "relu":
            return scaled.clamp(min=SMALLEST_DISTANCE)
        return scaled.clamp(max=LARGEST_EXPONENT).exp()


def _branch(config: ModelConfig) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(config.head_convs):
        layers += [
            nn.Conv2d(config.channels, config.channels, 3, padding=1, bias=False),
            nn.GroupNorm(config.norm_groups, config.channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def _flat(maps: Sequence[Tensor]) -> Tensor:
    """L times (B, C, H, W) to (B, P, C): level after level, row-major points."""
    return torch.cat([level.permute(0, 2, 3, 1).flatten(1, 2) for level in maps], dim=1)
