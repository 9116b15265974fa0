"""The compiled libraries use nothing but the stable ABI and the limited Python API."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pseudo_iou_ops import _checks, _loader, assign

ROOT = Path(__file__).resolve().parents[2]


def binaries() -> list[Path]:
    specs = [importlib.util.find_spec(f"pseudo_iou_ops.{name}") for name in ("_C", "_C_cuda")]
    return [Path(spec.origin) for spec in specs if spec is not None and spec.origin is not None]


@pytest.mark.parametrize("binary", binaries(), ids=lambda path: path.name)
def test_no_unstable_symbol_of_torch(binary: Path) -> None:
    symbols = subprocess.run(["nm", "-D", "--undefined-only", str(binary)], capture_output=True, text=True, check=True)
    names = [line.split()[-1] for line in symbols.stdout.splitlines()]
    assert any(name.startswith("aoti_torch_") for name in names), "not a library of this project?"
    unstable = [name for name in names if re.match(r"_ZNK?(2at|3c10|5torch)", name)]
    assert not unstable


@pytest.mark.parametrize("binary", binaries(), ids=lambda path: path.name)
def test_limited_python_api(binary: Path) -> None:
    assert binary.name.endswith(".abi3.so")
    audit = subprocess.run(
        [sys.executable, "-m", "abi3audit", "--strict", "--assume-minimum-abi3", "3.10", str(binary)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert audit.returncode == 0, audit.stdout + audit.stderr


@pytest.mark.parametrize("binary", binaries(), ids=lambda path: path.name)
def test_no_path_of_the_building_machine_in_the_code(binary: Path) -> None:
    assert str(ROOT).encode() + b"/csrc" not in binary.read_bytes()


def test_target_version() -> None:
    assert torch.ops.pseudo_iou_ops.torch_target_version() == 0x020B << 48  # 2.11


def test_cuda_library_loads_where_it_can() -> None:
    built = importlib.util.find_spec("pseudo_iou_ops._C_cuda") is not None
    assert (_loader.CUDA_UNAVAILABLE_REASON is None) == (built and torch.version.cuda is not None)


def test_source_files_have_different_names() -> None:
    """setuptools names objects by their source; two of one name overwrite each other."""
    stems = [path.stem for path in ROOT.glob("csrc/**/*") if path.suffix in (".cpp", ".cu")]
    assert len(stems) == len(set(stems)), stems


def test_limits_agree_between_languages() -> None:
    header = (ROOT / "csrc/core/params.h").read_text()
    limits = dict(re.findall(r"constexpr int (\w+) = (\d+);", header))
    assert int(limits["kMaxLevels"]) == _checks.MAX_LEVELS
    module = sys.modules[assign.__module__]
    assert int(limits["kMaxImagesByValue"]) == module._MAX_IMAGES_BY_VALUE
