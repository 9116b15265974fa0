"""What is counted and measured besides time."""

from __future__ import annotations

import pytest
import torch

from benchmarks import measure

CPU = torch.device("cpu")


def test_counting() -> None:
    values = torch.arange(6.0)
    assert measure.count(lambda: values.view(2, 3) + 1) == (1, 0)
    assert measure.count(lambda: values[values > 2]).syncs == 1
    assert measure.count(lambda: values.sum().item()).syncs == 1
    assert measure.count(lambda: values.clone().__setitem__(values > 2, 0.0)).syncs == 0


def test_peak_memory() -> None:
    peak = measure.peak_bytes(lambda: torch.ones(10_000_000).sum(), CPU)
    if peak is None:
        pytest.skip("needs Linux's peak memory counters")
    assert 39e6 < peak < 44e6  # the kernel counts pages in lots


@pytest.mark.skipif(torch.version.cuda is None, reason="torch is a CPU build")
def test_the_runtime_of_torch_is_found() -> None:
    assert measure.cuda_runtime().cudaMemsetAsync
