"""The kept outputs of a frozen backbone: training by them is training without them, and each image is computed once."""

from __future__ import annotations

import dataclasses
import errno
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from detector.cli import main
from detector.config import Config, check_config, config_to_yaml
from detector.data import Annotations
from detector.data.loader import Batch, training_loader
from detector.engine.step import train_step
from detector.engine.train import build_model, new_state
from detector.errors import UsageError, UserError
from detector.model import Detector
from detector.model.feature_cache import _network_digest
from tests.detector_samples import CLASSES, CPU, changed


@pytest.fixture
def frozen(config: Config, tmp_path: Path) -> Config:
    """The tiny network on a backbone that does not train, its features kept in ``tmp_path / "kept"``."""
    return with_weights(config, tmp_path, seed=0)


def with_weights(config: Config, folder: Path, seed: int) -> Config:
    torch.manual_seed(seed)
    file = folder / f"weights{seed}.pth"
    torch.save(ResNet(BasicBlock, [1, 1, 1, 1]).state_dict(), file)
    model = {"weights": str(file), "norm": "frozen", "trainable_stages": 0, "feature_cache": str(folder / "kept")}
    return changed(config, {"model": model})


def without_cache(config: Config) -> Config:
    return changed(config, {"model": {"feature_cache": ""}})


def caching(config: Config) -> Detector:
    model = build_model(config, CLASSES, CPU)
    model.use_feature_cache()
    return model


def files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def trained(config: Config, annotations: Annotations, steps: int) -> tuple[list[Tensor], dict[str, Tensor]]:
    """The losses of each step, and the weights at the end."""
    state = new_state(config, CLASSES, CPU)
    state.model.use_feature_cache()
    state.model.train()
    losses = [
        torch.stack(list(train_step(state, batch)[0].values()))
        for batch in training_loader(config, annotations, 0, steps)
    ]
    return losses, state.model.state_dict()


@pytest.mark.parametrize("channels_last", [True, False])
def test_training_by_kept_features_is_training_without(
    frozen: Config, annotations: Annotations, channels_last: bool
) -> None:
    """Three epochs of drawn flips: images are met with and without a file. Every loss and weight has the same bits."""
    frozen = changed(frozen, {"train": {"channels_last": channels_last}})
    losses, weights = trained(without_cache(frozen), annotations, steps=12)
    for _ in ("files are written", "files are there"):
        kept_losses, kept_weights = trained(frozen, annotations, steps=12)
        assert all(torch.equal(kept, computed) for kept, computed in zip(kept_losses, losses, strict=True))
        assert all(torch.equal(kept_weights[name], weights[name]) for name in weights)


def test_the_backbone_runs_once_for_an_image(frozen: Config, batch: Batch) -> None:
    sizes: list[int] = []
    model, later = caching(frozen), caching(frozen)
    later.load_state_dict(model.state_dict())
    for network in (model, later):
        network.backbone.body.register_forward_pre_hook(lambda module, arguments: sizes.append(len(arguments[0])))
    first, both = model(batch.images[:2]), model(batch.images)
    again = later(batch.images)
    assert sizes == [2, 2]
    assert all(torch.equal(a, b[:2]) for a, b in zip(first.class_maps, both.class_maps, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(again.class_maps, both.class_maps, strict=True))


def test_what_changes_the_features_changes_the_name(frozen: Config, batch: Batch, tmp_path: Path) -> None:
    images = batch.images[:1]
    wider = torch.cat([images, images], dim=3)

    def count(config: Config, images: Tensor) -> int:
        caching(config)(images)
        return len(files(tmp_path / "kept"))

    assert count(frozen, images) == 1
    assert count(frozen, images.flip(3)) == 2
    assert count(frozen, wider) == 3
    assert count(frozen, wider.transpose(2, 3)) == 4
    assert count(changed(frozen, {"model": {"pixels": "caffe"}}), images) == 5
    assert count(with_weights(frozen, tmp_path, seed=1), images) == 6
    head = {"channels": 8, "head_convs": 0}  # learns from the same features
    assert count(changed(frozen, {"model": head, "train": {"seed": 3}}), images) == 6


def test_strides_and_layout_change_the_name() -> None:
    layers = (nn.Conv2d(1, 1, 3, stride=2), nn.Conv2d(1, 1, 3, stride=1))
    layers[1].load_state_dict(layers[0].state_dict())
    formats = (torch.contiguous_format, torch.channels_last)
    assert len({_network_digest(layer, (), form) for layer in layers for form in formats}) == 4


def test_a_file_appears_whole_or_not_at_all(
    frozen: Config, batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(source: Any, target: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", no_room)
        with pytest.raises(UserError, match=r"^model\.feature_cache: .*No space left on device"):
            caching(frozen)(batch.images)
    assert files(tmp_path / "kept") == []
    caching(frozen)(batch.images)
    assert len(files(tmp_path / "kept")) == len(batch.images)


def test_a_file_that_was_cut_is_told_of(frozen: Config, batch: Batch, tmp_path: Path) -> None:
    caching(frozen)(batch.images[:1])
    (file,) = files(tmp_path / "kept")
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(UserError, match=rf"^model\.feature_cache: .*{file.name} is too short; delete it$"):
        caching(frozen)(batch.images[:1])


@pytest.mark.parametrize(
    ("section", "name", "value", "message"),
    [
        ("model", "trainable_stages", 1, "model.trainable_stages: expected 0 with model.feature_cache, got 1"),
        ("model", "norm", "batch", "model.norm: expected frozen with model.feature_cache, got batch"),
        ("train", "amp", "bf16", "train.amp: expected fp32 with model.feature_cache, got bf16"),
        ("train", "compile", True, "train.compile: expected False with model.feature_cache, got True"),
    ],
)
def test_features_that_change_are_not_kept(frozen: Config, section: str, name: str, value: Any, message: str) -> None:
    check_config(frozen)
    with pytest.raises(UsageError) as caught:
        check_config(changed(frozen, {section: {name: value}}))
    assert str(caught.value) == message


def test_training_and_evaluation_keep_features_and_prediction_does_not(frozen: Config, tmp_path: Path) -> None:
    source, out = tmp_path / "run.yaml", tmp_path / "run"
    train = dataclasses.replace(frozen.train, iterations=4, ema=0.9, eval_every=4)
    source.write_text(config_to_yaml(dataclasses.replace(frozen, train=train)))
    assert main(["train", "--config", str(source), "--out", str(out)]) == 0
    kept = files(tmp_path / "kept")
    written = {file: file.stat().st_mtime_ns for file in kept}
    assert len(kept) == 16 + 4  # each image of both splits: an epoch is four steps

    assert main(["eval", "--checkpoint", str(out / "last.pt")]) == 0
    assert {file: file.stat().st_mtime_ns for file in files(tmp_path / "kept")} == written
    elsewhere = tmp_path / "elsewhere"
    options = ["--checkpoint", str(out / "last.pt"), "--model.feature-cache", str(elsewhere)]
    assert main(["predict", *options]) == 0
    assert not elsewhere.exists()
    assert main(["eval", *options]) == 0
    assert len(files(elsewhere)) == 4
    going_on = ["train", "--out", str(out), "--resume", "--train.iterations", "5", "--train.eval-every", "0"]
    assert main([*going_on, "--model.feature-cache", str(elsewhere)]) == 0
    assert len(files(elsewhere)) == 4 + 4
