"""What is left of loader processes when a run ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import multiprocessing, time
from detector.signals import ignore_stop_signals

def stuck():
    ignore_stop_signals(0)
    print("stuck", flush=True)
    time.sleep(600)

multiprocessing.get_context("fork").Process(target=stuck, daemon=True).start()
time.sleep(1)
"""


def test_a_stuck_loader_process_does_not_keep_its_parent() -> None:
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "stuck\n"
