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
from scripts.audit_wheel import library_problems

ROOT = Path(__file__).resolve().parents[2]


def binaries() -> list[Path]:
    specs = [importlib.util.find_spec(f"pseudo_iou_ops.{name}") for name in ("_C", "_C_cuda")]
    return [Path(spec.origin) for spec in specs if spec is not None and spec.origin is not None]


@pytest.mark.parametrize("binary", binaries(), ids=lambda path: path.name)
def test_only_stable_symbols_and_known_libraries(binary: Path) -> None:
    assert library_problems(binary) == []


def test_what_is_not_stable_is_found(tmp_path: Path) -> None:
    """A library that calls ATen, and one that needs a Python newer than the limited API's."""
    library = tmp_path / "bad.abi3.so"
    source = "void _ZN2at5emptyEv(void); int PyThreadState_GetUnchecked(void);\n"
    source += "int f(void) { _ZN2at5emptyEv(); return PyThreadState_GetUnchecked(); }\n"
    (tmp_path / "bad.c").write_text(source)
    subprocess.run(["cc", "-shared", "-fPIC", str(tmp_path / "bad.c"), "-o", str(library)], check=True)
    problems = library_problems(library)
    assert "unstable symbol _ZN2at5emptyEv" in problems
    assert "uses nothing of torch's stable ABI" in problems
    assert any(problem.startswith("abi3audit: ") and "PyThreadState_GetUnchecked" in problem for problem in problems)


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
    headers = "".join((ROOT / "csrc/core" / name).read_text() for name in ("level.h", "assign_params.h"))
    limits = dict(re.findall(r"constexpr int (\w+) = (\d+);", headers))
    assert int(limits["kMaxLevels"]) == _checks.MAX_LEVELS
    module = sys.modules[assign.__module__]
    assert int(limits["kMaxImagesByValue"]) == module._MAX_IMAGES_BY_VALUE
