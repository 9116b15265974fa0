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


class Predictions(NamedTuple):
    """What the network says of the points of all levels, in the order of ``pseudo_iou_ops.assign``.

    ``class_logits`` (B, P, C); ``ltrb`` (B, P, 4) float32, distances to the sides in pixels, positive;
    ``centerness_logits`` (B, P) or None; ``level_shapes`` L times (H, W).
    """

    class_logits: Tensor
    ltrb: Tensor
    centerness_logits: Tensor | None
    level_shapes: tuple[tuple[int, int], ...]


class Head(nn.Module):
    """Class and box branch (paper, section 3.2, with the group normalisation of section 4.1).

    A distance is ``exp(scale * x) * stride``, with one learnable scale per level as in FCOS.
    """

    def __init__(self, config: ModelConfig, num_classes: int, strides: Sequence[int]) -> None:
        super().__init__()
        channels = config.channels
        self.strides = tuple(strides)
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
            classes.append(_flat(self.class_output(self.class_branch(feature))))
            box_feature = self.box_branch(feature)
            exponent = scale * _flat(self.box_output(box_feature)).float()
            boxes.append(exponent.clamp(max=LARGEST_EXPONENT).exp() * stride)
            if self.centerness_output is not None:
                centers.append(_flat(self.centerness_output(box_feature)).squeeze(-1))
        return Predictions(
            class_logits=torch.cat(classes, dim=1),
            ltrb=torch.cat(boxes, dim=1),
            centerness_logits=torch.cat(centers, dim=1) if centers else None,
            level_shapes=tuple((feature.shape[-2], feature.shape[-1]) for feature in features),
        )


def _branch(config: ModelConfig) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(config.head_convs):
        layers += [
            nn.Conv2d(config.channels, config.channels, 3, padding=1, bias=False),
            nn.GroupNorm(config.norm_groups, config.channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def _flat(output: Tensor) -> Tensor:
    """(B, C, H, W) to (B, H * W, C): row-major points, as the op orders them."""
    return output.permute(0, 2, 3, 1).flatten(1, 2)
