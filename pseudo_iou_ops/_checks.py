"""Argument checks. They name the argument, what was expected and what came, and read no tensor's values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor

from .rule import AssignRule

FLOATING_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
SIZE_DTYPES = (*FLOATING_DTYPES, torch.int64, torch.int32, torch.int16, torch.uint8)
_INTEGERS = (int, torch.SymInt)
_NUMBERS = (float, int)

SMALLEST_FLOAT32 = torch.finfo(torch.float32).tiny
LARGEST_FLOAT32 = torch.finfo(torch.float32).max

MAX_LEVELS = 16  # of csrc/core/level.h: the level table travels with the launch by value


def check_tensor(name: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(value).__name__}")


def check_list(name: str, value: object) -> None:
    if isinstance(value, Tensor) or not isinstance(value, Sequence):
        raise TypeError(f"{name}: expected a list of tensors, one per image, got {type(value).__name__}")


def check_boxes(name: str, boxes: Tensor) -> None:
    check_tensor(name, boxes)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{name}: expected shape (M, 4), got {tuple(boxes.shape)}")
    if boxes.dtype not in FLOATING_DTYPES:
        raise TypeError(f"{name}: expected a floating dtype, got {boxes.dtype}")


def check_labels(name: str, labels: Tensor, boxes: Tensor) -> None:
    check_tensor(name, labels)
    if labels.ndim != 1 or labels.shape[0] != boxes.shape[0]:
        raise ValueError(f"{name}: expected shape ({boxes.shape[0]},), one per box, got {tuple(labels.shape)}")
    if labels.dtype != torch.int64:
        raise TypeError(f"{name}: expected dtype torch.int64, got {labels.dtype}")
    if labels.device != boxes.device:
        raise ValueError(f"{name}: expected device {boxes.device}, that of the boxes, got {labels.device}")


def check_offsets(name: str, offsets: Tensor, boxes: Tensor) -> None:
    check_tensor(name, offsets)
    if offsets.ndim != 1 or offsets.shape[0] < 1:
        raise ValueError(f"{name}: expected shape (B+1,), got {tuple(offsets.shape)}")
    if offsets.dtype != torch.int64:
        raise TypeError(f"{name}: expected dtype torch.int64, got {offsets.dtype}")
    if offsets.device != boxes.device and offsets.device.type != "cpu":
        raise ValueError(f"{name}: expected device {boxes.device} or cpu, got {offsets.device}")


def is_sequence(value: object) -> TypeGuard[Sequence[Any]]:
    # The common types first: the abstract class is slow to ask, and a call has microseconds.
    return isinstance(value, (list, tuple)) or (isinstance(value, Sequence) and not isinstance(value, str))


def check_levels(level_shapes: Sequence[tuple[int, int]], strides: Sequence[float]) -> None:
    if not is_sequence(level_shapes):
        raise TypeError(f"level_shapes: expected a sequence of (H, W), got {type(level_shapes).__name__}")
    check_strides(strides)
    if len(level_shapes) != len(strides):
        raise ValueError(f"strides: expected one per level, {len(level_shapes)}, got {len(strides)}")
    if len(level_shapes) > MAX_LEVELS:
        raise ValueError(f"level_shapes: expected at most {MAX_LEVELS} levels, got {len(level_shapes)}")
    for shape in level_shapes:
        if not is_sequence(shape) or len(shape) != 2:
            raise TypeError(f"level_shapes: expected (H, W) pairs, got {shape!r}")
        for side in shape:
            if not isinstance(side, _INTEGERS):
                raise TypeError(f"level_shapes: expected integers, got {side!r}")
            if side < 0:
                raise ValueError(f"level_shapes: expected sizes of 0 or more, got {tuple(shape)}")


def check_strides(strides: Sequence[float]) -> None:
    if not is_sequence(strides):
        raise TypeError(f"strides: expected a sequence of numbers, got {type(strides).__name__}")
    for stride in strides:
        check_positive_number("strides", stride)


def check_rule(rule: object, levels: int | None = None) -> None:
    """The type, and that the ranges are those of so many levels; None leaves their number open."""
    if not isinstance(rule, AssignRule):
        raise TypeError(f"rule: expected an AssignRule, got {type(rule).__name__}")
    if levels is not None and rule.regress_ranges is not None and len(rule.regress_ranges) != levels:
        raise ValueError(f"rule.regress_ranges: expected one pair per level, {levels}, got {len(rule.regress_ranges)}")


def check_positive_number(name: str, value: object) -> None:
    if not isinstance(value, _NUMBERS):
        raise TypeError(f"{name}: expected numbers, got {value!r}")
    if not SMALLEST_FLOAT32 <= value <= LARGEST_FLOAT32:
        raise ValueError(f"{name}: expected finite numbers above 0 that float32 can hold, got {value}")


def check_number(
    name: str, value: object, at_least: float = -LARGEST_FLOAT32, at_most: float = LARGEST_FLOAT32
) -> None:
    if not isinstance(value, _NUMBERS):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    if not at_least <= value <= at_most:
        raise ValueError(f"{name}: expected a number in [{at_least:g}, {at_most:g}], got {value}")


def check_offset(offset: object) -> None:
    if not isinstance(offset, _NUMBERS):
        raise TypeError(f"offset: expected a number, got {offset!r}")
    if not -LARGEST_FLOAT32 <= offset <= LARGEST_FLOAT32:
        raise ValueError(f"offset: expected a finite number that float32 can hold, got {offset}")


def check_valid_sizes(valid_sizes: Tensor, batch: int, boxes: Tensor) -> None:
    check_tensor("valid_sizes", valid_sizes)
    if valid_sizes.ndim != 2 or valid_sizes.shape[0] != batch or valid_sizes.shape[1] != 2:
        raise ValueError(f"valid_sizes: expected shape ({batch}, 2), h w, got {tuple(valid_sizes.shape)}")
    if valid_sizes.dtype not in SIZE_DTYPES:
        expected = ", ".join(str(dtype).removeprefix("torch.") for dtype in SIZE_DTYPES)
        raise TypeError(f"valid_sizes: expected one of the dtypes {expected}, got {valid_sizes.dtype}")
    if valid_sizes.device != boxes.device:
        raise ValueError(f"valid_sizes: expected device {boxes.device}, got {valid_sizes.device}")


def check_ignore(ignore_boxes: Tensor | None, ignore_offsets: Tensor | None, batch: int, boxes: Tensor) -> None:
    if ignore_boxes is None and ignore_offsets is None:
        return
    if ignore_boxes is None or ignore_offsets is None:
        given, missing = (
            ("ignore_offsets", "ignore_boxes") if ignore_boxes is None else ("ignore_boxes", "ignore_offsets")
        )
        raise ValueError(f"{missing}: expected a tensor, because {given} is given, got None")
    check_boxes("ignore_boxes", ignore_boxes)
    check_offsets("ignore_offsets", ignore_offsets, ignore_boxes)
    if ignore_boxes.device != boxes.device:
        raise ValueError(f"ignore_boxes: expected device {boxes.device}, got {ignore_boxes.device}")
    if ignore_offsets.shape[0] != batch + 1:
        raise ValueError(f"ignore_offsets: expected shape ({batch + 1},), got {tuple(ignore_offsets.shape)}")


def check_offset_values(name: str, offsets: Tensor, rows: int) -> None:
    """Needs the values, so it waits for the device: for ``validate=True`` alone."""
    values = offsets.tolist()
    if values[0] < 0 or values[-1] > rows or values != sorted(values):
        raise ValueError(f"{name}: expected rising values in [0, {rows}], the number of rows, got {values}")


def check_label_values(labels: Tensor) -> None:
    """Needs the values, so it waits for the device: for ``validate=True`` alone."""
    if labels.numel() and int(labels.min()) < 0:
        raise ValueError(f"labels: expected classes of 0 or more, got {int(labels.min())}")


def check_call(
    boxes: Tensor,
    labels: Tensor,
    offsets: Tensor,
    level_shapes: Sequence[tuple[int, int]],
    strides: Sequence[float],
    rule: AssignRule,
    offset: float | None,
    ignore_boxes: Tensor | None,
    ignore_offsets: Tensor | None,
    valid_sizes: Tensor | None,
) -> None:
    """Checks all of a call of ``assign`` that can be told without reading a tensor's values."""
    check_inputs(boxes, labels, offsets, level_shapes, strides, offset, ignore_boxes, ignore_offsets, valid_sizes)
    check_rule(rule, len(strides))


