"""The numbers in the summary of `scripts/fuzz.py`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from scripts.fuzz import Result, _passing_examples, summary

PROPERTY = """
from hypothesis import given, settings, strategies as st

@settings(max_examples=17)
@given(st.integers())
def test_integers(value):
    pass
"""


def test_passing_examples_are_read_from_the_statistics_of_this_hypothesis(tmp_path: Path) -> None:
    (tmp_path / "test_property.py").write_text(PROPERTY)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--hypothesis-show-statistics"]
    done = subprocess.run([*command, "."], cwd=tmp_path, capture_output=True, text=True)
    assert _passing_examples(done.stdout) == {"test_property.py::test_integers": 17}


def test_a_part_that_failed_at_once_has_a_row() -> None:
    text = summary({"annotations": Result({"annotations": 1234}), "properties": Result({}, "broken")}, minutes=5)
    assert "| annotations | annotations | 1,234 | none |" in text
    assert "| properties |  | 0 | failed |" in text
