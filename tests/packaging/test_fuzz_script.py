"""`scripts/fuzz.py`: its parts, when they end, and the numbers in its summary."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts import fuzz
from scripts.fuzz import PROFILE, Deadline, Result, _exit_status, _passing_examples, run_parts, summary

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
PROPERTY = """
from hypothesis import given, strategies as st
from samples import load_hypothesis_profile

load_hypothesis_profile()

@given(st.integers())
def test_integers(value):
    pass
"""
ENDLESS = """
@given(st.integers())
def test_later(value):
    import pathlib, time
    pathlib.Path("begun").touch()
    time.sleep(600)
"""
# A part whose process has a process of its own, and tells its id.
HANGING = """
import sys
from pathlib import Path
from scripts import fuzz

fuzz.FOLDER = Path(sys.argv[1])
parent = "import subprocess, time; print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"

def hang(deadline):
    run = fuzz._run("hanging", [sys.executable, "-c", parent], {}, deadline)
    return fuzz.Result({"sleep": 7}, run.report if run.failed else "")

fuzz.PARTS = {"hanging": hang}
sys.exit(fuzz.main(["60"]))
"""


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_running(process: int) -> bool:
    """A process that ended but was not yet waited for is none."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_round_has_a_thousand_examples_and_its_statistics_are_read(tmp_path: Path) -> None:
    (tmp_path / "test_property.py").write_text(PROPERTY)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--hypothesis-show-statistics", "."]
    environment = {**os.environ, "HYPOTHESIS_PROFILE": PROFILE, "PYTHONPATH": str(TESTS)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert _passing_examples(done.stdout) == {"test_property.py::test_integers": 1_000}, done.stdout


def test_a_round_ends_with_the_time_and_the_tests_that_had_ended_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "test_property.py").write_text(PROPERTY + ENDLESS)
    monkeypatch.setattr(fuzz, "ROOT", tmp_path)
    monkeypatch.setattr(fuzz, "FOLDER", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    deadline = Deadline(600)

    def stop() -> None:
        wait_for((tmp_path / "begun").exists)
        deadline.stop(signal.SIGINT)

    threading.Thread(target=stop).start()
    result = fuzz.fuzz_properties(deadline)
    assert result == Result({"test_property.py::test_integers": 1_000})


def test_a_process_that_does_not_end_is_killed_and_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "FOLDER", tmp_path)
    monkeypatch.setattr(fuzz, "GRACE_SECONDS", 0.5)
    ignoring = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('deaf', flush=True)"
    command = [sys.executable, "-c", f"{ignoring}; time.sleep(600)"]
    run = fuzz._run("deaf", command, {}, Deadline(2))
    assert run.failed
    assert run.report.startswith("deaf\n")
    assert "killed" in run.report


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_all_processes_and_leaves_a_summary(tmp_path: Path, number: int, status: int) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    script = subprocess.Popen(
        [sys.executable, "-c", HANGING, str(tmp_path)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = tmp_path / "hanging.log"
    wait_for(lambda: log.exists() and log.read_text().endswith("\n"))
    child = int(log.read_text())
    assert is_running(child)
    script.send_signal(number)
    out, err = script.communicate(timeout=60)
    assert script.returncode == status, err
    assert "| hanging | sleep | 7 | none |" in out
    assert "hanging: started" in err
    assert "Traceback" not in err
    wait_for(lambda: not is_running(child))


def test_a_part_that_can_not_run_has_a_row_and_the_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fuzz, "FOLDER", tmp_path)
    monkeypatch.setenv("CLANGXX", "no-such-compiler")
    monkeypatch.setitem(fuzz.PARTS, "properties", lambda deadline: Result({"test": 12}))
    deadline = Deadline(0)
    results = run_parts(["properties", "packed_boxes"], deadline)
    text = summary(results, minutes=5)
    assert "| properties | test | 12 | none |" in text
    assert "| packed_boxes |  | 0 | not run: no no-such-compiler with libFuzzer (Debian: apt install clang " in text
    assert "packed_boxes: not run: no no-such-compiler" in capsys.readouterr().err
    assert _exit_status(results, deadline) == 2
    assert _exit_status({**results, "annotations": Result(failure="broken")}, deadline) == 1


def test_a_compiler_without_libfuzzer_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLANGXX", "g++")
    assert "g++ with libFuzzer" in fuzz._why_not_run("packed_boxes")


def test_a_part_that_failed_at_once_has_a_row() -> None:
    text = summary({"annotations": Result({"annotations": 1234}), "properties": Result({}, "broken")}, minutes=5)
    assert "| annotations | annotations | 1,234 | none |" in text
    assert "| properties |  | 0 | failed |" in text


def test_a_part_of_which_nothing_ended_does_not_look_like_one_that_passed() -> None:
    assert "| properties |  | 0 | nothing ran to its end |" in summary({"properties": Result()}, minutes=0.1)
