"""A compiled library knows which sources it was built from."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch

from pseudo_iou_ops import _loader, _sources, env

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "setup.py", tmp_path)
    shutil.copytree(ROOT / "csrc", tmp_path / "csrc")
    return tmp_path


def test_the_hash_is_that_of_the_contents(copied: Path) -> None:
    before = _sources.source_hash(copied)
    assert before == _sources.source_hash(ROOT)
    (copied / "README.md").write_text("not built from")
    assert _sources.source_hash(copied) == before


@pytest.mark.parametrize("name", ["setup.py", "csrc/library.cpp", "csrc/kernels/assign.cuh"])
def test_every_source_counts(copied: Path, name: str) -> None:
    before = _sources.source_hash(copied)
    with (copied / name).open("a") as file:
        file.write("\n")
    assert _sources.source_hash(copied) != before


def test_a_new_name_counts(copied: Path) -> None:
    before = _sources.source_hash(copied)
    (copied / "csrc" / "library.cpp").rename(copied / "csrc" / "table.cpp")
    assert _sources.source_hash(copied) != before


def test_an_install_has_no_sources_to_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _sources.source_hash(tmp_path) is None
    monkeypatch.setattr(_sources, "source_hash", lambda: None)
    assert env.stale_libraries() == []
    assert "sources that are not here" in env.report()


def test_both_libraries_answer() -> None:
    ops = torch.ops.pseudo_iou_ops
    hashes = [ops.source_hash(), *([] if _loader.CUDA_UNAVAILABLE_REASON else [ops.cuda_source_hash()])]
    assert len(set(hashes)) == 1, "they were built at different times"
    assert re.fullmatch("[0-9a-f]{16}", hashes[0])


def test_a_library_of_other_sources_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sources, "source_hash", lambda: "0" * 16)
    assert "_C" in env.stale_libraries()
    assert "other sources than these: _C" in env.report()


def test_a_library_that_is_older_than_the_question_has_no_answer() -> None:
    assert env._hash_in("no_such_op") is None
