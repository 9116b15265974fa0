"""Runs the random tests (hypothesis) with ever new seeds until the time is up, and says how many examples passed.

usage: python scripts/fuzz.py MINUTES [pytest options]

A failing example stops it: the seed and what pytest printed are the report, and the exit status is 1.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def count_examples(report: str) -> Counter[str]:
    """Passing examples per test, from hypothesis' statistics: a test's name, then its phases."""
    counts: Counter[str] = Counter()
    test = ""
    for line in report.splitlines():
        if name := re.match(r"(\S+\.py::[^:]+):$", line):
            test = name[1]
        elif passing := re.search(r"(\d+) passing examples", line):
            counts[test] += int(passing[1])
    return counts


def run_once(seed: int, options: list[str]) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "hypothesis and not gpu", "-p", "no:cacheprovider"]
    command += [f"--hypothesis-seed={seed}", "--hypothesis-show-statistics", *options]
    environment = {**os.environ, "HYPOTHESIS_PROFILE": "nightly"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def main() -> int:
    if len(sys.argv) < 2 or not re.fullmatch(r"\d+(\.\d+)?", sys.argv[1]):
        print(__doc__)
        return 2
    minutes, options = float(sys.argv[1]), sys.argv[2:]
    started = time.monotonic()
    total: Counter[str] = Counter()
    seed = int(time.time())
    rounds = 0
    while time.monotonic() - started < 60 * minutes:
        status, report = run_once(seed + rounds, options)
        if status != 0:
            print(f"seed {seed + rounds}:\n{report}")
            return 1
        total += count_examples(report)
        rounds += 1
    passed = (time.monotonic() - started) / 60
    print(f"{rounds} rounds from seed {seed}, {passed:.0f} minutes, no failure; examples passed:")
    for test, count in sorted(total.items()):
        print(f"{count:>9,}  {test}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