def check_inputs(
    boxes: Tensor,
    labels: Tensor,
    offsets: Tensor,
    level_shapes: Sequence[tuple[int, int]],
    strides: Sequence[float],
    offset: float | None,
    ignore_boxes: Tensor | None,
    ignore_offsets: Tensor | None,
    valid_sizes: Tensor | None,
) -> None:
    """The same without the rule: what the assigners of all families take."""
    check_boxes("boxes", boxes)
    check_labels("labels", labels, boxes)
    check_offsets("offsets", offsets, boxes)
    check_levels(level_shapes, strides)
    if offset is not None:
        check_offset(offset)
    batch = offsets.shape[0] - 1
    check_ignore(ignore_boxes, ignore_offsets, batch, boxes)
    if valid_sizes is not None:
        check_valid_sizes(valid_sizes, batch, boxes)


def check_values(
    boxes: Tensor, labels: Tensor, offsets: Tensor, ignore_boxes: Tensor | None, ignore_offsets: Tensor | None
) -> None:
    """Checks what only the values tell. This waits for the device."""
    check_offset_values("offsets", offsets, boxes.shape[0])
    check_label_values(labels)
    if ignore_boxes is not None and ignore_offsets is not None:
        check_offset_values("ignore_offsets", ignore_offsets, ignore_boxes.shape[0])
