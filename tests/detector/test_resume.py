"""Runs that are stopped, killed and gone on with."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import detector.engine.train as engine
from detector.cli import main
from detector.config import Config, OptimConfig, config_to_yaml
from detector.data import Annotations
from detector.engine.checkpoint import keep_checkpoint, load_checkpoint, save_checkpoint
from detector.engine.resume import Resumed
from detector.engine.train import train
from detector.errors import Stopped, UserError
from detector.signals import StopRequest

CPU = torch.device("cpu")
REPOSITORY = Path(__file__).parents[2]
STEPS = 12


@pytest.fixture
def run_config(config: Config) -> Config:
    """Twelve steps, a line for each, a checkpoint every third."""
    settings = dataclasses.replace(config.train, iterations=STEPS, batch_size=2, log_every=1, save_every=3)
    optim = OptimConfig(lr=0.01, warmup_iterations=4, decay_at=(0.7,))
    return dataclasses.replace(config, train=settings, optim=optim)


def changed(config: Config, **settings: Any) -> Config:
    return dataclasses.replace(config, train=dataclasses.replace(config.train, **settings))


def rows_of(folder: Path) -> list[dict[str, float]]:
    """The rows, without what the clock says."""
    timed = ("seconds_per_step", "data_share", "images_per_second")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in timed} for row in rows]


def assert_same_state(one: Any, other: Any, path: str = "") -> None:
    """Equal in every bit, whatever is nested."""
    assert type(one) is type(other), path
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    elif isinstance(one, dict):
        assert list(one) == list(other), path
        for name in one:
            assert_same_state(one[name], other[name], f"{path}.{name}")
    elif isinstance(one, list):
        assert len(one) == len(other), path
        for position, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same_state(a, b, f"{path}[{position}]")
    else:
        assert one == other, path


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], None]) -> None:
    """Do something in the middle of a step, counted from 1."""
    real, calls = engine.train_step, iter(range(1, 1000))

    def patched(*arguments: Any) -> Any:
        if next(calls) == step:
            act()
        return real(*arguments)

    monkeypatch.setattr(engine, "train_step", patched)


@pytest.mark.parametrize(
    ("settings", "saved"),
    [
        pytest.param({}, 6, id="plain"),
        pytest.param(
            {"ema": 0.9, "amp": "bf16", "eval_every": 3, "iterations": STEPS // 2},
            3,
            id="average and bf16 and evaluation",
        ),
    ],
)
def test_a_resumed_run_equals_the_unbroken_one(
    run_config: Config,
    annotations: Annotations,
    settings: dict[str, Any],
    saved: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It crashes one row after the checkpoint's step, so that the row has to be written again."""
    # torch's bfloat16 convolution on the CPU leaves the gradient of P7's weights undefined where P6 is one point.
    sides: dict[str, Any] = {"short_sides": (128,), "max_side": 128} if "amp" in settings else {}
    config = dataclasses.replace(changed(run_config, **settings), data=dataclasses.replace(run_config.data, **sides))

    @torch.no_grad()
    def validate(model: Any) -> dict[str, float]:
        return {"score": float(sum(parameter.double().sum() for parameter in model.parameters()))}

    train(config, annotations, tmp_path / "unbroken", CPU, validate=validate)

    class Crash(Exception):
        pass

    def crash() -> None:
        raise Crash

    with monkeypatch.context() as patch:
        at_step(patch, saved + 2, crash)
        with pytest.raises(Crash):
            train(config, annotations, tmp_path / "broken", CPU, validate=validate)
    file = tmp_path / "broken" / "last.pt"
    resumed = Resumed(file, load_checkpoint(file))
    assert resumed.content["step"] == saved
    assert [row["step"] for row in rows_of(tmp_path / "broken") if "loss" in row] == list(range(1, saved + 2))
    train(config, annotations, tmp_path / "broken", CPU, resumed, validate)

    assert rows_of(tmp_path / "broken") == rows_of(tmp_path / "unbroken")
    whole = load_checkpoint(tmp_path / "unbroken" / "last.pt")
    assert_same_state(load_checkpoint(file), whole)
    assert (whole["average"] is not None) == ("ema" in settings)


def start(config_file: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "detector", "train", "--config", str(config_file), "--out", str(out), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)


