"""Checkpoints, figures, progress and the training loop."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from detector.cli import main
from detector.commands.train import TrainArguments, run
from detector.config import Config, config_to_dict, config_to_yaml
from detector.data import Annotations
from detector.data.loader import Batch, training_loader
from detector.engine.checkpoint import (
    TrainingState,
    checkpoint_config,
    load_checkpoint,
    restore_detector,
    save_checkpoint,
)
from detector.engine.log import LogWindow, MetricsFile, boxes_by_level, summary_writer
from detector.engine.optim import build_average, build_optimizer, total_steps, update_average
from detector.engine.precision import deterministic_algorithms
from detector.engine.step import forward, train_step
from detector.engine.train import build_model, build_network, new_state, train
from detector.errors import UsageError, UserError
from detector.model.normalisation import check_normalisation
from detector.progress import Progress
from pseudo_iou_ops import Assignment

CPU = torch.device("cpu")
CLASSES = 5


def test_length_in_epochs_or_iterations(config: Config) -> None:
    assert total_steps(config, images=16) == 8
    by_epochs = dataclasses.replace(config, train=dataclasses.replace(config.train, iterations=None, epochs=3))
    assert total_steps(by_epochs, images=18) == 12


def test_checkpoint_round_trip(config: Config, annotations: Annotations, batch: Batch, tmp_path: Path) -> None:
    state = new_state(config, CLASSES, CPU)
    train_step(state, batch)
    file = tmp_path / "last.pt"
    save_checkpoint(file, **state.content(annotations))

    assert torch.load(file, weights_only=True)["step"] == 1  # no code runs on loading
    content = load_checkpoint(file)
    assert checkpoint_config(content, file) == config
    assert content["class_names"] == list(annotations.class_names)
    restored = restore_detector(content, config, file)
    for name, value in state.model.state_dict().items():
        assert torch.equal(value, restored.state_dict()[name]), name
    again = TrainingState(restored.train(), build_optimizer(restored))
    again.restore(content, file)
    train_step(state, batch)
    train_step(again, batch)
    assert again.step == state.step == 2
    for one, two in zip(state.model.parameters(), restored.parameters(), strict=True):
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
    (tmp_path / "empty.pt").touch()
    Image.new("L", (5, 5)).save(tmp_path / "gray.png")
    torch.save(torch.nn.Linear(1, 1), tmp_path / "module.pt")
    for name in ("text.pt", "empty.pt", "gray.png", "module.pt"):
        with pytest.raises(UserError, match=f"{name}: not a checkpoint") as caught:
            load_checkpoint(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert "weights_only" not in str(caught.value)  # torch's advice: to run the code in the file
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
    shown: list[Batch] = []
    train(longer, annotations, tmp_path, CPU, show_batch=shown.append)

    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [6, 10, 12, 18, 20, 24]
    assert rows[-1]["loss"] < 0.75 * rows[0]["loss"]
    assert rows[0]["num_pos"] > 0
    assert 0 <= rows[0]["boxes_without_positive"] < 0.5
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == config_to_dict(longer)
    assert load_checkpoint(tmp_path / "last.pt")["step"] == 24
    assert [len(batch.images) for batch in shown] == [4]

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
    kept = load_checkpoint(tmp_path / "nan.pt")
    batch = list(training_loader(config, annotations, 0, 3))[-1]
    assert kept["step"] == 3
    assert math.isnan(kept["losses"]["class"])
    assert torch.equal(kept["images"], batch.images)
    assert torch.equal(kept["targets"]["boxes"], batch.targets.boxes)
    assert all(file in str(caught.value) for file in batch.files)


def test_running_out_of_memory_says_with_what(
    config: Config, annotations: Annotations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import detector.engine.train as engine

    def full(*arguments: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")

    monkeypatch.setattr(engine, "train_step", full)
    with pytest.raises(UserError, match=r"step 1: out of memory on cpu with 4 images, padded to 64x64, and \d+ boxes"):
        train(config, annotations, tmp_path, CPU)


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


def test_boxes_are_counted_by_the_level_they_belong_to() -> None:
    sides = torch.tensor([[128.0, 9.0], [9.0, 129.0], [300.0, 300.0], [600.0, 1.0], [1024.0, 9.0], [1025.0, 9.0]])
    boxes = torch.cat((torch.full((6, 2), 7.0), 7 + sides), dim=1)
    counts, unmatched = boxes_by_level(boxes, torch.tensor([0, 3, 0, 0, 1, 0]))
    assert counts.tolist() == [1, 1, 1, 2, 1]
    assert unmatched.tolist() == [1, 0, 1, 1, 1]
    assert [count.tolist() for count in boxes_by_level(torch.zeros(0, 4), torch.zeros(0))] == [[0] * 5] * 2


def test_the_share_of_boxes_without_a_positive_is_logged_per_level(batch: Batch) -> None:
    window = LogWindow()
    boxes = torch.tensor([[0.0, 0.0, 50.0, 50.0], [0.0, 0.0, 200.0, 9.0], [0.0, 0.0, 200.0, 9.0]])
    targets = dataclasses.replace(batch.targets, boxes=boxes)
    assignment = Assignment(*[torch.zeros(1)] * 5, num_pos=torch.tensor([3, 4]), pos_per_box=torch.tensor([7, 0, 1]))
    losses = {"class": torch.tensor(1.0), "box": torch.tensor(2.0)}
    for norm in (3.0, 5.0):
        window.add(losses, assignment, torch.tensor(norm), dataclasses.replace(batch, targets=targets))
    row = window.close(step=2)
    assert isinstance(row, dict)
    assert (row["loss"], row["loss_box"], row["grad_norm"], row["num_pos"]) == (3, 2, 4, 7)
    assert row["boxes_without_positive"] == pytest.approx(1 / 3)
    shares = {name: value for name, value in row.items() if name.startswith("boxes_without_positive_")}
    assert shares == {"boxes_without_positive_p3": 0, "boxes_without_positive_p4": 0.5}


def changed(config: Config, **settings: Any) -> Config:
    return dataclasses.replace(config, train=dataclasses.replace(config.train, **settings))


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_half_precision_ends_at_the_predictions(config: Config, batch: Batch, amp: str) -> None:
    config = changed(config, amp=amp)
    state = new_state(config, CLASSES, CPU)
    seen = {}
    state.model.head.class_output.register_forward_hook(lambda *call: seen.update(network=call[2].dtype))
    losses, assignment = forward(state.model, batch)
    assert seen["network"] == {"bf16": torch.bfloat16, "fp16": torch.float16}[amp]
    assert assignment.ltrb.dtype == torch.float32
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    expected, _ = forward(new_state(changed(config, amp="fp32"), CLASSES, CPU).model, batch)
    for name, loss in losses.items():
        assert float(loss.detach()) == pytest.approx(float(expected[name].detach()), rel=0.05)


def test_a_gradient_that_overflows_in_fp16_is_skipped_and_counted(config: Config, batch: Batch) -> None:
    state = new_state(changed(config, amp="fp16"), CLASSES, CPU)
    window = LogWindow(overflow_is_skipped=state.scaler.is_enabled())
    before = {name: value.clone() for name, value in state.model.named_parameters()}
    state.scaler.load_state_dict({**state.scaler.state_dict(), "scale": 2.0**40})
    result = train_step(state, batch)
    window.add(*result, batch)
    assert not bool(result[2].isfinite())
    for name, value in state.model.named_parameters():
        assert torch.equal(value, before[name]), name
    state.scaler.load_state_dict({**state.scaler.state_dict(), "scale": 16.0})
    result = train_step(state, batch)
    window.add(*result, batch)
    row = window.close(step=2)
    assert isinstance(row, dict)
    assert row["skipped_steps"] == 1
    assert row["grad_norm"] == pytest.approx(float(result[2]))


def test_the_average_of_the_weights_follows_them_and_is_what_is_restored(
    config: Config, annotations: Annotations, tmp_path: Path
) -> None:
    trained = train(changed(config, iterations=3, ema=0.99), annotations, tmp_path, CPU)
    content = load_checkpoint(tmp_path / "last.pt")
    name = "head.class_output.weight"
    assert not torch.equal(content["average"][name], content["model"][name])
    restored = restore_detector(content, config, tmp_path / "last.pt").state_dict()
    assert torch.equal(restored[name], content["average"][name])
    assert torch.equal(trained.state_dict()[name], content["average"][name])

    model = build_model(changed(config, ema=0.99), CLASSES, CPU)
    average = build_average(model)
    assert average is not None
    weights = [model.head.scales.data.fill_(float(step)).clone() for step in range(1, 4)]
    expected = weights[0]
    for step, value in enumerate(weights):
        model.head.scales.data.copy_(value)
        update_average(average, model, step)
        if step:
            decay = (1 + step) / (10 + step)
            expected = decay * expected + (1 - decay) * value
    torch.testing.assert_close(average.module.head.scales, torch.nn.Parameter(expected))


def test_the_compiled_network_gives_the_same_losses(
    config: Config, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, compiled = torch.compile, []

    def without_code_generation(*arguments: Any, **options: Any) -> Any:
        compiled.append(options)
        return real(*arguments, backend="eager", **options)

    monkeypatch.setattr(torch, "compile", without_code_generation)
    state = new_state(changed(config, compile=True), CLASSES, CPU)
    eager, _ = forward(state.model, batch)
    network = build_network(state.model)
    assert compiled == [{"dynamic": True}]
    losses, _ = forward(state.model, batch, network)
    for name, loss in losses.items():
        torch.testing.assert_close(loss, eager[name], rtol=1e-4, atol=1e-5)


def test_deterministic_algorithms_are_on_for_the_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with deterministic_algorithms(True):
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.are_deterministic_algorithms_enabled()
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    with deterministic_algorithms(False):
        assert not torch.are_deterministic_algorithms_enabled()


def test_tensorboard_gets_the_rows(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    metrics = MetricsFile(tmp_path, tensorboard=True)
    metrics.write({"step": 3, "loss": 1.5})
    metrics.close()
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(3, 1.5)]


def test_tensorboard_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match=r"train\.tensorboard: the package tensorboard is not installed"):
        summary_writer()


def test_a_dry_run_tells_all_and_writes_nothing(
    config: Config, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    optim = dataclasses.replace(config.optim, warmup_iterations=4, decay_at=(0.75,))
    config = dataclasses.replace(config, optim=optim)
    run(TrainArguments(out=tmp_path / "run", dry_run=True, settings=config))
    out, _ = capfd.readouterr()
    assert not (tmp_path / "run").exists()
    for pattern in (
        r"batch_size: 4",
        r"data: 16 images, \d+ without boxes; \d+ boxes, 0 crowd or difficult, at most 3 in an image; 4 steps an epoch",
        r"parameters: [\d,]+ trained, 0 frozen",
        r"learning rate: 0.0001 from step 0, 0.00055 from step 2, 0.001 from step 4, 0.0001 from step 6, 0.0001 from",
        r"first batch: 4 images padded to 64x64, \d+ boxes",
        r"assignment: \d+ positive points, \d+ of \d+ boxes without one",
        r"loss after one update: \d\.\d+, gradient norm \d",
        r"memory: \d\.\d+ GiB",
        r"time: \d+\.\d+ s a step, \d+\.\d+ s to load the images of one; 0 h 00 min for 8 steps",
        r"nothing was written",
    ):
        assert re.search(pattern, out), pattern


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        ({}, (1, 3, 32, 32), "batch normalisation of 1 image padded to 32x32 has a single value"),
        ({"norm_groups": 16}, (1, 3, 128, 96), "16 groups of 16 channels have a single value on P7"),
        ({"norm_groups": 16}, (2, 3, 128, 96), None),
        ({"norm_groups": 16}, (1, 3, 128, 160), None),
        ({}, (1, 3, 32, 64), None),
        ({}, (2, 3, 32, 32), None),
    ],
)
def test_what_is_too_small_to_normalise_is_refused_where_torch_does(
    config: Config, model: dict[str, Any], shape: tuple[int, ...], message: str | None
) -> None:
    network = build_model(
        dataclasses.replace(config, model=dataclasses.replace(config.model, **model)), CLASSES, CPU
    ).train()
    images = torch.zeros(shape, dtype=torch.uint8)
    if message is None:
        check_normalisation(network.config.model, shape, is_training=True)
        network(images)
        return
    with pytest.raises(UserError, match=message):
        check_normalisation(network.config.model, shape, is_training=True)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        network(images)
    if model:  # group normalisation is the same in an evaluation
        with pytest.raises(UserError, match=message):
            check_normalisation(network.config.model, shape, is_training=False)
    else:
        check_normalisation(network.config.model, shape, is_training=False)
        network.eval()(images)


@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["train", "dry run"])
def test_one_small_image_is_told_in_one_line(
    config: Config, tmp_path: Path, more: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.yaml").write_text(config_to_yaml(config))
    sizes = ["--data.synthetic.size", "32", "--data.short-sides", "32", "--data.root", str(tmp_path / "drawn")]
    options = ["--config", str(tmp_path / "tiny.yaml"), "--train.batch-size", "1", *sizes]
    assert main(["train", *options, *more, "--out", str(tmp_path / "run")]) == 1
    err = capfd.readouterr().err
    assert "error: model.norm: batch normalisation of 1 image padded to 32x32" in err
    assert "raise --train.batch-size or --data.short-sides, or set --model.norm frozen" in err
    assert err.count("\n") == 1


def test_a_checkpoint_that_can_not_be_written_is_told_by_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(content: Any, stream: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match=r"last\.pt: can not be written: OSError: \[Errno 28\] No space left on device"):
        save_checkpoint(tmp_path / "last.pt", step=1)
    with pytest.raises(UserError, match=r"nowhere/last\.pt: can not be written: FileNotFoundError"):
        save_checkpoint(tmp_path / "nowhere/last.pt", step=1)
    assert os.listdir(tmp_path) == []
