"""Schedule, checkpoints, progress and the training loop."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from detector.config import Config, OptimConfig, config_to_dict
from detector.data import Annotations
from detector.data.loader import Batch
from detector.engine.checkpoint import (
    checkpoint_config,
    load_checkpoint,
    restore_detector,
    save_checkpoint,
    training_state,
)
from detector.engine.progress import Progress
from detector.engine.schedule import learning_rate
from detector.engine.train import build_model, build_optimizer, total_steps, train, train_step
from detector.errors import UserError

CPU = torch.device("cpu")
CLASSES = 5


def test_linear_warmup_and_steps() -> None:
    config = OptimConfig(lr=1.0, warmup_iterations=10, warmup_factor=0.2, decay_at=(0.5, 0.8), decay_factor=0.1)
    rates = [learning_rate(step, 100, config) for step in (0, 5, 10, 49, 50, 79, 80, 99)]
    assert rates == pytest.approx([0.2, 0.6, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01])


def test_constant_warmup_and_the_epochs_of_the_paper() -> None:
    config = OptimConfig(
        lr=0.01, warmup="constant", warmup_iterations=500, warmup_factor=1 / 3, decay_at=(0.6666667, 0.8333333)
    )
    per_epoch = 1034
    total = 12 * per_epoch
    assert learning_rate(499, total, config) == pytest.approx(0.01 / 3)
    assert learning_rate(500, total, config) == 0.01
    changes = [
        step
        for step in range(501, total)
        if learning_rate(step, total, config) != learning_rate(step - 1, total, config)
    ]
    assert changes == [8 * per_epoch, 10 * per_epoch]


def test_length_in_epochs_or_iterations(config: Config) -> None:
    assert total_steps(config, images=16) == 8
    by_epochs = dataclasses.replace(config, train=dataclasses.replace(config.train, iterations=None, epochs=3))
    assert total_steps(by_epochs, images=18) == 12


def test_checkpoint_round_trip(config: Config, annotations: Annotations, batch: Batch, tmp_path: Path) -> None:
    model = build_model(config, CLASSES, CPU)
    optimizer = build_optimizer(model, config)
    train_step(model, optimizer, batch)
    file = tmp_path / "last.pt"
    save_checkpoint(file, **training_state(model, optimizer, 1, annotations))

    assert torch.load(file, weights_only=True)["step"] == 1  # no code runs on loading
    content = load_checkpoint(file)
    assert checkpoint_config(content, file) == config
    assert content["class_names"] == list(annotations.class_names)
    restored = restore_detector(content, config, file)
    for name, value in model.state_dict().items():
        assert torch.equal(value, restored.state_dict()[name]), name
    again = build_optimizer(restored, config)
    again.load_state_dict(content["optimizer"])
    train_step(model, optimizer, batch)
    train_step(restored.train(), again, batch)
    for one, two in zip(model.parameters(), restored.parameters(), strict=True):
        assert torch.equal(one, two)


def test_an_interrupted_save_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "last.pt"
    save_checkpoint(file, step=1)

    def interrupted(content: Any, stream: Any) -> None:
        stream.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(file, step=2)
    assert load_checkpoint(file)["step"] == 1
    assert os.listdir(tmp_path) == ["last.pt"]


def test_files_that_are_no_checkpoint(config: Config, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no checkpoint '.*nowhere\.pt'"):
        load_checkpoint(tmp_path / "nowhere.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(UserError, match=r"text\.pt: not a checkpoint") as caught:
        load_checkpoint(tmp_path / "text.pt")
    assert "\n" not in str(caught.value)
    torch.save({"weights": 1}, tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"other\.pt: not a checkpoint of this detector"):
        load_checkpoint(tmp_path / "other.pt")
    content = {"class_names": ["a"], "model": {}}
    with pytest.raises(UserError, match=r"the weights are not those of the network that --model"):
        restore_detector(content, config, tmp_path / "other.pt")


def test_training_lowers_the_loss_and_writes_its_files(
    config: Config, annotations: Annotations, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    longer = dataclasses.replace(
        config, train=dataclasses.replace(config.train, iterations=24, log_every=6, save_every=10)
    )
    train(longer, annotations, tmp_path, CPU)

    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [6, 10, 12, 18, 20, 24]
    assert rows[-1]["loss"] < 0.75 * rows[0]["loss"]
    assert rows[0]["num_pos"] > 0
    assert 0 <= rows[0]["boxes_without_positive"] < 0.5
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == config_to_dict(longer)
    assert load_checkpoint(tmp_path / "last.pt")["step"] == 24
    assert (tmp_path / "first_batch.png").stat().st_size > 0

    out, err = capfd.readouterr()
    assert "\r" not in out + err
    assert re.search(r"step 24/24  loss \d.*  eta 0:00:00", out)


def test_the_same_seed_trains_the_same_weights(config: Config, annotations: Annotations, tmp_path: Path) -> None:
    short = dataclasses.replace(config, train=dataclasses.replace(config.train, iterations=2))
    models = [train(short, annotations, tmp_path / name, CPU) for name in ("a", "b")]
    for one, two in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(one, two)


def test_a_loss_that_is_not_finite_names_step_and_files(
    config: Config, annotations: Annotations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import detector.engine.train as engine

    real = engine.train_step
    steps = iter(range(100))

    def broken(*arguments: Any) -> Any:
        losses, assignment, norm = real(*arguments)
        if next(steps) == 2:
            losses["class"] = losses["class"] * float("nan")
        return losses, assignment, norm

    monkeypatch.setattr(engine, "train_step", broken)
    with pytest.raises(UserError, match=r"step 3: the loss is not finite \(class nan.*images: .*\.png") as caught:
        train(config, annotations, tmp_path, CPU)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "last.pt").exists()


def test_progress_in_a_log_has_the_time_left(capfd: pytest.CaptureFixture[str]) -> None:
    progress = Progress(total=4)
    progress.line("nothing yet")
    progress.advance()
    progress.started -= 10
    progress.line("one of four")
    progress.close()
    out, err = capfd.readouterr()
    assert out.splitlines() == ["nothing yet  eta ?", "one of four  eta 0:00:30"]
    assert err == ""
