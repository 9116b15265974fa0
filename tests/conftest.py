"""GPU tests run where a GPU is; the closing line counts those that did not, so that a skip is never a pass."""

from __future__ import annotations

import multiprocessing

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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if "gpu: " in str(report.longrepr)]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} GPU tests were NOT run here")


def pytest_unconfigure() -> None:
    """A child process that a test left behind would be waited for after the last line."""
    for child in multiprocessing.active_children():
        print(f"killed at the end: {child}")
        child.kill()
