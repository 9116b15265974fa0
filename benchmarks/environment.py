"""Where and on what a run was made."""

from __future__ import annotations

import datetime
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import torch

import pseudo_iou_ops

ROOT = Path(__file__).resolve().parents[1]


def describe(device: torch.device, arguments: list[str]) -> dict[str, object]:
    """Facts for the head of a result file."""
    return {
        "commit": _commit(),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmarks", *arguments]),
        "device": _device_name(device),
        "driver": _driver() if device.type == "cuda" else None,
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "platform": platform.platform(),
        "pseudo_iou_ops": pseudo_iou_ops.__version__,
    }


def _commit() -> str | None:
    """Of the checkout; a copy without its history is told by $COMMIT."""
    commit = _first_line("git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD")
    changed = commit and _first_line("git", "-C", str(ROOT), "status", "--porcelain", "--", "csrc", "pseudo_iou_ops")
    return f"{commit}, changed" if changed else commit or os.environ.get("COMMIT")


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    names = _cpu_info("model name")
    return f"{names[0] if names else platform.processor() or platform.machine()}, {len(names) or '?'} cores"


def _cpu_info(key: str) -> list[str]:
    if not sys.platform.startswith("linux"):
        return []
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return [line.split(":", 1)[1].strip() for line in lines if line.startswith(key)]


def _driver() -> str | None:
    return _first_line("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")


def _first_line(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.strip().splitlines()
    return lines[0] if done.returncode == 0 and lines else None
