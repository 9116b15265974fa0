"""The processes of a run that torchrun starts; without it there is one, and every function here is trivial."""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


def is_launched() -> bool:
    """Whether torchrun started this process."""
    return dist.is_torchelastic_launched()


def local_rank() -> int:
    """This process among those of its machine, which is also its GPU."""
    return int(os.environ["LOCAL_RANK"])


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this is the process that prints and writes."""
    return rank() == 0


@contextlib.contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that torchrun started, and leave them whatever happens."""
    if not is_launched():
        yield
        return
    # CPU tensors, such as a request to stop, go over gloo and so do not wait for the GPU.
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def with_averaged_gradients(model: nn.Module, device: torch.device) -> nn.Module:
    """The network to call in training: its backward pass leaves the mean gradient of all processes."""
    if world_size() == 1:
        return model
    parameters = inspect.signature(DistributedDataParallel).parameters
    # torch 2.13 gave the argument another name, and warns of the old one.
    name = "forward_sync_buffers" if "forward_sync_buffers" in parameters else "broadcast_buffers"
    has_statistics = any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    synchronised: dict[str, Any] = {name: has_statistics}
    return DistributedDataParallel(
        model,
        device_ids=[device.index] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,
        **synchronised,
    )


def total_over_ranks(value: Tensor) -> Tensor:
    """The sum of a tensor over all processes, on its device, without waiting for it."""
    if world_size() == 1:
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total


def largest_over_ranks(value: int) -> int:
    """The largest of the processes' numbers: what all of them go by."""
    if world_size() == 1:
        return value
    largest = torch.tensor(value)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return int(largest)


def gather_rows(rows: Tensor) -> Tensor:
    """The rows (N, ...) of all processes in the order of their ranks; N may differ. On the CPU."""
    if world_size() == 1:
        return rows
    counts = [torch.zeros(1, dtype=torch.int64) for _ in range(world_size())]
    dist.all_gather(counts, torch.tensor([len(rows)]))
    longest = max(int(count) for count in counts)
    # One row more than needed: a collective of empty tensors is not defined for every backend.
    padded = rows.new_zeros(longest + 1, *rows.shape[1:])
    padded[: len(rows)] = rows
    gathered = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(gathered, padded)
    return torch.cat([part[: int(count)] for part, count in zip(gathered, counts, strict=True)])


def wait_for_all() -> None:
    """Return when every process has come here."""
    largest_over_ranks(0)
