"""scripts/gpu_check.py ends within its limit and keeps what it knows after every step."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from scripts.gpu_check import Check, Step

ROOT = Path(__file__).resolve().parents[2]


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def kept(folder: Path) -> dict[str, str]:
    return {step["name"]: step["verdict"] for step in json.loads((folder / "gpu_check.json").read_text())["steps"]}


def test_a_step_has_a_verdict_a_log_and_a_place_in_the_file(tmp_path: Path) -> None:
    check = Check(tmp_path, 60, {"device": "some GPU"})
    assert check.run("good", python("print('seen')"), 30)
    assert "seen" in (tmp_path / "good.log").read_text()
    assert check.passed()
    assert not check.run("bad", python("raise SystemExit(9)"), 30)
    assert kept(tmp_path) == {"good": "passed", "bad": "failed (exit 9)"}
    assert not check.passed()


def test_steps_share_the_limit(tmp_path: Path) -> None:
    check = Check(tmp_path, 1, {})
    started = time.monotonic()
    assert not check.run("long", python("import time; time.sleep(60)"), 30)
    assert not check.run("late", python(""), 30)
    assert time.monotonic() - started < 20
    assert kept(tmp_path)["long"].startswith("failed (over")
    assert kept(tmp_path)["late"] == "not run: no time left"


def test_a_step_that_is_not_run_has_not_passed(tmp_path: Path) -> None:
    check = Check(tmp_path, 60, {})
    check.add("memcheck", "not run: no compute-sanitizer")
    assert check.steps == [Step("memcheck", "not run: no compute-sanitizer", 0.0)]
    assert not check.passed()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_run(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "scripts/gpu_check.sh", str(tmp_path / "out")],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3
    assert "nothing was run" in done.stderr
    assert not (tmp_path / "out").exists()