def wait_for_rows(run: subprocess.Popen[bytes], folder: Path, count: int) -> None:
    file = folder / "metrics.jsonl"
    while not file.exists() or file.read_bytes().count(b"\n") < count:
        assert run.poll() is None, "the run ended early"
        time.sleep(0.005)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_a_signal_ended_goes_on_bit_for_bit(
    run_config: Config, annotations: Annotations, tmp_path: Path, number: signal.Signals
) -> None:
    """With loader processes, which a scheduler signals too."""
    config = dataclasses.replace(run_config, data=dataclasses.replace(run_config.data, workers=2))
    file = tmp_path / "config.yaml"
    file.write_text(config_to_yaml(config), encoding="utf-8")
    train(run_config, annotations, tmp_path / "unbroken", CPU)

    out = tmp_path / "broken"
    run = start(file, out)
    rows = random.randrange(4, STEPS - 2)  # with the fourth row, the checkpoint of the third step is whole
    wait_for_rows(run, out, rows)
    os.killpg(run.pid, number)
    status = run.wait(60)
    assert status == (-signal.SIGKILL if number == signal.SIGKILL else 143)
    if number == signal.SIGTERM:  # nothing is lost
        assert load_checkpoint(out / "last.pt")["step"] == rows_of(out)[-1]["step"] < STEPS

    assert main(["train", "--resume", "--config", str(file), "--out", str(out)]) == 0, f"after {rows} rows"
    assert rows_of(out) == rows_of(tmp_path / "unbroken"), f"after {rows} rows"
    content, whole = load_checkpoint(out / "last.pt"), load_checkpoint(tmp_path / "unbroken" / "last.pt")
    assert_same_state({**content, "config": None}, {**whole, "config": None})


def _save_and_die(file: Path) -> None:
    def half(content: Any, stream: Any) -> None:
        stream.write(b"half of it")
        stream.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    torch.save = half
    save_checkpoint(file, step=2)


def test_a_kill_during_a_save_leaves_the_old_checkpoint(
    run_config: Config, annotations: Annotations, tmp_path: Path
) -> None:
    file = tmp_path / "last.pt"
    save_checkpoint(file, step=1)
    child = multiprocessing.get_context("fork").Process(target=_save_and_die, args=(file,))
    child.start()
    child.join(30)
    assert child.exitcode == -signal.SIGKILL
    assert load_checkpoint(file)["step"] == 1
    (leftover,) = (name for name in os.listdir(tmp_path) if name != "last.pt")
    assert leftover == f".last.pt.{child.pid}"
    train(changed(run_config, iterations=1), annotations, tmp_path, CPU)
    assert not (tmp_path / leftover).exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 143)])
def test_a_signal_lets_the_step_end_and_saves(
    run_config: Config,
    annotations: Annotations,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    status: int,
) -> None:
    before = signal.getsignal(number)
    at_step(monkeypatch, 2, lambda: os.kill(os.getpid(), number))
    with pytest.raises(Stopped, match="stopped at step 2 of 12; ") as stopped:
        train(run_config, annotations, tmp_path / "a b", CPU)
    assert stopped.value.status == status
    command = str(stopped.value).partition("; ")[2].removesuffix(" goes on")
    assert shlex.split(command) == ["train", "--resume", str(tmp_path / "a b" / "last.pt")]
    assert load_checkpoint(tmp_path / "a b" / "last.pt")["step"] == 2
    assert [row["step"] for row in rows_of(tmp_path / "a b")] == [1, 2]
    assert signal.getsignal(number) is before


def test_a_second_interrupt_stops_at_once() -> None:
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.exit_status() == 130
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_kept_checkpoints_and_the_best_survive_later_saves(
    run_config: Config, annotations: Annotations, tmp_path: Path
) -> None:
    scores = iter([0.3, 0.5, 0.4])
    config = changed(run_config, iterations=6, keep_every=4, eval_every=2, save_every=100)
    train(config, annotations, tmp_path, CPU, validate=lambda model: {"AP": next(scores)})
    steps = {file.name: load_checkpoint(file)["step"] for file in tmp_path.glob("*.pt")}
    assert steps == {"last.pt": 6, "step_4.pt": 4, "best.pt": 4}
    evaluations = [(row["step"], row["eval_AP"]) for row in rows_of(tmp_path) if "eval_AP" in row]
    assert evaluations == [(2, 0.3), (4, 0.5), (6, 0.4)]
    (tmp_path / "my_weights.pt").touch()
    train(changed(config, iterations=1, eval_every=0), annotations, tmp_path, CPU)  # a new run in the same folder
    assert sorted(file.name for file in tmp_path.glob("*.pt")) == ["last.pt", "my_weights.pt"]


