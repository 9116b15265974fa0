"""The fuzz target of the packed boxes: it builds, passes on random inputs, and notices planted faults."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from fuzzing import packed_boxes

ROOT = Path(__file__).resolve().parents[2]
COMPILER = os.environ.get("CXX", "g++")


def run(program: Path, inputs: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, str(inputs), "1"], capture_output=True, text=True)


def test_random_inputs(tmp_path: Path) -> None:
    packed_boxes.build_for_random_inputs(COMPILER, tmp_path / "target")
    done = run(tmp_path / "target", 2000)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("header", "right", "wrong", "message"),
    [
        ("core/assign_params.h", "clamp(offsets[image], 0, num_boxes)", "offsets[image]", "AddressSanitizer"),
        ("kernels/point_tasks.h", "if (positives_ > 0) add_count", "if (positives_ > 1) add_count", "num_pos is not"),
        (
            "kernels/assign_cpu.h",
            "centernesses[index] = centerness(distances[index])",
            "centernesses[index] = 0.0f",
            "kernel differ",
        ),
    ],
)
def test_planted_faults_are_noticed(header: str, right: str, wrong: str, message: str, tmp_path: Path) -> None:
    for folder in ("csrc", "tests/emulated", "tests/fuzzing"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns(".build", "__pycache__"))
    file = tmp_path / "csrc" / header
    source = file.read_text(encoding="utf-8")
    assert right in source
    file.write_text(source.replace(right, wrong), encoding="utf-8")
    packed_boxes.build_for_random_inputs(COMPILER, tmp_path / "target", tmp_path / "tests/fuzzing")
    done = run(tmp_path / "target", 5000)
    assert done.returncode != 0
    assert message in done.stderr
