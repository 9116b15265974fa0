"""What is left of loader processes when a run ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import time
from torch.utils.data import DataLoader
from detector.config import Config, DataConfig
from detector.data.loader import batch_loader

class Stuck:
    def __getitem__(self, key):
        print("stuck", flush=True)
        time.sleep(600)

if __name__ == "__main__":
    loader = batch_loader(Config(data=DataConfig(workers=1)), Stuck(), [[(0, 0)]])
    batches = DataLoader.__iter__(loader)
    time.sleep(3)
"""


def test_a_stuck_loader_process_does_not_keep_its_parent(tmp_path: Path) -> None:
    file = tmp_path / "script.py"
    file.write_text(SCRIPT, encoding="utf-8")
    path = os.pathsep.join((str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")))
    done = subprocess.run(
        [sys.executable, str(file)], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "stuck\n"
