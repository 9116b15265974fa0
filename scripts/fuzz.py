"""Fuzzes the library for some minutes and prints a summary in Markdown: what ran, how often, and what failed.

usage: python scripts/fuzz.py MINUTES [PART ...]

Parts, all by default, side by side:
  properties    the random tests of tests/ (hypothesis) at 10,000 examples each, with ever new seeds
  packed_boxes  tests/fuzzing/packed_boxes.cpp by libFuzzer under ASan and UBSan; needs clang++ (CLANGXX names another)
  annotations   tests/fuzzing/annotations.py by atheris; needs the extra "fuzz"

What the engines learn is kept in .fuzz/ for the next time; an input that fails is left there. The exit status is 1 if a
part failed, and 2 if one can not run here.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".fuzz"
LONGEST_INPUT = 1024
PROFILE = "fuzz"  # of hypothesis, see load_hypothesis_profile in tests/samples.py


@dataclass(frozen=True)
class Result:
    """What a part did until the time was up, or until it failed."""

    executions: dict[str, int]
    """Inputs by target: hypothesis counts those that passed, the engines also those that a target turned down."""
    failure: str = ""


def fuzz_properties(seconds: float) -> Result:
    """One run of all random tests after the other; the run in work when the time is up is finished."""
    passed: dict[str, int] = {}
    seed = int(time.time())
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "hypothesis and not gpu", "-p", "no:cacheprovider"]
        command += [f"--hypothesis-seed={seed}", "--hypothesis-show-statistics"]
        status, report = _run(command, {"HYPOTHESIS_PROFILE": PROFILE})
        if status != 0:
            return Result(passed, f"seed {seed}:\n{report}")
        examples = _passing_examples(report)
        if not examples:
            return Result(passed, f"no statistics of hypothesis in:\n{report}")
        for test, count in examples.items():
            passed[test] = passed.get(test, 0) + count
        seed += 1
    return Result(passed)


def _passing_examples(report: str) -> dict[str, int]:
    """From hypothesis' statistics: a test's name, then its phases."""
    counts: dict[str, int] = {}
    test = ""
    for line in report.splitlines():
        if name := re.match(r"(\S+\.py::[^:]+):$", line):
            test = name[1]
        elif passing := re.search(r"(\d+) passing\b", line):
            counts[test] = counts.get(test, 0) + int(passing[1])
    return counts


def fuzz_packed_boxes(seconds: float) -> Result:
    sys.path.insert(0, str(ROOT / "tests"))
    from fuzzing.packed_boxes import build_for_libfuzzer

    program = FOLDER / "packed_boxes"
    build_for_libfuzzer(_clang(), program)
    return _run_engine("packed_boxes", [str(program)], seconds)


def fuzz_annotations(seconds: float) -> Result:
    return _run_engine("annotations", [sys.executable, str(ROOT / "tests/fuzzing/annotations.py")], seconds)


def _run_engine(name: str, command: list[str], seconds: float) -> Result:
    """libFuzzer, or atheris, which is built on it, until the time is up or an input fails."""
    corpus = FOLDER / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={seconds:.0f}", f"-max_len={LONGEST_INPUT}", "-len_control=0"]
    options += [f"-artifact_prefix={FOLDER}/{name}-", str(corpus)]
    status, report = _run([*command, *options], {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"})
    started = re.findall(r"^#(\d+)\s", report, flags=re.MULTILINE)
    return Result({name: int(started[-1]) if started else 0}, "" if status == 0 else report)


def _run(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


PARTS: dict[str, Callable[[float], Result]] = {
    "properties": fuzz_properties,
    "packed_boxes": fuzz_packed_boxes,
    "annotations": fuzz_annotations,
}


def summary(results: dict[str, Result], minutes: float) -> str:
    rows = [
        f"| {part} | {name} | {count:,} | {'failed' if result.failure else 'none'} |"
        for part, result in results.items()
        for name, count in sorted(result.executions.items() or [("", 0)])
    ]
    table = ["| part | target | inputs | failures |", "| --- | --- | ---: | --- |", *rows]
    return "\n".join((f"{minutes:.0f} minutes, {_described()}", "", *table))


def _described() -> str:
    import torch

    commit = _run(["git", "describe", "--always", "--dirty", "--abbrev=7"], {})[1].strip()
    return f"commit {commit}, {os.cpu_count()} CPU cores, Python {platform.python_version()}, torch {torch.__version__}"


def _clang() -> str:
    return os.environ.get("CLANGXX", "clang++")


def _missing(parts: list[str]) -> list[str]:
    """What the parts need and is not there: a part left out would look like one that passed."""
    missing = []
    if "packed_boxes" in parts and shutil.which(_clang()) is None:
        missing.append(f"packed_boxes: no {_clang()} (with libFuzzer); name one with CLANGXX")
    if "annotations" in parts and _run([sys.executable, "-c", "import atheris"], {})[0] != 0:
        missing.append('annotations: no atheris; pip install "pseudo_iou_ops[fuzz]"')
    return missing


def main(arguments: list[str]) -> int:
    if not arguments or not re.fullmatch(r"\d+(\.\d+)?", arguments[0]) or not set(arguments[1:]) <= set(PARTS):
        print(__doc__)
        return 2
    minutes, parts = float(arguments[0]), arguments[1:] or list(PARTS)
    if missing := _missing(parts):
        print("\n".join(missing), file=sys.stderr)
        return 2
    FOLDER.mkdir(exist_ok=True)
    with ThreadPoolExecutor(len(parts)) as threads:
        results = dict(zip(parts, threads.map(lambda part: PARTS[part](60 * minutes), parts), strict=True))
    print(summary(results, minutes))
    failures = [f"\n{part} failed, {result.failure}" for part, result in results.items() if result.failure]
    print("\n".join(failures), file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
