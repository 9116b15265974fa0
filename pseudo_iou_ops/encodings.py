"""From the result of any assigner to the encodings other detectors expect.

None of them waits for the device. -1 is background and -2 ignored on our side; each docstring says what they
become.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .assignment import BACKGROUND, IGNORED
from .protocols import AssignmentLike


def to_torchvision(assignment: AssignmentLike, offsets: Tensor) -> Tensor:
    """torchvision's ``matched_idxs``: the row within the image, -1 background, -2 ignored.

    (RetinaNet's loss leaves -2 out as "between thresholds"; FCOS's treats every negative value as background.)

    Args:
        assignment: a result of B images, of any assigner.
        offsets: (B+1,) int64, the offsets it was made with.

    Returns:
        (B, P) int64; one row is what ``compute_loss`` wants for one image.

    Examples:
        >>> import torch
        >>> from pseudo_iou_ops import assign, to_torchvision
        >>> boxes, labels, offsets = torch.tensor([[0.0, 0.0, 24.0, 24.0]]), torch.tensor([7]), torch.tensor([0, 1])
        >>> result = assign(boxes, labels, offsets, level_shapes=[(3, 3)], strides=[8])
        >>> to_torchvision(result, offsets)
        tensor([[-1,  0, -1,  0,  0,  0, -1,  0, -1]])
    """
    return _rows_within_image(assignment, offsets)


def to_class_labels(assignment: AssignmentLike, num_classes: int, ignore_label: int = -1) -> Tensor:
    """detectron2's and mmdetection's labels: 0..C-1, background = C, ignored = -1.

    Args:
        assignment: a result of B images, of any assigner.
        num_classes: C.
        ignore_label: what an ignored point becomes; -1 in both projects.

    Returns:
        (B, P) int64.

    Examples:
        >>> import torch
        >>> from pseudo_iou_ops import assign, to_class_labels
        >>> boxes, labels, offsets = torch.tensor([[0.0, 0.0, 24.0, 24.0]]), torch.tensor([7]), torch.tensor([0, 1])
        >>> result = assign(boxes, labels, offsets, level_shapes=[(3, 3)], strides=[8])
        >>> to_class_labels(result, num_classes=80)
        tensor([[80,  7, 80,  7,  7,  7, 80,  7, 80]])
    """
    labels = torch.where(assignment.labels == BACKGROUND, num_classes, assignment.labels)
    return torch.where(assignment.labels == IGNORED, ignore_label, labels)


def to_mmdetection(assignment: AssignmentLike, offsets: Tensor) -> Tensor:
    """mmdetection's ``AssignResult.gt_inds``: 1-based row within the image, 0 background, -1 ignored.

    Args:
        assignment: a result of B images, of any assigner.
        offsets: (B+1,) int64, the offsets it was made with.

    Returns:
        (B, P) int64.

    Examples:
        >>> import torch
        >>> from pseudo_iou_ops import assign, to_mmdetection
        >>> boxes, labels, offsets = torch.tensor([[0.0, 0.0, 24.0, 24.0]]), torch.tensor([7]), torch.tensor([0, 1])
        >>> result = assign(boxes, labels, offsets, level_shapes=[(3, 3)], strides=[8])
        >>> to_mmdetection(result, offsets)
        tensor([[0, 1, 0, 1, 1, 1, 0, 1, 0]])
    """
    return _rows_within_image(assignment, offsets) + 1


class YoloTargets(NamedTuple):
    """What the assigners of the YOLO family return.

    Attributes:
        labels: (B, P) int64, class of the matched box, C where not positive.
        boxes: (B, P, 4) float32, x1 y1 x2 y2 of the matched box, 0 where not positive.
        scores: (B, P, C) float32, ``quality`` of the match at its class, 0 elsewhere.
        foreground: (B, P) bool.
        gt_index: (B, P) int64, row within the image (of the padded boxes, if packed by ``pack_padded``), 0 where
            not positive.

    Examples:
        >>> import torch
        >>> from pseudo_iou_ops import assign, to_yolo
        >>> boxes, labels, offsets = torch.tensor([[0.0, 0.0, 24.0, 24.0]]), torch.tensor([7]), torch.tensor([0, 1])
        >>> result = assign(boxes, labels, offsets, level_shapes=[(3, 3)], strides=[8])
        >>> to_yolo(result, boxes, offsets, num_classes=80).foreground.view(3, 3)
        tensor([[False,  True, False],
                [ True,  True,  True],
                [False,  True, False]])
    """

    labels: Tensor
    boxes: Tensor
    scores: Tensor
    foreground: Tensor
    gt_index: Tensor


def to_yolo(
    assignment: AssignmentLike, boxes: Tensor, offsets: Tensor, num_classes: int, quality: Tensor | None = None
) -> YoloTargets:
    """The tuple the YOLO family's losses take. They have no ignored points: these come out as background.

    Args:
        assignment: a result of B images, of any assigner.
        boxes: (M, 4) floating, the packed boxes it was made with.
        offsets: (B+1,) int64, the offsets it was made with.
        num_classes: C.
        quality: (B, P) floating, the soft target of a match, such as ``assignment.pseudo_iou`` or the ``score`` of
            :func:`assign_top_k`; 1 if None.

    Returns:
        The :class:`YoloTargets`.

    Examples:
        >>> import torch
        >>> from pseudo_iou_ops import assign, to_yolo
        >>> boxes, labels, offsets = torch.tensor([[0.0, 0.0, 24.0, 24.0]]), torch.tensor([7]), torch.tensor([0, 1])
        >>> result = assign(boxes, labels, offsets, level_shapes=[(3, 3)], strides=[8])
        >>> targets = to_yolo(result, boxes, offsets, num_classes=80, quality=result.pseudo_iou)
        >>> targets.scores[..., 7].view(3, 3)
        tensor([[0.0000, 0.5000, 0.0000],
                [0.5000, 1.0000, 0.5000],
                [0.0000, 0.5000, 0.0000]])
    """
    foreground = assignment.matched >= 0
    labels = torch.where(foreground, assignment.labels, num_classes)
    score = foreground.to(torch.float32) if quality is None else quality * foreground
    one_hot = labels[..., None] == torch.arange(num_classes, device=labels.device)
    return YoloTargets(
        labels=labels,
        boxes=matched_boxes(assignment, boxes),
        scores=one_hot * score[..., None],
        foreground=foreground,
        gt_index=_rows_within_image(assignment, offsets).clamp(min=0),
    )


def matched_boxes(assignment: AssignmentLike, boxes: Tensor) -> Tensor:
    """(B, P, 4) float32, the matched box of each point, of the packed (M, 4) ``boxes``; 0 where not positive."""
    rows, foreground = assignment.matched.clamp(min=0), (assignment.matched >= 0).unsqueeze(-1)
    if not boxes.shape[0]:
        return boxes.new_zeros(*rows.shape, 4, dtype=torch.float32)
    return torch.where(foreground, boxes.to(torch.float32)[rows], 0.0)


def _rows_within_image(assignment: AssignmentLike, offsets: Tensor) -> Tensor:
    first_rows = offsets[:-1, None].to(assignment.matched.device, non_blocking=True)
    return torch.where(assignment.matched >= 0, assignment.matched - first_rows, assignment.matched)
