"""What torch needs to know about the ops beside their kernels: the metadata of their outputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from . import _loader as _loader  # defines the ops


@torch.library.register_fake("pseudo_iou_ops::assign")
def _assign(
    boxes: Tensor, labels: Tensor, offsets: Tensor, level_shapes: Sequence[int], *_: object
) -> tuple[Tensor, ...]:
    batch = offsets.shape[0] - 1
    points = sum(h * w for h, w in zip(level_shapes[::2], level_shapes[1::2], strict=True))
    return (
        boxes.new_empty(batch, points, dtype=torch.int64),
        boxes.new_empty(batch, points, dtype=torch.int64),
        boxes.new_empty(batch, points, 4),
        boxes.new_empty(batch, points),
        boxes.new_empty(batch, points),
        boxes.new_empty(batch + boxes.shape[0], dtype=torch.int64),
    )


@torch.library.register_fake("pseudo_iou_ops::assign.out")
def _assign_out(*_: object) -> None:
    """Writes into its last seven arguments and returns nothing."""


@torch.library.register_fake("pseudo_iou_ops::assign_atss")
def _assign_atss(
    boxes: Tensor, labels: Tensor, offsets: Tensor, level_shapes: Sequence[int], *_: object
) -> tuple[Tensor, ...]:
    matched, matched_labels, ltrb, iou, score, _ = _assign(boxes, labels, offsets, level_shapes)
    num_pos = boxes.new_empty(offsets.shape[0] - 1, dtype=torch.int64)
    return matched, matched_labels, ltrb, iou, score, num_pos, boxes.new_empty(boxes.shape[0], dtype=torch.int64)


@torch.library.register_fake("pseudo_iou_ops::assign_atss.out")
def _assign_atss_out(*_: object) -> None:
    """Writes into its last seven arguments and returns nothing."""


for _name in ("assign_task_aligned", "assign_sim_ota", "assign_soft_label"):
    torch.library.register_fake(f"pseudo_iou_ops::{_name}", _assign_atss)
    torch.library.register_fake(f"pseudo_iou_ops::{_name}.out", _assign_atss_out)


@torch.library.register_fake("pseudo_iou_ops::class_loss")
def _class_loss(logits: Sequence[Tensor], *arguments: object) -> tuple[Tensor, list[Tensor]]:
    return _loss_and_gradients(logits, with_gradients=bool(arguments[-1]))


@torch.library.register_fake("pseudo_iou_ops::ltrb_loss")
def _ltrb_loss(predictions: Sequence[Tensor], *arguments: object) -> tuple[Tensor, list[Tensor]]:
    return _loss_and_gradients(predictions, with_gradients=bool(arguments[-1]))


@torch.library.register_fake("pseudo_iou_ops::decode_topk")
def _decode_topk(
    logits: Sequence[Tensor],
    ltrb: Sequence[Tensor],
    centerness: Sequence[Tensor],
    points: Tensor,
    score_threshold: float,
    k: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    images, levels = logits[0].shape[0], len(logits)
    return (
        points.new_empty(images, levels * k, 4),
        points.new_empty(images, levels * k),
        points.new_empty(images, levels * k, dtype=torch.int64),
        points.new_empty(images, levels, dtype=torch.int64),
    )


@torch.library.register_fake("pseudo_iou_ops::scale_")
def _scale(tensors: Sequence[Tensor], factor: Tensor) -> None:
    """Writes into its first argument and returns nothing."""


def _loss_and_gradients(inputs: Sequence[Tensor], with_gradients: bool) -> tuple[Tensor, list[Tensor]]:
    loss = inputs[0].new_empty((), dtype=torch.float64 if inputs[0].dtype == torch.float64 else torch.float32)
    return loss, [t.new_empty_strided(t.shape, t.stride()) for t in inputs] if with_gradients else []
