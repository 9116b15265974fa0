"""What fails after the steps costs no step: they are saved before the network is evaluated and drawn."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from detector import runtime
from detector.cli import main
from detector.config import Config, config_to_yaml, load_config
from detector.data import Annotations, load_annotations
from detector.engine.checkpoint import load_checkpoint
from detector.engine.resume import Resumed
from detector.engine.train import Validate, train
from detector.errors import UserError

CPU = torch.device("cpu")
STEPS = 6


@pytest.fixture
def run_config(config: Config) -> Config:
    """Six steps, an evaluation after each third."""
    settings = dataclasses.replace(config.train, iterations=STEPS, batch_size=2, log_every=1, eval_every=3)
    return dataclasses.replace(config, train=settings)


@torch.no_grad()
def validate(model: Any) -> dict[str, float]:
    """A figure that every weight has a part in."""
    return {"score": float(sum(parameter.double().sum() for parameter in model.parameters()))}


def failing_at(call: int, act: Callable[[], None]) -> Validate:
    """An evaluation that does something else instead when it is called for the given time."""
    calls = iter(range(1, 1000))

    def evaluate(model: Any) -> dict[str, float]:
        if next(calls) == call:
            act()
        return validate(model)

    return evaluate


def rows_of(folder: Path) -> list[dict[str, float]]:
    """The rows, without what the clock says."""
    timed = ("seconds_per_step", "data_share", "images_per_second")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in timed} for row in rows]


def assert_same_run(folder: Path, whole: Path) -> None:
    assert rows_of(folder) == rows_of(whole)
    one, other = load_checkpoint(folder / "last.pt"), load_checkpoint(whole / "last.pt")
    assert (one["step"], one["best"], one["evaluated_at"]) == (other["step"], other["best"], other["evaluated_at"])
    for name, value in one["model"].items():
        assert torch.equal(value, other["model"][name]), name
    assert load_checkpoint(folder / "best.pt")["step"] == load_checkpoint(whole / "best.pt")["step"]


def fail() -> None:
    raise RuntimeError("the figures went wrong\nin two lines")


@pytest.mark.parametrize("call", [1, 2], ids=["in the middle", "after the last step"])
def test_an_evaluation_that_fails_keeps_its_steps(
    run_config: Config, annotations: Annotations, tmp_path: Path, call: int
) -> None:
    train(run_config, annotations, tmp_path / "whole", CPU, validate=validate)
    out = tmp_path / "run"
    with pytest.raises(UserError) as failed:
        train(run_config, annotations, out, CPU, validate=failing_at(call, fail))
    assert str(failed.value) == (
        f"step {3 * call}: the evaluation failed: RuntimeError: the figures went wrong; no step is lost: "
        f"train --resume {out / 'last.pt'} begins with this evaluation"
    )
    assert load_checkpoint(out / "last.pt")["step"] == 3 * call
    train(run_config, annotations, out, CPU, Resumed(out / "last.pt", load_checkpoint(out / "last.pt")), validate)
    assert_same_run(out, tmp_path / "whole")


def train_and_be_killed(file: str, out: str) -> None:
    torch.set_num_threads(1)  # as in the tests' own process: sums over threads differ in the last bits
    config = load_config(Path(file))
    annotations = load_annotations(config.data, "train")
    train(config, annotations, Path(out), CPU, validate=failing_at(1, lambda: os.kill(os.getpid(), signal.SIGKILL)))


def test_a_kill_during_an_evaluation_keeps_its_steps(
    run_config: Config, annotations: Annotations, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    file = tmp_path / "run.yaml"
    file.write_text(config_to_yaml(run_config), encoding="utf-8")
    # A process of its own: autograd does not work in a fork of one that has used it.
    program = "import sys, test_lost_work; test_lost_work.train_and_be_killed(*sys.argv[1:])"
    paths = os.pathsep.join((str(Path(__file__).parent), *sys.path))
    command = [sys.executable, "-c", program, str(file), str(out)]
    child = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert load_checkpoint(out / "last.pt")["step"] == 3
    assert not (out / "best.pt").exists()
    train(run_config, annotations, out, CPU, Resumed(out / "last.pt", load_checkpoint(out / "last.pt")), validate)
    train(run_config, annotations, tmp_path / "whole", CPU, validate=validate)
    assert_same_run(out, tmp_path / "whole")


@pytest.fixture
def photos(run_config: Config, tmp_path: Path) -> list[str]:
    """The options of a training on four images, validated on four others."""
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        content: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "thing"}]}
        for number in range(4):
            Image.new("RGB", (64, 64), (60 * number, 80, 90)).save(tmp_path / split / f"{number}.png")
            content["images"].append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 64})
            content["annotations"].append(
                {"id": number, "image_id": number, "category_id": 1, "bbox": [8, 8, 30, 40], "area": 1200}
            )
        (tmp_path / f"{split}.json").write_text(json.dumps(content))
    (tmp_path / "tiny.yaml").write_text(config_to_yaml(run_config))
    options = ["--config", str(tmp_path / "tiny.yaml"), "--data.format", "coco", "--data.root", str(tmp_path)]
    for split in ("train", "val"):
        options += [f"--data.{split}.annotations", f"{split}.json", f"--data.{split}.images", split]
    return options


def damage(file: Path) -> bytes:
    """Leave the head of an image, and return what it was."""
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    return whole


def test_a_damaged_image_of_the_validation_is_mended_and_gone_on_with(
    photos: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run, file = tmp_path / "run", tmp_path / "val/2.png"
    whole = damage(file)
    assert main(["train", *photos, "--out", str(run)]) == 1
    err = capfd.readouterr().err
    assert f"error: step 3: the evaluation failed: {file}: not a readable image" in err
    assert err.count("\n") == 1
    assert load_checkpoint(run / "last.pt")["step"] == 3
    file.write_bytes(whole)
    assert main(["train", "--resume", str(run / "last.pt")]) == 0
    assert load_checkpoint(run / "last.pt")["step"] == STEPS
    assert [row["step"] for row in rows_of(run) if "eval_AP" in row] == [3, 6]


def test_a_finished_run_whose_evaluation_failed_is_evaluated(
    photos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(runtime, "score_detections", lambda *arguments: fail())
        assert main(["train", *photos, "--train.eval-every", "9", "--out", str(run)]) == 1
    assert load_checkpoint(run / "last.pt")["step"] == STEPS
    assert not (run / "best.pt").exists()
    assert main(["train", "--resume", str(run / "last.pt")]) == 0
    assert load_checkpoint(run / "best.pt")["step"] == STEPS
    capfd.readouterr()
    assert main(["train", "--resume", str(run / "last.pt")]) == 2  # now nothing is left to do
    assert "is of a finished run" in capfd.readouterr().err


def test_detections_are_written_before_they_are_scored_and_drawn(
    photos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    assert main(["train", *photos, "--train.eval-every", "0", "--out", str(run)]) == 0
    evaluated = ["--checkpoint", str(run / "last.pt"), "--postprocess.score-threshold", "0.001"]
    monkeypatch.setattr("detector.evaluation.score.evaluate", lambda *arguments: fail())
    with pytest.raises(RuntimeError, match="the figures went wrong"):
        main(["eval", *evaluated, "--out", str(tmp_path / "scored")])
    monkeypatch.setattr("detector.visualise.detections.draw_detections", lambda *arguments, **options: fail())
    with pytest.raises(RuntimeError, match="the figures went wrong"):
        main(["predict", *evaluated, "--out", str(tmp_path / "drawn")])
    for folder in ("scored", "drawn"):
        assert json.loads((tmp_path / folder / "detections.json").read_text())


def test_a_picture_that_fails_does_not_end_the_run(
    photos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("detector.visualise.detections.draw_targets", lambda *arguments: fail())
    run = tmp_path / "run"
    assert main(["train", *photos, "--train.iterations", "2", "--train.eval-every", "0", "--out", str(run)]) == 0
    assert load_checkpoint(run / "last.pt")["step"] == 2
    expected = f"{run / 'first_batch.png'}: can not be drawn: RuntimeError: the figures went wrong\n"
    assert expected in capfd.readouterr().err


@pytest.mark.parametrize("settings", [[], ["--train.channels-last"], ["--train.ema", "0.5"]], ids=str)
def test_the_figures_of_a_run_are_those_of_eval(photos: list[str], tmp_path: Path, settings: list[str]) -> None:
    """In every bit: of the last step and of the best one."""
    run = tmp_path / "run"
    low = ["--postprocess.score-threshold", "0.001", "--optim.lr", "0.01"]
    assert main(["train", *photos, *settings, *low, "--out", str(run)]) == 0
    rows = {row["step"]: row for row in rows_of(run) if "eval_AP" in row}
    for name in ("last.pt", "best.pt"):
        assert main(["eval", "--checkpoint", str(run / name), "--out", str(tmp_path / name)]) == 0
        stats = json.loads((tmp_path / name / "eval.json").read_text())["stats"]
        row = rows[load_checkpoint(run / name)["step"]]
        assert {f"eval_{figure}": value for figure, value in stats.items()} == {
            figure: value for figure, value in row.items() if figure != "step"
        }
    assert max(row["eval_AP"] for row in rows.values()) > 0
