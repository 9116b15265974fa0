"""Fuzzes the library for some minutes and prints a summary in Markdown: what ran, how often, and what failed.

usage: python scripts/fuzz.py MINUTES [PART ...]

Parts, all by default, side by side:
  properties    the random tests of tests/ (hypothesis), in rounds of up to 1,000 examples a test, each with a new seed
  packed_boxes  tests/fuzzing/packed_boxes.cpp by libFuzzer under ASan and UBSan; needs clang++ (CLANGXX names another)
  annotations   tests/fuzzing/annotations.py by atheris; needs the extra "fuzz"

When the time is up, or at Ctrl-C, the parts are interrupted, and the summary tells what they did until then. A part
that can not run here has a row that says why; the others run. What the engines learn is kept in .fuzz/ for the next
time, beside what each part printed; an input that fails is left there. The exit status is 1 if a part failed, else 130
after Ctrl-C, else 2 if a part can not run here.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".fuzz"
LONGEST_INPUT = 1024
LONGEST_SECONDS = 60  # of an engine's input: beyond, it hangs
GRACE_SECONDS = 30  # for a process to end once it is interrupted
TOLD_EVERY = 60.0
PROFILE = "fuzz"  # of hypothesis, see load_hypothesis_profile in tests/samples.py


@dataclass(frozen=True)
class Result:
    """What a part did until the time was up, or until it failed."""

    executions: dict[str, int] = field(default_factory=dict)
    """Inputs by target: hypothesis counts those that passed, the engines also those that a target turned down."""
    failure: str = ""
    not_run: str = ""
    """Why the part can not run here."""


@dataclass(frozen=True)
class Run:
    """How a process ended."""

    report: str
    failed: bool
    interrupted: bool


class Deadline:
    """When all parts end: after some seconds, or at a signal."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._stopped = threading.Event()
        self.signal = 0

    def stop(self, number: int, *_: object) -> None:
        self.signal = number
        self._stopped.set()

    def seconds_left(self) -> float:
        return 0.0 if self._stopped.is_set() else max(0.0, self._end - time.monotonic())

    def sleep(self, seconds: float) -> bool:
        """Until then, or until the end; whether there is time left."""
        self._stopped.wait(min(seconds, self.seconds_left()))
        return self.seconds_left() > 0


def fuzz_properties(deadline: Deadline) -> Result:
    """Rounds of all random tests; of the round that is interrupted, the tests that had ended count."""
    passed: Counter[str] = Counter()
    for seed in itertools.count(int(time.time())):
        _tell("properties", f"a round with seed {seed}")
        command = [sys.executable, "-m", "pytest", "-v", "-x", "-m", "hypothesis and not gpu", "-p", "no:cacheprovider"]
        command += [f"--hypothesis-seed={seed}", "--hypothesis-show-statistics"]
        run = _run("properties", command, {"HYPOTHESIS_PROFILE": PROFILE}, deadline)
        examples = _passing_examples(run.report)
        passed.update(examples)
        if run.failed:
            return Result(passed, f"seed {seed}:\n{run.report}")
        if run.interrupted:
            break
        if not examples:
            return Result(passed, f"no statistics of hypothesis in:\n{run.report}")
        _tell("properties", f"{sum(examples.values()):,} examples passed")
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


def fuzz_packed_boxes(deadline: Deadline) -> Result:
    sys.path.insert(0, str(ROOT / "tests"))
    from fuzzing.packed_boxes import libfuzzer_command

    program = FOLDER / "packed_boxes"
    build = _run("packed_boxes", libfuzzer_command(_clang(), program), {}, deadline)
    if build.failed:
        return Result(failure=build.report)
    return _run_engine("packed_boxes", [str(program)], deadline)


def fuzz_annotations(deadline: Deadline) -> Result:
    return _run_engine("annotations", [sys.executable, str(ROOT / "tests/fuzzing/annotations.py")], deadline)


def _run_engine(name: str, command: list[str], deadline: Deadline) -> Result:
    """libFuzzer, or atheris, which is built on it, until the time is up or an input fails."""
    corpus = FOLDER / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    options = [f"-timeout={LONGEST_SECONDS}", f"-max_len={LONGEST_INPUT}", "-len_control=0", "-print_final_stats=1"]
    options += [f"-artifact_prefix={FOLDER}/{name}-", str(corpus)]
    run = _run(name, [*command, *options], {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}, deadline)
    counts = re.findall(r"^(?:#|stat::number_of_executed_units: +)(\d+)\b", run.report, flags=re.MULTILINE)
    return Result({name: int(counts[-1]) if counts else 0}, run.report if run.failed else "")


