"""Modulated deformable convolutions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from detector.config import ModelConfig
from detector.errors import UserError
from detector.model.backbone import build_backbone
from detector.model.deformable import ModulatedDeformConv2d


def test_a_deformable_convolution_begins_as_half_the_plain_one() -> None:
    """Offsets 0, weights sigmoid(0): the samples of the plain convolution, at half their size."""
    torch.manual_seed(0)
    plain = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=2, bias=False)
    expected = plain(image := torch.randn(2, 8, 10, 12)) / 2
    layer = ModulatedDeformConv2d(plain, deform_groups=4)
    torch.testing.assert_close(layer(image), expected)
    assert layer.weight is plain.weight
    assert set(layer.state_dict()) == {"weight", "sampling.weight", "sampling.bias"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_deformable_convolutions_are_float32_under_autocast(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = ModulatedDeformConv2d(nn.Conv2d(8, 8, 3, padding=1, bias=False), deform_groups=2)
    nn.init.normal_(layer.sampling.weight, std=0.2)
    image = torch.randn(1, 8, 6, 6).to(dtype)
    with torch.autocast("cpu", dtype):
        found = layer(image)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, layer(image.float()), rtol=0, atol=0)
    found.sum().backward()
    assert all(parameter.grad is not None and bool(parameter.grad.isfinite().all()) for parameter in layer.parameters())


def test_deformable_convolutions_take_the_weights_of_plain_ones(tmp_path: Path) -> None:
    import torchvision

    torch.save(torchvision.models.resnet50().state_dict(), tmp_path / "full.pth")
    weights = str(tmp_path / "full.pth")
    plain = build_backbone(ModelConfig(weights=weights)).body.state_dict()
    deformable = build_backbone(ModelConfig(weights=weights, deformable=True)).body.state_dict()
    for name, value in plain.items():
        assert torch.equal(deformable[name], value), name
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in set(deformable) - set(plain)} == {"sampling"}


def test_deformable_convolutions_that_can_not_be() -> None:
    with pytest.raises(UserError, match=r"model\.deformable: expected a backbone with bottlenecks, got resnet18"):
        build_backbone(ModelConfig(backbone="resnet18", weights="none", deformable=True))
    with pytest.raises(UserError, match=r"model\.deform_groups: expected a divisor of 128 channels, got 3"):
        build_backbone(ModelConfig(weights="none", deformable=True, deform_groups=3))
