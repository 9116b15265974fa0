"""The op where boxes choose points: the best points of each box, then one box a point, in one call for a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import _loader
from ._checks import check_inputs, check_values
from ._predictions import BoxFormat, ScoreKind, as_objectness, as_predictions, refuse_predictions
from .assignment import as_float32, check_result, reachable_offsets
from .top_k_rules import ATSS_METRICS, TASK_ALIGNED_AMONG, Atss, SimOta, TaskAligned, TopKRule

_atss = torch.ops.pseudo_iou_ops.assign_atss
_task_aligned = torch.ops.pseudo_iou_ops.assign_task_aligned
_sim_ota = torch.ops.pseudo_iou_ops.assign_sim_ota
_soft_label = torch.ops.pseudo_iou_ops.assign_soft_label


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
    """Let each ground truth of a batch choose its points, and give a point that several chose to one of them.

    One call for all levels and images; on CUDA three kernel launches for an :class:`Atss`, five for a rule that reads
    predictions, and a sixth for the ``keep`` of a :class:`TaskAligned`. Scratch memory never grows with points times
    boxes, nothing is read back by the host, and the result has the same bits on CPU, CUDA and
    :func:`pseudo_iou_ops.reference_top_k.assign_top_k`. The contract's chapter "Boxes choose points" defines it.

    Args:
        boxes: (M, 4) floating, ground truths as x1 y1 x2 y2 in input-image pixels, all images one after another.
            Zero-area, inverted, NaN and infinite boxes choose nothing. Widened or rounded to float32.
        labels: (M,) int64, classes 0..C-1 (there is no background class), on the boxes' device.
        offsets: (B+1,) int64, image b owns the rows ``offsets[b]:offsets[b+1]``; on the boxes' device or on the CPU.
        level_shapes: L times (H, W), in cells.
        strides: L strides in pixels.
        rule: how boxes choose: an :class:`Atss`; or a :class:`TaskAligned`, :class:`SimOta` or :class:`SoftLabel`,
            which read predictions; see :mod:`pseudo_iou_ops.presets`.
        pred_boxes: floating, the boxes that a head predicts, as it leaves them: (B, P, 4), or L times (B, 4, H, W) or
            (B, H * W, 4). Not for an ``Atss``. Read in place if dense; without gradient.
        scores: floating, its class scores: (B, P, C), or L times (B, C, H, W) or (B, H * W, C). Not for an ``Atss``.
            A class that the head does not have scores 0.
        objectness: floating, its scores of any object: (B, P), or L times (B, 1, H, W) or (B, H * W); None of a head
            without them. For a ``SimOta`` alone.
        box_format: ``xyxy``, corners in pixels, or ``ltrb``, distances from the point in pixels.
        score_kind: ``logits`` or ``probabilities``, which are clamped to [0, 1]; of scores and objectness. A
            ``SoftLabel`` reads logits alone, and clamps them to [-100, 100].
        offset: where a point lies in its cell, x = (j + offset) * stride; None takes the rule's.
        ignore_boxes: (K, 4) floating, crowd or difficult regions, packed likewise: a point strictly inside one that is
            not positive is ignored.
        ignore_offsets: (B+1,) int64 of the ignore boxes.
        valid_sizes: (B, 2) height and width of each image before padding: points at or beyond them are ignored, and no
            box chooses them.
        out: an earlier result of the same shapes to write into; it is returned. On CUDA its ``ltrb`` must begin on a
            multiple of 16 bytes, as torch allocates it. Its fields share no memory with each other or with an input.
        validate: check the values of offsets and labels too. This waits for the device.

    Returns:
        The :class:`TopKAssignment`.

    Raises:
        ValueError: a shape, device, length or value is wrong.
        TypeError: a type or dtype is wrong.
        RuntimeError: the boxes are on a device this install has no kernels for, ``out.ltrb`` is not aligned, two
            fields of ``out`` share memory, or a rule that reads predictions meets more than 2^30 points an image on
            CUDA.

    Examples:
        >>> import torch
        >>> from pseudo_iou_ops import assign_top_k, presets
        >>> boxes, labels = torch.tensor([[0.0, 0.0, 24.0, 24.0]]), torch.tensor([7])
        >>> offsets = torch.tensor([0, 1])  # the only image owns row 0
        >>> result = assign_top_k(boxes, labels, offsets, [(3, 3)], [8], presets.pseudo_iou_atss)
        >>> result.labels.view(3, 3)  # the center stands out from the other eight points
        tensor([[-1, -1, -1],
                [-1,  7, -1],
                [-1, -1, -1]])
    """
    check_inputs(boxes, labels, offsets, level_shapes, strides, offset, ignore_boxes, ignore_offsets, valid_sizes)
    check_top_k_rule(rule)
    if validate:
        check_values(boxes, labels, offsets, ignore_boxes, ignore_offsets)
    if not boxes.is_cpu:
        _loader.require_kernels(boxes.device)
    batch = offsets.shape[0] - 1
    arguments: tuple[Any, ...] = (
        as_float32(boxes),
        labels.contiguous(),
        reachable_offsets(offsets, boxes),
        [side for shape in level_shapes for side in shape],
        strides,
        rule.offset if offset is None else offset,
        None if ignore_boxes is None else as_float32(ignore_boxes),
        None if ignore_offsets is None else reachable_offsets(ignore_offsets, boxes),
        None if valid_sizes is None else as_float32(valid_sizes),
    )
    given = (pred_boxes, scores, objectness, box_format, score_kind)
    op, of_rule = _call_of(rule, given, boxes, batch, level_shapes)
    arguments += of_rule
    if out is not None:
        check_top_k_out(out, boxes, batch, level_shapes)
        op.out(*arguments, *out)
        return out
    return TopKAssignment(*op.default(*arguments))


def _call_of(
    rule: TopKRule, given: tuple[Any, ...], boxes: Tensor, batch: int, level_shapes: Sequence[tuple[int, int]]
) -> tuple[Any, tuple[Any, ...]]:
    """The op of a rule, and its arguments from the predictions on, which are checked here."""
    pred_boxes, scores, objectness, box_format, score_kind = given
    if not isinstance(rule, SimOta):
        refuse_predictions(rule, objectness=objectness)
    if isinstance(rule, Atss):
        refuse_predictions(rule, pred_boxes=pred_boxes, scores=scores)
        return _atss, _of_atss(rule)
    predictions = as_predictions(pred_boxes, scores, box_format, score_kind, rule, boxes, batch, level_shapes)
    if isinstance(rule, TaskAligned):
        return _task_aligned, (*predictions, *_of_task_aligned(rule))
    if isinstance(rule, SimOta):
        return _sim_ota, (*predictions, as_objectness(objectness, boxes, batch, level_shapes), *_of_sim_ota(rule))
    of_rule = (rule.radius, rule.top_ious, rule.iou_weight, rule.eps)
    return _soft_label, (predictions.boxes, predictions.scores, predictions.boxes_are_ltrb, *of_rule)


def _of_atss(rule: Atss) -> tuple[Any, ...]:
    metric, all_compete = ATSS_METRICS.index(rule.metric), rule.among == "all"
    return rule.k, metric, rule.anchor_scale, rule.inclusive, rule.inside_margin, all_compete


def _of_task_aligned(rule: TaskAligned) -> tuple[Any, ...]:
    among, keep = TASK_ALIGNED_AMONG.index(rule.among), rule.keep or 0
    choice = (rule.k, rule.alpha, rule.beta, rule.iou == "ciou", rule.candidates == "all")
    return (*choice, rule.inside_margin, rule.min_side, among, keep, rule.eps)


def _of_sim_ota(rule: SimOta) -> tuple[Any, ...]:
    return rule.radius, rule.region == "center", rule.top_ious, rule.iou_weight, rule.cls_weight, rule.eps


def check_top_k_rule(rule: object) -> None:
    if not isinstance(rule, TopKRule):
        raise TypeError(f"rule: expected an Atss, TaskAligned, SimOta or SoftLabel, got {type(rule).__name__}")


def check_top_k_out(out: TopKAssignment, boxes: Tensor, batch: int, level_shapes: Sequence[tuple[int, int]]) -> None:
    """``out`` must be what this call would have returned."""
    if not isinstance(out, TopKAssignment):
        raise TypeError(f"out: expected a TopKAssignment, got {type(out).__name__}")
    check_result(TopKAssignment._fields, out, boxes, batch, level_shapes)
