"""The numbers in the summary of `scripts/fuzz.py`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from scripts.fuzz import PROFILE, Result, _passing_examples, summary

TESTS = Path(__file__).resolve().parents[1]
PROPERTY = """
from hypothesis import given, strategies as st
from samples import load_hypothesis_profile

load_hypothesis_profile()

@given(st.integers())
def test_integers(value):
    pass
"""


def test_a_random_test_gets_ten_thousand_examples_and_its_statistics_are_read(tmp_path: Path) -> None:
    (tmp_path / "test_property.py").write_text(PROPERTY)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--hypothesis-show-statistics", "."]
    environment = {**os.environ, "HYPOTHESIS_PROFILE": PROFILE, "PYTHONPATH": str(TESTS)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert _passing_examples(done.stdout) == {"test_property.py::test_integers": 10_000}, done.stdout


def test_a_part_that_failed_at_once_has_a_row() -> None:
    text = summary({"annotations": Result({"annotations": 1234}), "properties": Result({}, "broken")}, minutes=5)
    assert "| annotations | annotations | 1,234 | none |" in text
    assert "| properties |  | 0 | failed |" in text
