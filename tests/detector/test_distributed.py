"""Two processes on the CPU do what one does."""

from __future__ import annotations

import dataclasses
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from detector import runtime
from detector.cli import main
from detector.config import Config, config_to_yaml, load_config
from detector.data import load_annotations
from detector.engine.checkpoint import load_checkpoint
from detector.engine.train import train
from detector.errors import UsageError
from detector.model.backbone import build_backbone

CPU = torch.device("cpu")
REPOSITORY = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("ranks.py")
STEPS = 6


@pytest.fixture
def config_file(config: Config, tmp_path: Path) -> Path:
    """A network without batch normalisation, whose statistics each process has of its own images."""
    torch.manual_seed(0)
    weights = build_backbone(config.model).body.state_dict()
    torch.save({name: value for name, value in weights.items() if "num_batches" not in name}, tmp_path / "weights.pth")
    model = dataclasses.replace(config.model, norm="frozen", weights=str(tmp_path / "weights.pth"))
    settings = dataclasses.replace(config.train, iterations=STEPS, batch_size=4, log_every=1, eval_every=4)
    file = tmp_path / "tiny.yaml"
    file.write_text(config_to_yaml(dataclasses.replace(config, model=model, train=settings)), encoding="utf-8")
    return file


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *arguments]
    path = os.pathsep.join((str(REPOSITORY), os.environ.get("PYTHONPATH", "")))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    return subprocess.Popen(
        list(map(str, command)),
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def torchrun(*arguments: str | Path) -> str:
    run = start(*arguments)
    text, _ = run.communicate(timeout=120)
    assert run.returncode == 0, text
    assert "FutureWarning" not in text
    return text


def test_gradients_are_those_of_one_process_on_all_images(config_file: Path, tmp_path: Path) -> None:
    """Also where a process, or every one, has no boxes; and no process waits for another in vain."""
    torchrun(SCRIPT, config_file, tmp_path)
    found = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2)]
    alone = runpy.run_path(str(SCRIPT))
    config = load_config(config_file)
    for name in alone["VARIANTS"]:
        for split in alone["SPLITS"]:
            expected = alone["gradients"](alone["variant"](config, name), split, 1, 0)
            first, second = (results[f"{name}, {split}"] for results in found)
            assert first["positives"] + second["positives"] == expected["positives"]
            assert (second["positives"] == 0) == (split != "dense")
            for term, value in expected["losses"].items():
                assert (first["losses"][term] + second["losses"][term]) / 2 == pytest.approx(value, rel=1e-5, abs=1e-7)
            for parameter, gradient in expected["gradients"].items():
                assert gradient is not None, parameter
                scale = float(gradient.abs().max())
                for results in (first, second):
                    own = results["gradients"][parameter]
                    assert own is not None, parameter
                    torch.testing.assert_close(own, gradient, rtol=1e-4, atol=1e-5 * scale + 1e-9, msg=parameter)
    for results in found:
        assert results["rows"].tolist() == [[1.0] * 3] * 2
        assert results["no rows"].shape == (0, 3)
        assert results["lists"] == ["1: 0", "1: 1"]
        assert results["largest"] == 1


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_in_two_processes_stops_resumes_and_equals_one_in_one(config_file: Path, tmp_path: Path) -> None:
    config = load_config(config_file)
    alone = tmp_path / "alone"
    assert main(["train", "--config", str(config_file), "--out", str(alone)]) == 0
    out = tmp_path / "shared"
    options = ["-m", "detector", "train", "--config", config_file, "--out", out]
    run = start(*options, "--train.log-every", "1")
    while not (out / "metrics.jsonl").exists() or not rows_of(out):
        assert run.poll() is None, run.communicate()[0]
        time.sleep(0.01)
    run.send_signal(signal.SIGTERM)  # torchrun hands it on
    text, _ = run.communicate(timeout=60)
    assert run.returncode != 0
    step = load_checkpoint(out / "last.pt")["step"]
    assert f"stopped at step {step} of {STEPS}" in text
    assert rows_of(out)[-1]["step"] == step

    text = torchrun(*options, "--resume")
    assert text.count("trained in") == 1  # the other process is silent
    assert "steps of 4 images on cpu in 2 processes" in text
    for one, two in zip(rows_of(alone), rows_of(out), strict=True):
        for name in one.keys() - {"seconds_per_step", "data_share", "images_per_second"}:
            assert two[name] == pytest.approx(one[name], rel=1e-3, abs=1e-6), (one["step"], name)
    assert config == load_config(out / "config.yaml")


def test_evaluation_in_two_processes_is_that_of_one(config_file: Path, tmp_path: Path) -> None:
    config = load_config(config_file)
    short = dataclasses.replace(config, train=dataclasses.replace(config.train, iterations=1))
    train(short, load_annotations(config.data, "train"), tmp_path, CPU)
    options = [
        "--checkpoint",
        tmp_path / "last.pt",
        "--eval.batch-size",
        "3",  # 3 images for one process, 1 for the other
        "--postprocess.score-threshold",
        "0.005",
    ]
    assert main(["eval", *map(str, options), "--out", str(tmp_path / "alone")]) == 0
    assert main(["predict", *map(str, options), "--out", str(tmp_path / "drawn")]) == 0
    text = torchrun("-m", "detector", "eval", *options, "--out", tmp_path / "shared")
    assert text.count("inference") == 1  # the other process is silent
    torchrun("-m", "detector", "predict", *options, "--out", tmp_path / "drawn-shared")
    for one, two in (("alone", "shared"), ("drawn", "drawn-shared")):
        expected = json.loads((tmp_path / one / "detections.json").read_text())
        assert len(expected) > 10
        assert json.loads((tmp_path / two / "detections.json").read_text()) == expected
    names = sorted(file.name for file in (tmp_path / "drawn").glob("*.png"))
    assert sorted(file.name for file in (tmp_path / "drawn-shared").glob("*.png")) == names


def test_what_two_processes_can_not_share(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "world_size", lambda: 3)
    with pytest.raises(UsageError, match=r"train\.batch_size: expected a multiple of the 3 processes, got 4"):
        runtime.training_images(config)
    monkeypatch.setattr(runtime, "world_size", lambda: 17)
    wide = dataclasses.replace(config, train=dataclasses.replace(config.train, batch_size=17))
    with pytest.raises(UsageError, match=r"data\.train: expected an image for each of the 17 processes, got 16"):
        runtime.training_images(wide)
