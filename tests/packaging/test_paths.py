"""A clone is enough: no test, benchmark or configuration looks for a file beside the repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).resolve()
ROOT = HERE.parents[2]
FOLDERS = ("tests", "benchmarks", "detector")


def outside(file: Path, text: str) -> list[str]:
    """What a file of the repository says that leads out of it."""
    depth = len(file.relative_to(ROOT).parts) - 1
    parents = [match[0] for match in re.finditer(r"\.parents\[(\d+)\]", text) if int(match[1]) > depth]
    patterns = (
        r"\b(?:ROOT|REPOSITORY)\.parent\b",
        r"^\s*(?:root|weights): *\.\./.*$",  # relative to where a command is run, which is the root of the repository
        r"\.\./shared\b",
        r"(?<=[\"'])/(?:home|mnt|work)/.*?(?=[\"'])",
    )
    return parents + [found for pattern in patterns for found in re.findall(pattern, text, re.MULTILINE)]


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_file_names_a_folder_outside_of_the_repository(folder: str) -> None:
    files = [file for pattern in ("*.py", "*.yaml", "*.json", "*.md") for file in (ROOT / folder).rglob(pattern)]
    assert len(files) > 10
    found = {str(file): names for file in files if file != HERE and (names := outside(file, file.read_text()))}
    assert not found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tests/unit/test_a.py", 'Path(__file__).parents[3] / "data"'),
        ("benchmarks/a.py", 'ROOT.parent / "data"'),
        ("detector/configs/a.yaml", "data:\n  root: ../data\n"),
        ("tests/a.py", 'open("/home/me/a.json")'),
    ],
)
def test_a_folder_outside_of_the_repository_is_noticed(name: str, text: str) -> None:
    assert len(outside(ROOT / name, text)) == 1
    assert not outside(ROOT / "tests/unit/test_a.py", "ROOT = Path(__file__).parents[2]\nbase: ../b.yaml")
