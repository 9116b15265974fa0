"""setup.py decides what to build, and says why not; the wheel holds the library alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def setup(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("CUDA_HOME", "CUDA_PATH", "PSEUDO_IOU_OPS_CUDA")}
    return subprocess.run(
        [sys.executable, "setup.py", *arguments],
        cwd=ROOT,
        env={**clean, **environment},
        capture_output=True,
        text=True,
    )


def test_unknown_wish() -> None:
    done = setup("--version", PSEUDO_IOU_OPS_CUDA="maybe")
    assert done.returncode != 0
    assert "PSEUDO_IOU_OPS_CUDA: expected auto, on or off, got 'maybe'" in done.stderr


def test_on_without_a_toolkit_is_an_error(tmp_path: Path) -> None:
    done = setup("--version", PSEUDO_IOU_OPS_CUDA="on", CUDA_HOME=str(tmp_path))
    assert done.returncode != 0
    assert "PSEUDO_IOU_OPS_CUDA=on, but" in done.stderr
    assert "install" in done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy, so that nothing an earlier build left behind gets in
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "dist", "runs", "*.so", "*.egg-info"))
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-build-isolation",
        "--no-deps",
        "-w",
        str(folder),
        str(source),
    ]
    environment = {**os.environ, "PSEUDO_IOU_OPS_CUDA": "off"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_wheel(wheel: Path) -> None:
    assert "-cp310-abi3-" in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"pseudo_iou_ops"}
    assert "pseudo_iou_ops/_C.abi3.so" in names
    assert "pseudo_iou_ops/py.typed" in names