def _run(part: str, command: list[str], environment: dict[str, str], deadline: Deadline) -> Run:
    """A process in a group of its own, so that a signal ends it and all that it started, and only by this script."""
    log = _log(part)
    with log.open("w") as printed:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while process.poll() is None and deadline.sleep(0.2):
        pass
    interrupted = process.poll() is None
    hangs = interrupted and not _interrupt(process)
    report = log.read_text(errors="replace")
    if hangs:
        report += f"\nkilled, as it had not ended {GRACE_SECONDS} s after it was interrupted"
    return Run(report, failed=hangs or (process.returncode != 0 and not interrupted), interrupted=interrupted)


def _interrupt(process: subprocess.Popen[bytes]) -> bool:
    """As Ctrl-C would; whether the process then ended by itself."""
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(GRACE_SECONDS)
        return True
    except subprocess.TimeoutExpired:
        return False
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


PARTS: dict[str, Callable[[Deadline], Result]] = {
    "properties": fuzz_properties,
    "packed_boxes": fuzz_packed_boxes,
    "annotations": fuzz_annotations,
}


def run_part(part: str, deadline: Deadline) -> Result:
    if reason := _why_not_run(part):
        _tell(part, f"not run: {reason}")
        return Result(not_run=reason)
    _tell(part, f"started; what it prints is in {_log(part)}")
    result = PARTS[part](deadline)
    _tell(part, "failed" if result.failure else "ended")
    return result


def _why_not_run(part: str) -> str:
    """What the part needs and is not there."""
    if part == "packed_boxes" and not _has_libfuzzer(_clang()):
        return f"no {_clang()} with libFuzzer (Debian: apt install clang libclang-rt-dev); CLANGXX names another"
    if part == "annotations" and importlib.util.find_spec("atheris") is None:
        return "no atheris; pip install atheris"
    return ""


def _has_libfuzzer(compiler: str) -> bool:
    """Debian's clang alone has no libFuzzer to link."""
    if shutil.which(compiler) is None:
        return False
    target = 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }'
    command = [compiler, "-fsanitize=fuzzer,address,undefined", "-x", "c++", "-", "-o", os.devnull]
    return subprocess.run(command, input=target, text=True, capture_output=True).returncode == 0


def _clang() -> str:
    return os.environ.get("CLANGXX", "clang++")


def _log(part: str) -> Path:
    return FOLDER / f"{part}.log"


def _tell(part: str, text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {part}: {text}", file=sys.stderr, flush=True)


def run_parts(parts: list[str], deadline: Deadline) -> dict[str, Result]:
    """All parts side by side; meanwhile the last line that each printed is told."""
    for part in parts:
        _log(part).write_text("")
    with ThreadPoolExecutor(len(parts)) as threads:
        futures = {threads.submit(run_part, part, deadline): part for part in parts}
        running = set(futures)
        while running := wait(running, timeout=TOLD_EVERY).not_done:
            for future in running:
                _tell(futures[future], _log(futures[future]).read_text(errors="replace").rstrip().rpartition("\n")[2])
    return {part: future.result() for future, part in futures.items()}


def summary(results: dict[str, Result], minutes: float) -> str:
    rows = [
        f"| {part} | {name} | {count:,} | {_verdict(result)} |"
        for part, result in results.items()
        for name, count in sorted(result.executions.items() or [("", 0)])
    ]
    table = ["| part | target | inputs | failures |", "| --- | --- | ---: | --- |", *rows]
    return "\n".join((f"{minutes:.3g} minutes, {_described()}", "", *table))


def _verdict(result: Result) -> str:
    """A part that was left out must not look like one that passed."""
    if result.not_run:
        return f"not run: {result.not_run}"
    if result.failure:
        return "failed"
    return "none" if any(result.executions.values()) else "nothing ran to its end"


def _described() -> str:
    import torch

    command = ["git", "describe", "--always", "--dirty", "--abbrev=7"]
    commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return f"commit {commit}, {os.cpu_count()} CPU cores, Python {platform.python_version()}, torch {torch.__version__}"


def main(arguments: list[str]) -> int:
    if not arguments or not re.fullmatch(r"\d+(\.\d+)?", arguments[0]) or not set(arguments[1:]) <= set(PARTS):
        print(__doc__)
        return 2
    FOLDER.mkdir(exist_ok=True)
    begin, deadline = time.monotonic(), Deadline(60 * float(arguments[0]))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, deadline.stop)
    results = run_parts(arguments[1:] or list(PARTS), deadline)
    print(summary(results, (time.monotonic() - begin) / 60))
    for part, result in results.items():
        if result.failure:
            print(f"\n{part} failed, {result.failure}", file=sys.stderr)
    return _exit_status(results, deadline)


def _exit_status(results: dict[str, Result], deadline: Deadline) -> int:
    if any(result.failure for result in results.values()):
        return 1
    if deadline.signal:
        return 128 + deadline.signal
    return 2 if any(result.not_run for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
