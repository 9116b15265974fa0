"""GPU tests run where a GPU is; the closing lines count those that did not, so that a skip is never a pass."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator

# Two workers of pytest share the cores: a thread that spins while it waits would hold the other's. Read by torch.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest
import torch


def why_no_gpu() -> str | None:
    if not torch.cuda.is_available():
        return "no CUDA device that torch can use"
    from pseudo_iou_ops import _loader

    return _loader.CUDA_UNAVAILABLE_REASON


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = why_no_gpu()
    if reason is None:
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=f"gpu: {reason}"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """What was not run, right above pytest's closing line."""
    yield
    skipped = terminalreporter.stats.get("skipped", [])
    for_want_of_a_gpu = sum("gpu: " in str(report.longrepr) for report in skipped)
    if for_want_of_a_gpu:
        terminalreporter.write_line(f"{for_want_of_a_gpu} tests were NOT run here: they need a GPU")
    if others := len(skipped) - for_want_of_a_gpu:
        terminalreporter.write_line(f"{others} tests were NOT run here for another reason, listed above")


def pytest_unconfigure() -> None:
    """A child process that a test left behind would be waited for after the last line."""
    for child in multiprocessing.active_children():
        print(f"killed at the end: {child}")
        child.kill()
