"""The op: which ground truth each point of a feature pyramid learns, for a whole batch in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from . import _loader
from ._checks import check_call, check_tensor, check_values
from .rule import AssignRule

_DEFAULT_RULE = AssignRule()

_op = torch.ops.pseudo_iou_ops.assign.default
_op_out = torch.ops.pseudo_iou_ops.assign.out

# More offsets than this do not fit a launch's parameters: kMaxImagesByValue of csrc/core/assign_params.h.
_MAX_IMAGES_BY_VALUE = 1000

BACKGROUND = -1
"""What ``matched`` and ``labels`` hold at a point that belongs to no box: its class scores learn to be 0."""

IGNORED = -2
"""What ``matched`` and ``labels`` hold at a point that is neither a positive nor background: it counts in no loss."""

_INTEGER, _FLOAT = torch.int64, torch.float32
_OUTPUT_DTYPES = (_INTEGER, _INTEGER, _FLOAT, _FLOAT, _FLOAT, _INTEGER, _INTEGER)


class Assignment(NamedTuple):
    """What each point learns. Dense, on the inputs' device, without gradient.

    B images, P points (level-major, then row-major), M boxes in all. -1 is :data:`BACKGROUND`, -2
    :data:`IGNORED`.

    Attributes:
        matched: (B, P) int64, row of ``boxes`` in the packed batch, so that ``boxes[matched]`` gathers; -1, -2.
        labels: (B, P) int64, class of the matched box; -1, -2.
        ltrb: (B, P, 4) float32, distances to the matched box's left, top, right and bottom side, in pixels, or
            in strides with ``normalize_by_stride``; 0 where not positive.
        pseudo_iou: (B, P) float32, Pseudo-IoU with the matched box; 0 where not positive.
        centerness: (B, P) float32, centerness in the matched box; 0 where not positive.
        num_pos: (B,) int64, positives per image.
        pos_per_box: (M,) int64, positives per box: 0 tells a box with no positive point.

    Examples:
        >>> import torch
        >>> from pseudo_iou_ops import assign
        >>> boxes, labels, offsets = torch.tensor([[0.0, 0.0, 24.0, 24.0]]), torch.tensor([7]), torch.tensor([0, 1])
        >>> result = assign(boxes, labels, offsets, level_shapes=[(3, 3)], strides=[8])
        >>> boxes[result.matched[result.matched >= 0]]  # the box of each positive point
        tensor([[ 0.,  0., 24., 24.],
                [ 0.,  0., 24., 24.],
                [ 0.,  0., 24., 24.],
                [ 0.,  0., 24., 24.],
                [ 0.,  0., 24., 24.]])
        >>> result.num_pos, result.pos_per_box
        (tensor([5]), tensor([5]))
    """

    matched: Tensor
    labels: Tensor
    ltrb: Tensor
    pseudo_iou: Tensor
    centerness: Tensor
    num_pos: Tensor
    pos_per_box: Tensor


def assign(
    boxes: Tensor,
    labels: Tensor,
    offsets: Tensor,
    level_shapes: Sequence[tuple[int, int]],
    strides: Sequence[float],
    rule: AssignRule = _DEFAULT_RULE,
    *,
    offset: float | None = None,
    ignore_boxes: Tensor | None = None,
    ignore_offsets: Tensor | None = None,
    valid_sizes: Tensor | None = None,
    out: Assignment | None = None,
    validate: bool = False,
) -> Assignment:
    """Assign the ground truths of a batch to the points of its feature pyramid.

    One pass over all levels and images; on CUDA one kernel launch. Nothing is read back by the host, scratch
    memory does not grow with points times boxes, and the result has the same bits on CPU, CUDA and
    :func:`pseudo_iou_ops.reference.assign`.

    Args:
        boxes: (M, 4) floating, ground truths as x1 y1 x2 y2 in input-image pixels, all images one after another.
            Zero-area, inverted, NaN and infinite boxes are never matched. Widened or rounded to float32.
        labels: (M,) int64, classes 0..C-1 (there is no background class), on the boxes' device.
        offsets: (B+1,) int64, image b owns the rows ``offsets[b]:offsets[b+1]``. On the boxes' device, so that a
            captured CUDA graph replays with new counts, or on the CPU. Malformed values are clamped.
        level_shapes: L times (H, W), in cells.
        strides: L strides in pixels.
        rule: the switches; see :class:`AssignRule` and :mod:`pseudo_iou_ops.presets`.
        offset: where a point lies in its cell, x = (j + offset) * stride; None takes the rule's, 0.5 by default.
        ignore_boxes: (K, 4) floating, crowd or difficult regions, packed likewise: a point strictly inside one
            that is not positive is ignored.
        ignore_offsets: (B+1,) int64 of the ignore boxes.
        valid_sizes: (B, 2) height and width of each image before padding: points at or beyond them are ignored.
        out: an earlier result of the same shapes to write into; it is returned. On CUDA its ``ltrb`` must begin on a
            multiple of 16 bytes, as torch allocates it. Its fields share no memory with each other or with an input.
        validate: check the values of offsets and labels too. This waits for the device.

    Returns:
        The :class:`Assignment`.

    Raises:
        ValueError: a shape, device, length or value is wrong.
        TypeError: a type or dtype is wrong.
        RuntimeError: the boxes are on a device this install has no kernels for, ``out.ltrb`` is not aligned, or two
            fields of ``out`` share memory.

    Examples:
        >>> import torch
        >>> from pseudo_iou_ops import assign
        >>> boxes, labels = torch.tensor([[0.0, 0.0, 24.0, 24.0]]), torch.tensor([7])
        >>> offsets = torch.tensor([0, 1])  # the only image owns row 0
        >>> result = assign(boxes, labels, offsets, level_shapes=[(3, 3)], strides=[8])
        >>> result.labels.view(3, 3)  # the corners have a Pseudo-IoU of 0.29, below the default threshold of 0.4
        tensor([[-1,  7, -1],
                [ 7,  7,  7],
                [-1,  7, -1]])
    """
    check_call(boxes, labels, offsets, level_shapes, strides, rule, offset, ignore_boxes, ignore_offsets, valid_sizes)
    if validate:
        check_values(boxes, labels, offsets, ignore_boxes, ignore_offsets)
    if not boxes.is_cpu:
        _loader.require_kernels(boxes.device)
    batch = offsets.shape[0] - 1
    arguments = (
        as_float32(boxes),
        labels.contiguous(),
        reachable_offsets(offsets, boxes),
        [side for shape in level_shapes for side in shape],
        strides,
        rule.offset if offset is None else offset,
        *rule.op_arguments,
        None if ignore_boxes is None else as_float32(ignore_boxes),
        None if ignore_offsets is None else reachable_offsets(ignore_offsets, boxes),
        None if valid_sizes is None else as_float32(valid_sizes),
    )
    if out is not None:
        check_out(out, boxes, batch, level_shapes)
        _op_out(*arguments, *out)
        return out
    result = _op(*arguments)
    matched, matched_labels, ltrb, pseudo_iou, centerness, counts = result
    num_pos, pos_per_box = counts.split_with_sizes((batch, boxes.shape[0]))
    return Assignment(matched, matched_labels, ltrb, pseudo_iou, centerness, num_pos, pos_per_box)


def check_out(out: Assignment, boxes: Tensor, batch: int, level_shapes: Sequence[tuple[int, int]]) -> None:
    """``out`` must be what this call would have returned."""
    if not isinstance(out, Assignment):
        raise TypeError(f"out: expected an Assignment, got {type(out).__name__}")
    check_result(Assignment._fields, out, boxes, batch, level_shapes)


def check_result(
    names: Sequence[str],
    out: Sequence[Tensor],
    boxes: Tensor,
    batch: int,
    level_shapes: Sequence[tuple[int, int]],
) -> None:
    """Shapes, dtypes and devices of a result's fields; those of both families follow each other alike."""
    device = boxes.device
    points = sum(height * width for height, width in level_shapes)
    dense = (batch, points)
    shapes = (dense, dense, (batch, points, 4), dense, dense, (batch,), (boxes.shape[0],))
    for name, tensor, shape, dtype in zip(names, out, shapes, _OUTPUT_DTYPES, strict=True):
        check_tensor(f"out.{name}", tensor)
        if tensor.shape != shape:
            raise ValueError(f"out.{name}: expected shape {shape}, got {tuple(tensor.shape)}")
        if tensor.dtype != dtype:
            raise TypeError(f"out.{name}: expected dtype {dtype}, got {tensor.dtype}")
        if tensor.device != device:
            raise ValueError(f"out.{name}: expected device {device}, got {tensor.device}")
        if not tensor.is_contiguous():
            raise ValueError(f"out.{name}: expected a contiguous tensor, got strides {tensor.stride()}")


def as_float32(tensor: Tensor) -> Tensor:
    if tensor.requires_grad:
        tensor = tensor.detach()
    if tensor.dtype != torch.float32:
        tensor = tensor.to(torch.float32)
    return tensor.contiguous()


def reachable_offsets(offsets: Tensor, boxes: Tensor) -> Tensor:
    """CPU offsets travel by value; more than fit are copied without waiting."""
    if boxes.is_cuda and offsets.is_cpu and offsets.shape[0] - 1 > _MAX_IMAGES_BY_VALUE:
        if torch.cuda.is_current_stream_capturing():  # a replay would read the copy's source again, long since freed
            raise ValueError(
                f"offsets: expected a CUDA tensor for more than {_MAX_IMAGES_BY_VALUE} images "
                "while a CUDA graph is captured, got a CPU tensor"
            )
        return offsets.contiguous().pin_memory().to(boxes.device, non_blocking=True)
    return offsets.contiguous()
