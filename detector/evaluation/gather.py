"""Detections of several processes, brought together as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ..distributed import gather_rows, world_size
from ..model import Detections

T = TypeVar("T")


def gather_detections(found: Sequence[Detections], own: Tensor, images: int) -> list[Detections]:
    """The detections of all images, in order, from those of each process's share of them.

    Args:
        found: this process's, on the CPU.
        own: (len(found),) int64, their positions among all images; no two processes hold the same one.
        images: how many images there are in all; one that no process has gets no detection.
    """
    counts = torch.tensor([len(detections.scores) for detections in found], dtype=torch.int64)
    rows = torch.cat([torch.zeros(0, 6, dtype=torch.float64), *map(_to_rows, found)])  # float64 holds all exactly
    rows = gather_rows(rows)
    owners = gather_rows(torch.repeat_interleave(own, counts))
    order = owners.argsort(stable=True)
    sizes = owners.bincount(minlength=images).tolist()
    return [_from_rows(part) for part in rows[order].split(sizes)]


def gather_lists(values: Sequence[T]) -> list[T]:
    """The elements of all processes' lists."""
    if world_size() == 1:
        return list(values)
    lists: list[list[T]] = [[] for _ in range(world_size())]
    dist.all_gather_object(lists, list(values))
    return [value for part in lists for value in part]


def _to_rows(found: Detections) -> Tensor:
    return torch.cat((found.boxes, found.scores.unsqueeze(1), found.labels.unsqueeze(1)), dim=1).double()


def _from_rows(rows: Tensor) -> Detections:
    return Detections(rows[:, :4].float(), rows[:, 4].float(), rows[:, 5].long())
