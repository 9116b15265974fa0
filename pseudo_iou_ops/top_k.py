"""The op where boxes choose points: the best points of each box, then one box a point, in one call for a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import Tensor

from . import _loader
from ._checks import check_call, check_values
from .top_k_rules import TopKRule

BoxFormat = Literal["xyxy", "ltrb"]
ScoreKind = Literal["logits", "probabilities"]


class TopKAssignment(NamedTuple):
    """What each point learns. Dense, on the inputs' device, without gradient.

    B images, P points (level-major, then row-major), M boxes in all. -1 is :data:`BACKGROUND`, -2 :data:`IGNORED`.

    Attributes:
        matched: (B, P) int64, row of ``boxes`` in the packed batch, so that ``boxes[matched]`` gathers; -1, -2.
        labels: (B, P) int64, class of the matched box; -1, -2.
        ltrb: (B, P, 4) float32, distances in pixels to the matched box's left, top, right and bottom side; 0 where not
            positive.
        iou: (B, P) float32, what the point and its box were judged by: IoU or CIoU of the predicted box,
            :class:`Atss`'s metric; 0 where not positive.
        score: (B, P) float32 in [0, 1], the soft target of the class; 0 where not positive.
        num_pos: (B,) int64, positives per image.
        pos_per_box: (M,) int64, positives per box: 0 tells a box with no positive point.

    Examples:
        >>> import torch
        >>> from pseudo_iou_ops import assign_top_k, presets
        >>> boxes, labels, offsets = torch.tensor([[0.0, 0.0, 24.0, 24.0]]), torch.tensor([7]), torch.tensor([0, 1])
        >>> result = assign_top_k(boxes, labels, offsets, [(3, 3)], [8], presets.pseudo_iou_atss)
        >>> result.num_pos, result.pos_per_box
        (tensor([1]), tensor([1]))
    """

    matched: Tensor
    labels: Tensor
    ltrb: Tensor
    iou: Tensor
    score: Tensor
    num_pos: Tensor
    pos_per_box: Tensor


def assign_top_k(
    boxes: Tensor,
    labels: Tensor,
    offsets: Tensor,
    level_shapes: Sequence[tuple[int, int]],
    strides: Sequence[float],
    rule: TopKRule,
    *,
    pred_boxes: Tensor | Sequence[Tensor] | None = None,
    scores: Tensor | Sequence[Tensor] | None = None,
    objectness: Tensor | Sequence[Tensor] | None = None,
    box_format: BoxFormat = "xyxy",
    score_kind: ScoreKind = "logits",
    offset: float | None = None,
    ignore_boxes: Tensor | None = None,
    ignore_offsets: Tensor | None = None,
    valid_sizes: Tensor | None = None,
    out: TopKAssignment | None = None,
    validate: bool = False,
) -> TopKAssignment:
    """Let each ground truth of a batch choose its points, and give a point that several chose to one of them."""
    from . import reference_top_k

    check_call(boxes, labels, offsets, level_shapes, strides, None, offset, ignore_boxes, ignore_offsets, valid_sizes)
    if validate:
        check_values(boxes, labels, offsets, ignore_boxes, ignore_offsets)
    if not boxes.is_cpu:
        _loader.require_kernels(boxes.device)
    return reference_top_k.assign_top_k(
        boxes,
        labels,
        offsets,
        level_shapes,
        strides,
        rule,
        pred_boxes=pred_boxes,
        scores=scores,
        objectness=objectness,
        box_format=box_format,
        score_kind=score_kind,
        offset=offset,
        ignore_boxes=ignore_boxes,
        ignore_offsets=ignore_offsets,
        valid_sizes=valid_sizes,
        out=out,
        validate=validate,
    )
