"""Calls of the emulated kernels where boxes choose points, over numpy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from samples import Sample, op_call
from task_aligned_samples import PredictedSample
from torch import Tensor

from pseudo_iou_ops import TopKAssignment

from . import build
from .loss_call import level_tuples, name_of

WANTED_BLOCKS = 256  # as kWantedBlocks in csrc/kernels/task_aligned.cuh


def assign_atss(sample: Sample, offsets_on_host: bool = False) -> dict[str, Any]:
    """A call of ``assign_atss``, short of its schedule and seed: the arguments of the op, then its outputs, -99."""
    _, arguments = op_call(sample)
    inputs = [_array(value) for value in arguments]
    return {"function": "assign_atss", "positional": (*inputs, *_unwritten(sample), offsets_on_host)}


def run_atss(sample: Sample, schedule: str = "forward", seed: int = 0, offsets_on_host: bool = False) -> TopKAssignment:
    """What the kernels write."""
    call = assign_atss(sample, offsets_on_host)
    build.load().assign_atss(*call["positional"], schedule, seed)
    outputs = call["positional"][-8:-1]
    return TopKAssignment(*(torch.from_numpy(output) for output in outputs))


def assign_task_aligned(
    sample: PredictedSample, offsets_on_host: bool = False, wanted_blocks: int = WANTED_BLOCKS
) -> dict[str, Any]:
    """A call of ``assign_task_aligned``, likewise. More boxes than ``wanted_blocks`` share a block."""
    _, arguments = op_call(sample)
    ground_truths = [_array(value) for value in arguments[:9]]
    heads = [_head(levels) for levels in arguments[9:11]]
    positional = (*ground_truths, *heads, *arguments[11:], *_unwritten(sample), offsets_on_host, wanted_blocks)
    return {"function": "assign_task_aligned", "positional": positional}


def run_task_aligned(sample: PredictedSample, schedule: str = "forward", seed: int = 0, **run: Any) -> TopKAssignment:
    """What the kernels write."""
    call = assign_task_aligned(sample, **run)
    build.load().assign_task_aligned(*call["positional"], schedule, seed)
    return TopKAssignment(*(torch.from_numpy(output) for output in call["positional"][-9:-2]))


def assign_dynamic_k(sample: PredictedSample, offsets_on_host: bool = False) -> dict[str, Any]:
    """A call of ``assign_sim_ota`` or ``assign_soft_label``, likewise; of no objectness None is handed on."""
    op, arguments = op_call(sample)
    positional = [_array(value) for value in arguments[:9]]
    positional += [(_head(value) if value else None) if isinstance(value, list) else value for value in arguments[9:]]
    return {
        "function": op._schema.name.partition("::")[2],
        "positional": (*positional, *_unwritten(sample), offsets_on_host),
    }


def run_dynamic_k(sample: PredictedSample, schedule: str = "forward", seed: int = 0, **run: Any) -> TopKAssignment:
    """What the kernels write."""
    call = assign_dynamic_k(sample, **run)
    getattr(build.load(), call["function"])(*call["positional"], schedule, seed)
    return TopKAssignment(*(torch.from_numpy(output) for output in call["positional"][-8:-1]))


def _array(value: Any) -> Any:
    return np.ascontiguousarray(value.numpy()) if isinstance(value, Tensor) else value


def _head(levels: list[Tensor]) -> tuple[Any, ...]:
    """Levels, channels and type of a head."""
    first = levels[0]
    return level_tuples(levels, None), first.shape[2 if first.ndim == 3 else 1], name_of(first.dtype)


def _unwritten(sample: Sample) -> list[np.ndarray]:
    batch, points, rows = sample.num_images, sample.num_points, sample.boxes.shape[0]
    dense = (batch, points)
    shapes = {
        "matched": (dense, np.int64),
        "labels": (dense, np.int64),
        "ltrb": ((*dense, 4), np.float32),
        "iou": (dense, np.float32),
        "score": (dense, np.float32),
        "num_pos": ((batch,), np.int64),
        "pos_per_box": ((rows,), np.int64),
    }
    return [np.full(shape, -99, dtype) for shape, dtype in shapes.values()]
