"""`scripts/check_wheel.sh` leaves no environment of gigabytes behind, with programs that stand in for Python's."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = """#!/bin/sh
case "$*" in
*"-m build"*) mkdir -p "$5" && touch "$5/a.whl" ;;
"-m venv"*)
    mkdir -p "$3/bin"
    for program in python pip; do printf '#!/bin/sh\n' > "$3/bin/$program"; done
    printf '#!/bin/sh\nexit %s\n' STATUS > "$3/bin/pytest"
    chmod +x "$3"/bin/*
    ;;
esac
"""


def check(checkout: Path, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    python = checkout / "python"
    python.write_text(PYTHON.replace("STATUS", str(status)))
    python.chmod(0o755)
    command = [checkout / "scripts/check_wheel.sh", python, *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "csrc", tmp_path / "csrc")
    shutil.copytree(ROOT / "pseudo_iou_ops", tmp_path / "pseudo_iou_ops", ignore=shutil.ignore_patterns("*.so"))
    for name in ("setup.py", "pyproject.toml", "scripts/check_wheel.sh"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(("arguments", "stays"), [(["2.13.0", "once"], False), (["2.13.0"], True)])
def test_an_environment_that_passed_stays_only_for_a_next_time(
    checkout: Path, arguments: list[str], stays: bool
) -> None:
    done = check(checkout, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert (checkout / ".venv-torch-2.13.0").exists() == stays


def test_an_environment_that_was_there_stays(checkout: Path) -> None:
    assert check(checkout, "2.13.0").returncode == 0
    assert check(checkout, "2.13.0", "once").returncode == 0
    assert (checkout / ".venv-torch-2.13.0").exists()


def test_an_environment_that_failed_is_kept_and_named(checkout: Path) -> None:
    done = check(checkout, "2.13.0", "once", status=3)
    assert done.returncode == 3
    assert done.stderr == "torch 2.13.0 failed; its environment is kept in .venv-torch-2.13.0\n"
    assert (checkout / ".venv-torch-2.13.0/bin/pytest").exists()


def test_make_matrix_uses_each_environment_once() -> None:
    makefile = (ROOT / "Makefile").read_text()
    recipe = makefile.partition("\nmatrix:")[2].partition("\n\n")[0]
    assert "check_wheel.sh $(python) $$version once " in recipe
