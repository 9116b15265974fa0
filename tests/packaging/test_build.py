"""setup.py decides what to build, and says why not; an sdist builds by itself; the wheel holds the library alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from scripts.audit_wheel import wheel_problems

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
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it where nothing else was at hand."""
    folder = tmp_path_factory.mktemp("dist")
    source = folder / "source"  # a copy, so that nothing an earlier build left behind gets in
    shutil.copytree(
        ROOT, source, ignore=shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "runs", "*.so", "*.egg-info")
    )
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(source)]
    environment = {**os.environ, "PSEUDO_IOU_OPS_CUDA": "off"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (path,) = dist.glob("*.whl")
    return path


def test_sdist(dist: Path) -> None:
    """All sources, also those that this build had no use for; nothing that was built."""
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    sources = {str(path.relative_to(ROOT)) for path in ROOT.glob("csrc/**/*") if path.is_file()}
    assert sources | {"setup.py", "README.md", "LICENSE", "CHANGELOG.md"} <= names
    assert not [name for name in names if name.endswith((".so", ".pyc"))]
    folders = {name.split("/")[0] for name in names if "/" in name}
    assert folders == {"csrc", "pseudo_iou_ops", "pseudo_iou_ops.egg-info"}


def test_wheel(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "pseudo_iou_ops").rglob("*.py")}
    assert sources | {"pseudo_iou_ops/_C.abi3.so", "pseudo_iou_ops/py.typed"} <= set(names)
    assert wheel_problems(wheel) == []


def test_installed_wheel_works_away_from_the_sources(wheel: Path, tmp_path: Path) -> None:
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", "site", str(wheel)]
    subprocess.run(install, cwd=tmp_path, check=True, capture_output=True)
    code = """
import torch
import pseudo_iou_ops, pseudo_iou_ops._C, pseudo_iou_ops.integrations.torchvision
assigner = pseudo_iou_ops.PointAssigner([8])
assert assigner([(4, 4)], [torch.tensor([[0.0, 0, 32, 32]])], [torch.tensor([5])]).num_pos.tolist() == [4]
print(pseudo_iou_ops.__file__, pseudo_iou_ops._C.__file__, pseudo_iou_ops.integrations.torchvision.__file__)
"""
    environment = {**os.environ, "PYTHONPATH": "site"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(Path(file).is_relative_to(tmp_path) for file in done.stdout.split())


def test_audit_refuses_a_wheel_with_other_contents(wheel: Path, tmp_path: Path) -> None:
    other = tmp_path / wheel.name.replace("cp310-abi3", "cp311-cp311")
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("tests/test_rule.py", "")
    assert wheel_problems(other) == [
        "no compiled library",
        "expected the package pseudo_iou_ops alone, got tests",
        "expected the tag cp310-abi3",
    ]