def test_checkpoints_are_kept_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError

    monkeypatch.setattr(os, "link", refuse)
    save_checkpoint(tmp_path / "last.pt", step=1)
    keep_checkpoint(tmp_path / "last.pt", "step_1.pt")
    save_checkpoint(tmp_path / "last.pt", step=2)
    assert load_checkpoint(tmp_path / "step_1.pt")["step"] == 1
    assert sorted(os.listdir(tmp_path)) == ["last.pt", "step_1.pt"]


def run(capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    out, err = capfd.readouterr()
    return status, out, err


def test_what_may_change_in_a_resumed_run(
    run_config: Config, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "config.yaml", tmp_path / "run"
    file.write_text(config_to_yaml(changed(run_config, iterations=2)), encoding="utf-8")
    train_it = ("train", "--config", file, "--out", out)

    status, _, err = run(capfd, *train_it, "--resume")
    assert (status, err.count("\n")) == (1, 1)
    assert f"no checkpoint '{out / 'last.pt'}'" in err
    assert run(capfd, *train_it)[0] == 0

    for options, message in (
        ([], "holds a run already; choose another folder, or add --resume to go on"),
        (["--resume", "--overwrite"], "--resume and --overwrite: expected one of them"),
        (["--resume", "a.pt", "b.pt"], "--resume: expected one checkpoint, got a.pt b.pt"),
        (["--resume"], "is of a finished run: step 2 of 2; to train longer, raise --train.epochs"),
        (
            ["--resume", "--optim.lr", "0.5", "--train.iterations", "3"],
            "other options: optim.lr 0.01 -> 0.5; only train",
        ),
    ):
        status, _, err = run(capfd, *train_it, *options)
        assert (status, err.count("\n")) == (2, 1), err
        assert message in err

    status, text, err = run(capfd, "train", "--resume", out / "last.pt", "--train.iterations", "3")
    assert status == 0, err
    assert f"going on from {out / 'last.pt'}, step 2; changed: train.iterations 2 -> 3" in text
    assert load_checkpoint(out / "last.pt")["step"] == 3

    more = ["--data.synthetic.train-images", "17", "--train.iterations", "4"]
    status, _, err = run(capfd, *train_it, "--resume", *more)
    assert status == 2
    assert "data.synthetic.train_images 16 -> 17" in err
    content = load_checkpoint(out / "last.pt")
    save_checkpoint(out / "last.pt", **{**content, "data": "other"})
    status, _, err = run(capfd, *train_it, "--resume", "--train.iterations", "4")
    assert (status, err.count("\n")) == (1, 1)
    assert "the training images or their boxes are not those that the run began with" in err


def test_a_lengthened_run_says_that_its_rate_jumps(
    run_config: Config, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "config.yaml", tmp_path / "run"
    decayed = dataclasses.replace(run_config.optim, warmup_iterations=2, decay_at=(0.5,))
    file.write_text(config_to_yaml(dataclasses.replace(changed(run_config, iterations=4), optim=decayed)))
    assert run(capfd, "train", "--config", file, "--out", out)[0] == 0
    told = (
        "the schedule of the learning rate now spans 16 steps instead of 4: at step 5 the rate goes from 0.001 to 0.01"
    )
    longer = ("train", "--resume", out / "last.pt", "--train.iterations", "16")
    status, text, _ = run(capfd, *longer, "--dry-run")
    assert (status, told in text) == (0, True)
    status, text, _ = run(capfd, *longer)
    assert (status, told in text) == (0, True)
    rates = {row["step"]: row["lr"] for row in rows_of(out)}
    assert (rates[4], rates[5]) == pytest.approx((0.001, 0.01))
    # Where the rate stays, nothing is told: step 17 of 20 and of 24 are both after the decay.
    status, text, _ = run(capfd, "train", "--resume", out / "last.pt", "--train.iterations", "20", "--dry-run")
    assert status == 0
    assert "schedule" not in text


def test_a_checkpoint_without_a_state_can_not_be_resumed(
    run_config: Config, annotations: Annotations, tmp_path: Path
) -> None:
    train(changed(run_config, iterations=1), annotations, tmp_path, CPU)
    content = load_checkpoint(tmp_path / "last.pt")
    for wrong in ({"optimizer": {}}, {"model": {}}, {"optimizer": 3}):
        resumed = Resumed(tmp_path / "last.pt", {**content, **wrong})
        with pytest.raises(UserError, match=r"last\.pt: not a state of this run: "):
            train(run_config, annotations, tmp_path, CPU, resumed)
