"""From the layouts detectors hold their ground truths in to the packed one the op takes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ._checks import check_boxes, check_labels, check_list, check_tensor


def pack_boxes(boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Pack one tensor per image (torchvision, mmdetection, detectron2).

    Args:
        boxes: B times (M_b, 4) floating, x1 y1 x2 y2 in pixels; an image without boxes has (0, 4).
        labels: B times (M_b,) int64, 0..C-1.

    Returns:
        boxes (M, 4), labels (M,), and offsets (B+1,) int64 on the CPU, M = sum(M_b). CPU offsets travel with the
        launch by value: nothing is copied to the device or waited for.

    Raises:
        ValueError: the numbers of images or of rows differ, or a shape or device is wrong.
        TypeError: an argument is not a sequence of tensors of the right dtype.

    Examples:
        >>> import torch
        >>> from pseudo_iou_ops import pack_boxes
        >>> boxes = [torch.rand(2, 4), torch.zeros(0, 4), torch.rand(1, 4)]  # three images
        >>> labels = [torch.tensor([7, 3]), torch.zeros(0, dtype=torch.int64), torch.tensor([5])]
        >>> packed, labels, offsets = pack_boxes(boxes, labels)
        >>> packed.shape, labels, offsets
        (torch.Size([3, 4]), tensor([7, 3, 5]), tensor([0, 2, 2, 3]))
    """
    packed, offsets = pack_one("boxes", boxes)
    check_list("labels", labels)
    if len(boxes) != len(labels):
        raise ValueError(f"labels: expected one tensor per image, {len(boxes)}, got {len(labels)}")
    for image, (image_boxes, image_labels) in enumerate(zip(boxes, labels, strict=True)):
        check_labels(f"labels[{image}]", image_labels, image_boxes)
    if not labels:
        return packed, torch.zeros(0, dtype=torch.int64), offsets
    return packed, torch.cat(tuple(labels)), offsets


def pack_one(name: str, boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Pack boxes without labels: (M, 4), and offsets (B+1,) int64 on the CPU; `name` is for the errors."""
    check_list(name, boxes)
    offsets = [0]
    for image, image_boxes in enumerate(boxes):
        check_boxes(f"{name}[{image}]", image_boxes)
        if image_boxes.device != boxes[0].device:
            raise ValueError(
                f"{name}[{image}]: expected device {boxes[0].device}, that of {name}[0], got {image_boxes.device}"
            )
        offsets.append(offsets[-1] + image_boxes.shape[0])
    packed = torch.cat(tuple(boxes)) if boxes else torch.zeros(0, 4)
    return packed, torch.tensor(offsets, dtype=torch.int64)


def pack_padded(boxes: Tensor, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pack a padded batch with its mask (the YOLO family), without a host synchronisation.

    The padded layout is kept, so shapes are static: row ``b * G + g`` is box g of image b, and
    ``matched - offsets[b]`` indexes the padded boxes of image b. Masked-out rows become boxes without area, which
    are never matched; what they hold is not read.

    Args:
        boxes: (B, G, 4) floating, x1 y1 x2 y2 in pixels.
        labels: (B, G) or (B, G, 1) int64, 0..C-1.
        mask: (B, G) or (B, G, 1) bool, True for a real box. Other dtypes: nonzero is True.

    Returns:
        boxes (B * G, 4), labels (B * G,), offsets (B+1,) int64 on the CPU.

    Raises:
        ValueError: a shape or device is wrong.
        TypeError: an argument is not a tensor of the right dtype.

    Examples:
        >>> import torch
        >>> from pseudo_iou_ops import pack_padded
        >>> boxes = torch.tensor([[[0.0, 0.0, 24.0, 24.0], [9.0, 9.0, 9.0, 9.0]]])  # one image, two rows
        >>> packed, labels, offsets = pack_padded(boxes, torch.tensor([[7, 0]]), torch.tensor([[True, False]]))
        >>> packed, offsets
        (tensor([[ 0.,  0., 24., 24.],
                [ 0.,  0.,  0.,  0.]]), tensor([0, 2]))
    """
    check_tensor("boxes", boxes)
    if boxes.ndim != 3 or boxes.shape[-1] != 4:
        raise ValueError(f"boxes: expected shape (B, G, 4), got {tuple(boxes.shape)}")
    batch, padded = boxes.shape[:2]
    flat_boxes = boxes.reshape(-1, 4)
    check_boxes("boxes", flat_boxes)
    flat_labels = _flat("labels", labels, boxes)
    check_labels("labels", flat_labels, flat_boxes)
    is_real = _flat("mask", mask, boxes).to(torch.bool)
    kept = torch.where(is_real[:, None], flat_boxes, torch.zeros_like(flat_boxes))
    return kept, flat_labels, torch.arange(batch + 1, dtype=torch.int64) * padded


def as_packed(
    boxes: Tensor | Sequence[Tensor],
    labels: Tensor | Sequence[Tensor],
    offsets: Tensor | None,
    ignore_boxes: Tensor | Sequence[Tensor] | None,
    ignore_offsets: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """Pack what an assigner is called with, lists per image or tensors that are packed already."""
    if not isinstance(boxes, Tensor):
        if offsets is not None:
            raise ValueError("offsets: expected None with lists per image, got a tensor")
        if isinstance(labels, Tensor):
            raise TypeError("labels: expected a list of tensors like boxes, got a tensor")
        boxes, labels, offsets = pack_boxes(boxes, labels)
    elif offsets is None:
        raise ValueError("offsets: expected a tensor, because the boxes are packed, got None")
    if ignore_boxes is not None and not isinstance(ignore_boxes, Tensor):
        if ignore_offsets is not None:
            raise ValueError("ignore_offsets: expected None with lists per image, got a tensor")
        check_list("ignore_boxes", ignore_boxes)
        batch = offsets.shape[0] - 1 if isinstance(offsets, Tensor) and offsets.ndim == 1 else len(ignore_boxes)
        if len(ignore_boxes) != batch:
            raise ValueError(f"ignore_boxes: expected {batch} tensors, one per image, got {len(ignore_boxes)}")
        ignore_boxes, ignore_offsets = pack_one("ignore_boxes", ignore_boxes)
    return boxes, labels, offsets, ignore_boxes, ignore_offsets  # type: ignore[return-value]  # the op checks the labels


def _flat(name: str, tensor: Tensor, boxes: Tensor) -> Tensor:
    check_tensor(name, tensor)
    shape = tuple(boxes.shape[:2])
    if tuple(tensor.shape) not in (shape, (*shape, 1)):
        raise ValueError(f"{name}: expected shape {shape} or {(*shape, 1)}, got {tuple(tensor.shape)}")
    if tensor.device != boxes.device:
        raise ValueError(f"{name}: expected device {boxes.device}, got {tensor.device}")
    return tensor.reshape(-1)
