"""Steps of a check, each a process group of its own with a limit, a verdict and a place in one log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

NO_TIME = "not run: no time left"
CUT_OFF = "failed (the check ended meanwhile)"

Judge = Callable[[int, str], str]


@dataclass
class Step:
    name: str
    verdict: str  # passed, failed or not run, and what there is to say about it
    seconds: float


def by_exit_code(code: int, output: str) -> str:
    return "passed" if code == 0 else f"failed (exit {code})"


class Check:
    """The steps so far, kept in FOLDER/gpu_check.json after each, with all their output in FOLDER/logs.txt.

    A check that is killed leaves what it knows: the step under way is written down as failed before it begins.
    """

    def __init__(self, folder: Path, root: Path, seconds: float, facts: dict[str, Any]) -> None:
        self.folder, self.root = folder, root
        self.end = time.monotonic() + seconds
        self.facts = facts
        self.steps: list[Step] = []
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, verdict: str, seconds: float = 0.0) -> None:
        """Write a step down, in place of an earlier one of its name."""
        self.steps = [*(step for step in self.steps if step.name != name), Step(name, verdict, round(seconds, 1))]
        content = {**self.facts, "steps": [asdict(step) for step in self.steps]}
        partial = self.folder / "gpu_check.json.partial"
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        partial.replace(self.folder / "gpu_check.json")

    def run(
        self,
        name: str,
        command: list[str],
        limit: float,
        judge: Judge = by_exit_code,
        environment: Mapping[str, str] | None = None,
    ) -> bool:
        """Run one step within its limit and the check's. True if it passed."""
        print(f"== {name}", flush=True)
        started = time.monotonic()
        limit = min(limit, self.end - started)
        if limit <= 0:
            self.add(name, NO_TIME)
            return False
        self.add(name, CUT_OFF)
        code, output = self._output_of(name, command, limit, {**os.environ, **(environment or {})})
        verdict = f"failed (over {limit:.0f} s)" if code is None else judge(code, output)
        if verdict.startswith("failed"):
            print("\n".join(output.splitlines()[-25:]), flush=True)
        self.add(name, verdict, time.monotonic() - started)
        return verdict.startswith("passed")

    def _output_of(
        self, name: str, command: list[str], limit: float, environment: Mapping[str, str]
    ) -> tuple[int | None, str]:
        """The exit code, None at the limit, and the output. Nothing that the command started is left running."""
        logs = self.folder / "logs.txt"
        with logs.open("ab") as log:
            log.write(f"\n== {name}: {' '.join(command)}\n".encode())
            log.flush()
            begin = log.tell()
            process = subprocess.Popen(
                command, cwd=self.root, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
            code: int | None = None
            try:
                with suppress(subprocess.TimeoutExpired):
                    code = process.wait(limit)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return code, logs.read_bytes()[begin:].decode(errors="replace")

    def has_failed(self) -> bool:
        """Whether a step failed or did not get its time. One that can not run here has not failed."""
        return any(step.verdict.startswith("failed") or step.verdict == NO_TIME for step in self.steps)
