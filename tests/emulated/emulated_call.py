"""Samples through the emulated kernel, as tensors to compare with the CPU op."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from samples import Sample, op_call
from torch import Tensor

from pseudo_iou_ops import Assignment

from . import build, numpy_call


def arguments(sample: Sample) -> dict[str, Any]:
    """What `numpy_call.assign` takes, from the very arguments the op gets."""
    _, (boxes, labels, offsets, *numbers, ignore_boxes, ignore_offsets, valid_sizes) = op_call(sample)
    tensors = {
        "boxes": boxes, "labels": labels, "offsets": offsets,
        "ignore_boxes": ignore_boxes, "ignore_offsets": ignore_offsets, "valid_sizes": valid_sizes,
    }  # fmt: skip
    return {"tensors": {name: _array(tensor) for name, tensor in tensors.items()}, "numbers": numbers}


def assign(sample: Sample, **run: Any) -> Assignment:
    """One run of the kernel; `run` as in `numpy_call.assign`."""
    outputs = numpy_call.assign(build.load(), arguments(sample), **run)
    return Assignment(*(torch.from_numpy(outputs[name]) for name in numpy_call.FIELDS))


def _array(tensor: Tensor | None) -> np.ndarray | None:
    return None if tensor is None else np.ascontiguousarray(tensor.numpy())
