"""The table and the pictures of docs/reproduction.md are those of the stored runs."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from docs_reproduction import draw  # noqa: E402


def test_they_are_drawn_again_byte_for_byte(tmp_path: Path) -> None:
    docs = ROOT / "docs"
    shutil.copytree(docs / "results", tmp_path / "results")
    shutil.copy(docs / "reproduction.md", tmp_path)
    (tmp_path / "images").mkdir()
    draw(tmp_path)
    drawn = [tmp_path / "reproduction.md", *(tmp_path / "images").iterdir()]
    assert len(drawn) == 1 + 2 * len(list((docs / "results").glob("*.csv")))
    for file in drawn:
        assert file.read_bytes() == (docs / file.relative_to(tmp_path)).read_bytes(), file.name


def test_every_cell_says_where_it_comes_from() -> None:
    for file in (ROOT / "docs" / "results").glob("*.csv"):
        header, *rows = file.read_text().splitlines()
        columns = header.split(",")
        assert rows
        for row in rows:
            commit = row.rsplit(",", 2)[1]
            assert len(commit) == 12, row
        assert len({row.rsplit(",", 2)[1] for row in rows}) == 1, f"{file.name}: one commit for all of a table"
        assert {
            "cell",
            "seed",
            "AP",
            "AP50",
            "AP75",
            "kept_points",
            "boxes_without_positive",
            "steps",
            "seconds",
        } <= set(columns)
