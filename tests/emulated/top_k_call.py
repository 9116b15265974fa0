"""Calls of the emulated kernels where boxes choose points, over numpy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from samples import Sample, op_call
from torch import Tensor

from pseudo_iou_ops import TopKAssignment

from . import build


def assign_atss(sample: Sample, offsets_on_host: bool = False) -> dict[str, Any]:
    """A call of ``assign_atss``, short of its schedule and seed: the arguments of the op, then its outputs, -99."""
    _, arguments = op_call(sample)
    inputs = [np.ascontiguousarray(value.numpy()) if isinstance(value, Tensor) else value for value in arguments]
    return {"function": "assign_atss", "positional": (*inputs, *_unwritten(sample), offsets_on_host)}


def run_atss(sample: Sample, schedule: str = "forward", seed: int = 0, offsets_on_host: bool = False) -> TopKAssignment:
    """What the kernels write."""
    call = assign_atss(sample, offsets_on_host)
    build.load().assign_atss(*call["positional"], schedule, seed)
    outputs = call["positional"][-8:-1]
    return TopKAssignment(*(torch.from_numpy(output) for output in outputs))


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
