"""Precision and reproducibility of a run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch
from torch.amp.grad_scaler import GradScaler

from ..config import TrainConfig

AUTOCAST_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(config: TrainConfig, device: torch.device) -> torch.autocast:
    """The context of the network's forward pass; assignment and losses stay outside, in float32."""
    return torch.autocast(device.type, AUTOCAST_TYPES.get(config.amp), enabled=config.amp != "fp32")


def build_scaler(config: TrainConfig, device: torch.device) -> GradScaler:
    """Scales the loss where gradients would underflow, in fp16; elsewhere it does nothing."""
    return GradScaler(device.type, enabled=config.amp == "fp16")


@contextlib.contextmanager
def deterministic_algorithms(enabled: bool) -> Iterator[None]:
    """Let torch take deterministic kernels where it has them, and warn where it has none.

    To be entered before the first use of CUDA: cuBLAS reads its setting once.
    """
    if not enabled:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    was_benchmarked = torch.backends.cudnn.benchmark
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    was_warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = was_benchmarked
        torch.use_deterministic_algorithms(was_deterministic, warn_only=was_warn_only)
