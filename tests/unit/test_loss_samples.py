"""The samples of the losses reach both ways a CUDA kernel reads: 16 bytes at once, and one by one."""

from __future__ import annotations

import pytest
import torch
from loss_samples import DTYPES, class_samples

VECTOR_BYTES = 16


def fills_vectors(level: torch.Tensor, classes: int) -> bool:
    """Whether each run of memory that has one class, or one point, is whole vectors."""
    points_last = level.stride(1 if level.ndim == 4 else 2) != 1
    run = level.numel() // level.shape[0] // classes if points_last else classes
    return run % (VECTOR_BYTES // level.element_size()) == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("points_last", [True, False], ids=["points last", "classes last"])
def test_both_ways_are_taken(dtype: torch.dtype, points_last: bool) -> None:
    taken = set()
    for sample in class_samples():
        for level in sample.levels:
            classes_at = 1 if level.ndim == 4 else 2
            if level.dtype == dtype and (level.stride(classes_at) != 1) == points_last:
                taken.add(fills_vectors(level, level.shape[classes_at]))
    assert taken == {True, False}
