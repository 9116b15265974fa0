"""Deformable convolution with modulation, the paper's DCN rows (Table 4)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import DeformConv2d

from ..errors import UserError

# c3-c5: the stages whose feature maps have strides 8, 16 and 32.
_STAGES = ("layer2", "layer3", "layer4")


class ModulatedDeformConv2d(DeformConv2d):  # type: ignore[misc]
    """A convolution that predicts where it samples and how much each sample weighs (Zhu et al. 2019, DCNv2).

    The offsets start at 0 and the weights at sigmoid(0) = 1/2, as published. Computed in float32 whatever
    autocast says: torchvision's kernel has no bfloat16.
    """

    def __init__(self, conv: nn.Conv2d, deform_groups: int) -> None:
        """Take the place, and the weight, of a convolution without bias."""
        geometry: dict[str, Any] = {
            "kernel_size": conv.kernel_size,
            "stride": conv.stride,
            "padding": conv.padding,
            "dilation": conv.dilation,
        }
        super().__init__(conv.in_channels, conv.out_channels, **geometry, groups=conv.groups, bias=False)
        self.weight = conv.weight
        samples = deform_groups * math.prod(conv.kernel_size)
        self.sizes = (2 * samples, samples)
        self.sampling = nn.Conv2d(conv.in_channels, sum(self.sizes), **geometry)
        for parameter in self.sampling.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to float32 (B, out_channels, H', W')."""
        if torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                return self.forward(x.float())
        offsets, weights = self.sampling(x).split(self.sizes, dim=1)
        return super().forward(x, offsets, weights.sigmoid())  # type: ignore[no-any-return]


def make_deformable(net: nn.Module, deform_groups: int, name: str) -> None:
    """Make every 3x3 convolution of the bottlenecks of c3-c5 deformable; raises UserError if there are none."""
    for stage in _STAGES:
        for block in getattr(net, stage):
            if not hasattr(block, "conv3"):
                raise UserError(f"model.deformable: expected a backbone with bottlenecks, got {name}")
            channels = block.conv2.in_channels
            if deform_groups < 1 or channels % deform_groups:
                raise UserError(f"model.deform_groups: expected a divisor of {channels} channels, got {deform_groups}")
            block.conv2 = ModulatedDeformConv2d(block.conv2, deform_groups)
