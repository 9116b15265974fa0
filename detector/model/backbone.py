"""ResNet with a feature pyramid P3..P7, both torchvision's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from ..config import ModelConfig
from ..data.loader import SIZE_DIVISOR
from ..errors import UserError
from ..places import find
from ..torch_file import load_torch_file
from .deformable import make_deformable

STRIDES = (8, 16, 32, 64, 128)

# From the last stage to the first, as trainable_stages counts them.
_STAGES = ("layer4", "layer3", "layer2", "layer1", "stem")


def build_backbone(config: ModelConfig, load_weights: bool = True) -> BackboneWithFPN:
    """The network whose output is the dict of the feature maps P3..P7, strides ``STRIDES``.

    P6 and P7 are stride-2 convolutions over P5 (paper, section 3.2). ``load_weights=False`` leaves the
    backbone at its random initialisation, for a checkpoint that is loaded next.

    Raises:
        UserError: the weights file is missing or is not of this network.
    """
    net = _build_resnet(config)
    if config.stride_in_1x1:
        _move_stride(net, config.backbone)
    if load_weights and config.weights != "none":
        _load(net, config)
    if config.deformable:  # after the weights, which have no offsets
        make_deformable(net, config.deform_groups, config.backbone)
    _freeze(net, config.trainable_stages)
    width = net.inplanes
    return BackboneWithFPN(
        net,
        return_layers={"layer2": "p3", "layer3": "p4", "layer4": "p5"},
        in_channels_list=[width // 4, width // 2, width],
        out_channels=config.channels,
        extra_blocks=_P6P7(config.channels, config.channels),
    )


class _P6P7(LastLevelP6P7):  # type: ignore[misc]
    """In float32 where autocast takes another type on a CPU.

    There the bfloat16 gradient of a stride-2 convolution over a map of 1x1, as P6 is of a small image, reads memory
    that nobody wrote (torch 2.14.1, with AVX-512's bfloat16 and without).
    """

    def forward(self, p: list[Tensor], c: list[Tensor], names: list[str]) -> tuple[list[Tensor], list[str]]:
        if not torch.is_autocast_enabled("cpu"):
            return super().forward(p, c, names)  # type: ignore[no-any-return]
        with torch.autocast("cpu", enabled=False):
            (_, *added), names = super().forward([p[-1].float()], [c[-1].float()], names)
        return [*p, *added], names


def level_shapes(height: int, width: int) -> list[tuple[int, int]]:
    """(H, W) of P3..P7 for an image that is padded to whole cells of P5."""
    rows, columns = (-(-side // SIZE_DIVISOR) * SIZE_DIVISOR for side in (height, width))
    return [(-(-rows // stride), -(-columns // stride)) for stride in STRIDES]


def _build_resnet(config: ModelConfig) -> Any:
    norm = FrozenBatchNorm2d if config.norm == "frozen" else nn.BatchNorm2d
    if config.backbone == "resnet10":
        return ResNet(BasicBlock, [1, 1, 1, 1], norm_layer=norm)
    return torchvision.models.get_model(config.backbone, weights=None, norm_layer=norm)


def _move_stride(net: Any, name: str) -> None:
    """The layout of Caffe's ResNets: a stage's stride is on the first 1x1 convolution, not on the 3x3."""
    for stage in (net.layer2, net.layer3, net.layer4):
        block = stage[0]
        if not hasattr(block, "conv3"):
            raise UserError(f"model.stride_in_1x1: expected a backbone with bottlenecks, got {name}")
        block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)


def _freeze(net: Any, trainable_stages: int) -> None:
    for stage in _STAGES[trainable_stages:]:
        modules = (net.conv1, net.bn1) if stage == "stem" else (getattr(net, stage),)
        for module in modules:
            module.requires_grad_(False)


def _load(net: nn.Module, config: ModelConfig) -> None:
    file = _imagenet_file(config.backbone) if config.weights == "imagenet" else find(config.weights)
    given = {name: value for name, value in _read_weights(file).items() if not name.startswith("fc.")}
    expected = {
        name: value
        for name, value in net.state_dict().items()
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked")
    }
    missing = [name for name in expected if name not in given]
    unknown = [name for name in given if name not in expected and not name.endswith("num_batches_tracked")]
    misshaped = [name for name in expected if name in given and given[name].shape != expected[name].shape]
    if missing or unknown or misshaped:
        example = (missing + unknown + misshaped)[0]
        raise UserError(
            f"{file}: not weights of {config.backbone}: {len(missing)} tensors missing, "
            f"{len(unknown)} unknown, {len(misshaped)} of another shape, for example {example}"
        )
    net.load_state_dict(given, strict=False)


def _imagenet_file(backbone: str) -> Path:
    """torchvision's file in torch's cache, downloaded if it is not there yet."""
    if backbone == "resnet10":
        raise UserError("model.weights: torchvision has none of resnet10; give a file or none, got imagenet")
    weights = torchvision.models.get_model_weights(backbone)["IMAGENET1K_V1"]
    file: Path = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[-1]
    if not file.is_file():
        _download(weights.url, file)
    return file


def _download(url: str, file: Path) -> None:
    digest = file.stem.rpartition("-")[2]  # torchvision names its files so
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(file), hash_prefix=digest, progress=sys.stderr.isatty())
    except (OSError, RuntimeError) as error:  # no network, no room, or another digest
        raise UserError(
            f"model.weights: {url} can not be downloaded: {error}; put it into {file.parent} (its sha256 begins with "
            f"{digest}), or give another file with --model.weights"
        ) from None


def _read_weights(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise UserError(f"model.weights: no file {str(file)!r}; expected none, imagenet or a path")
    if file.suffix != ".safetensors":
        content = load_torch_file(file, "a weights file")
        if not isinstance(content, dict):
            raise UserError(f"{file}: not a weights file: expected a dict of tensors, got {type(content).__name__}")
        return content
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except SafetensorError as error:
        raise UserError(f"{file}: not a weights file: {error}") from None
