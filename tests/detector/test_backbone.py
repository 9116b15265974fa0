"""The backbone: its stages, its shapes and its weights."""

from __future__ import annotations

import hashlib
import io
import math
import re
import types
from pathlib import Path

import pytest
import torch
import torchvision
from torch._subclasses import FakeTensorMode
from torchvision.models.resnet import BasicBlock

from detector.config import Backbone, ModelConfig
from detector.errors import UserError
from detector.model.backbone import build_backbone
from detector.model.deformable import ModulatedDeformConv2d


@pytest.mark.parametrize("stages", [0, 3, 5])
def test_frozen_stages(stages: int) -> None:
    backbone = build_backbone(ModelConfig(backbone="resnet18", weights="none", trainable_stages=stages))
    trained = {name.split(".")[0] for name, p in backbone.body.named_parameters() if p.requires_grad}
    assert trained == set(("layer4", "layer3", "layer2", "layer1", "conv1")[:stages])


def test_resnet10_has_one_block_a_stage() -> None:
    backbone = build_backbone(ModelConfig(backbone="resnet10", weights="none", norm="batch", trainable_stages=5))
    blocks = [name for name, module in backbone.body.named_modules() if isinstance(module, BasicBlock)]
    assert blocks == ["layer1.0", "layer2.0", "layer3.0", "layer4.0"]
    shapes = [tuple(feature.shape[-2:]) for feature in backbone(torch.zeros(1, 3, 96, 64)).values()]
    assert shapes == [(12, 8), (6, 4), (3, 2), (2, 1), (1, 1)]
    with pytest.raises(UserError, match=r"model\.weights: torchvision has none of resnet10"):
        build_backbone(ModelConfig(backbone="resnet10", weights="imagenet"))


@pytest.mark.parametrize("name", ["resnet50", "resnet101", "resnext101_32x8d", "resnext101_64x4d"])
@pytest.mark.parametrize("deformable", [False, True], ids=["plain", "deformable"])
def test_the_papers_backbones(name: Backbone, deformable: bool) -> None:
    config = ModelConfig(backbone=name, weights="none", deformable=deformable)
    with FakeTensorMode():  # the large ones without their memory
        backbone = build_backbone(config, load_weights=False)
        shapes = [tuple(feature.shape) for feature in backbone(torch.zeros(1, 3, 160, 224)).values()]
    assert shapes == [(1, 256, 20, 28), (1, 256, 10, 14), (1, 256, 5, 7), (1, 256, 3, 4), (1, 256, 2, 2)]
    layers = [key for key, module in backbone.named_modules() if isinstance(module, ModulatedDeformConv2d)]
    if not deformable:
        assert layers == []
        return
    assert {layer.split(".")[1] for layer in layers} == {"layer2", "layer3", "layer4"}
    blocks = [key for key, _ in backbone.named_modules() if re.fullmatch(r"body\.layer[234]\.\d+", key)]
    assert len(layers) == len(blocks)
    first = backbone.get_submodule(layers[0])
    assert first.sampling.out_channels == 4 * 9 * 3  # of 4 groups and 9 samples: x, y and weight


def test_stride_in_1x1() -> None:
    body = build_backbone(ModelConfig(backbone="resnet50", weights="none", stride_in_1x1=True)).body
    assert [body[name][0].conv1.stride for name in ("layer2", "layer3", "layer4")] == [(2, 2)] * 3
    assert [body[name][0].conv2.stride for name in ("layer2", "layer3", "layer4")] == [(1, 1)] * 3
    with pytest.raises(UserError, match=r"model\.stride_in_1x1: expected a backbone with bottlenecks, got resnet18"):
        build_backbone(ModelConfig(backbone="resnet18", weights="none", stride_in_1x1=True))


def test_weights_from_a_file(tmp_path: Path) -> None:
    import torchvision
    from safetensors.torch import save_file

    weights = torchvision.models.resnet18().state_dict()
    body = {name: value.half() for name, value in weights.items() if "num_batches" not in name and "fc." not in name}
    save_file(body, tmp_path / "half.safetensors")
    torch.save(weights, tmp_path / "full.pth")
    for name in ("half.safetensors", "full.pth"):
        config = ModelConfig(backbone="resnet18", weights=str(tmp_path / name))
        loaded = build_backbone(config).body.state_dict()
        torch.testing.assert_close(loaded["conv1.weight"], weights["conv1.weight"], rtol=1e-3, atol=1e-4)
        assert loaded["conv1.weight"].dtype == torch.float32


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other\.pth: not weights of resnet18: \d+ tensors missing"):
        build_backbone(ModelConfig(backbone="resnet18", weights=str(tmp_path / "other.pth")))
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(UserError, match=r"text\.pth: not a weights file"):
        build_backbone(ModelConfig(backbone="resnet18", weights=str(tmp_path / "text.pth")))
    for name, content in (("list.pth", [1]), ("cut.safetensors", None)):
        torch.save(content, tmp_path / name)
        with pytest.raises(UserError, match=f"{name}: not a weights file"):
            build_backbone(ModelConfig(backbone="resnet18", weights=str(tmp_path / name)))
    with pytest.raises(UserError, match=r"model\.weights: no file 'nowhere\.pth'"):
        build_backbone(ModelConfig(backbone="resnet18", weights="nowhere.pth"))


def test_imagenet_weights_are_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From torchvision's address into torch's cache, and held to the digest in the name."""
    content = io.BytesIO()
    torch.save(torchvision.models.resnet18().state_dict(), content)
    served = tmp_path / f"resnet18-{hashlib.sha256(content.getvalue()).hexdigest()[:8]}.pth"
    served.write_bytes(content.getvalue())
    wrong = tmp_path / "resnet18-00000000.pth"
    wrong.write_bytes(content.getvalue())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    config = ModelConfig(backbone="resnet18", weights="imagenet")

    def serve(url: str) -> None:
        weights = {"IMAGENET1K_V1": types.SimpleNamespace(url=url)}
        monkeypatch.setattr(torchvision.models, "get_model_weights", lambda name: weights)

    serve(served.as_uri())
    build_backbone(config)
    served.unlink()
    build_backbone(config)
    serve(wrong.as_uri())
    with pytest.raises(UserError, match=r"00000000\.pth can not be downloaded: invalid hash value"):
        build_backbone(config)
    serve((tmp_path / "missing-f37072fd.pth").as_uri())
    message = (
        r"model\.weights: file://\S+ can not be downloaded: .*; put it into .*checkpoints \(its sha256 begins with f370"
    )
    with pytest.raises(UserError, match=message):
        build_backbone(config)


def test_a_map_of_one_cell_has_gradients_in_bfloat16() -> None:
    """torch's own of P7's weights reads memory that nobody wrote: here, what was filled with NaN before."""
    net = build_backbone(
        ModelConfig(backbone="resnet10", weights="none", norm="batch", trainable_stages=5, channels=16)
    )
    for _ in range(5):
        with torch.autocast("cpu", torch.bfloat16):
            maps = net(torch.rand(4, 3, 64, 64))
        assert maps["p7"].shape[2:] == (1, 1)
        assert maps["p7"].dtype == torch.float32  # on any processor, also on one where the memory is not read
        net.zero_grad()
        freed = [torch.full((1 << 18,), math.nan) for _ in range(4)]
        del freed
        torch.stack([level.float().sum() for level in maps.values()]).sum().backward()
        assert all(bool(weight.grad.isfinite().all()) for weight in net.parameters() if weight.grad is not None)
