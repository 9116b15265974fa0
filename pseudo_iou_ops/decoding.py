"""From a head's predictions to the candidates for non-maximum suppression, of fixed sizes: nothing waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from . import _checks, _head_levels
from . import _reference_exact as exact

_op = torch.ops.pseudo_iou_ops.decode_topk.default


class TopK(NamedTuple):
    """The best candidates of B images, k of each of L levels, the levels one after another, each best first.

    Attributes:
        boxes: (B, L * k, 4) float32, x1 y1 x2 y2 in pixels, not clipped; 0 where there is no candidate.
        scores: (B, L * k) float32; 0 where there is none.
        labels: (B, L * k) int64, 0..C-1; -1 where there is none.
        counts: (B, L) int64, how many candidates there are.

    Examples:
        >>> import torch
        >>> from pseudo_iou_ops import decode_topk, level_points
        >>> logits = torch.tensor([[[-9.0, 2.0], [1.0, -9.0]]])  # one image, two points, two classes
        >>> best = decode_topk([logits], [torch.full((1, 2, 4), 4.0)], level_points([(1, 2)], [8]), k=3)
        >>> best.counts
        tensor([[2]])
        >>> best.boxes[best.labels >= 0]
        tensor([[ 0.,  0.,  8.,  8.],
                [ 8.,  0., 16.,  8.]])
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    counts: Tensor


@torch.no_grad()
def decode_topk(
    logits: Sequence[Tensor],
    ltrb: Sequence[Tensor],
    points: Tensor,
    centerness: Sequence[Tensor] | None = None,
    score_threshold: float = 0.05,
    k: int = 1000,
) -> TopK:
    """The k best candidates of each level, as FCOS chooses them (Tian et al. 2019, section 3.1).

    A candidate is a point with a class whose score, the sigmoid of its logit, is above the threshold. It ranks by its
    score, times the sigmoid of the centerness if given; of equals the lower point, then the lower class comes first.
    A NaN, as a logit or a centerness, is no candidate; a logit below -87 has the score 0.

    The logits are read once, as they lie; only what passes gets a score, and only what is kept a box. All is float32
    (float64 is rounded to it first), and CPU and CUDA give the same bits. On CUDA a call is two kernels: nothing waits
    for the device, and a CUDA graph can capture it. Any number of candidates has an exact result; where more than
    16,384 of a level pass, its logits are read again, and above a k of 2,048 a level is chosen from part by part.

    Args:
        logits: L times (B, C, H, W) or (B, P_l, C); dtypes as in :func:`pseudo_iou_ops.sigmoid_focal_loss`. Fewer
            than 2^32 - 1 an image and level.
        ltrb: L times (B, 4, H, W) or (B, P_l, 4) floating, distances from the points to the sides, in pixels.
        points: (P, 2) floating, x y in pixels, of all levels: :func:`pseudo_iou_ops.level_points`.
        centerness: L times (B, 1, H, W) or (B, P_l, 1), logits.
        score_threshold: what a class score must exceed.
        k: candidates of a level.

    Returns:
        The :class:`TopK`, without gradient.

    Raises:
        ValueError: a shape, device or value is wrong.
        TypeError: a type or dtype is wrong.
        RuntimeError: the logits are on a device this install has no kernels for.

    Examples:
        >>> import torch
        >>> from pseudo_iou_ops import decode_topk, level_points
        >>> logits = torch.tensor([[[-9.0, 2.0], [1.0, -9.0]]])  # one image, two points, two classes
        >>> ltrb = torch.full((1, 2, 4), 4.0)
        >>> best = decode_topk([logits], [ltrb], level_points([(1, 2)], [8]), k=3)
        >>> best.labels, best.scores
        (tensor([[ 1,  0, -1]]), tensor([[0.8808, 0.7311, 0.0000]]))
    """
    logits = _head_levels.as_levels("logits", logits)
    _check_sizes(logits)
    ltrb = _like("ltrb", ltrb, 4, logits, torch.float32)
    centers = [] if centerness is None else _like("centerness", centerness, 1, logits, logits[0].dtype)
    _check_points(points, logits)
    _checks.check_number("score_threshold", score_threshold)
    if not isinstance(k, int) or not 1 <= k < 2**31:
        raise ValueError(f"k: expected an integer in [1, 2^31), got {k!r}")
    return TopK(*_op(logits, ltrb, centers, points.to(torch.float32).contiguous(), score_threshold, k))


def decode_with_torch(
    logits: Sequence[Tensor],
    ltrb: Sequence[Tensor],
    centerness: Sequence[Tensor],
    points: Tensor,
    score_threshold: float,
    k: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The op in plain torch, bit for bit, what its tests compare with; the score of every point and class is made."""
    parts = []
    level_points = points.split([_head_levels.num_points(level) for level in logits])
    for index, (level, own_points) in enumerate(zip(logits, level_points, strict=True)):
        center = exact.sigmoid(_rows(centerness[index]).float()) if centerness else None
        parts.append(_decode_level(_rows(level), _rows(ltrb[index]), center, own_points, score_threshold, k))
    boxes, scores, labels, counts = zip(*parts, strict=True)
    return torch.cat(boxes, 1), torch.cat(scores, 1), torch.cat(labels, 1), torch.stack(counts, 1)


def _decode_level(
    logits: Tensor, ltrb: Tensor, centerness: Tensor | None, points: Tensor, score_threshold: float, k: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    images, num_points, classes = logits.shape
    class_scores = exact.sigmoid(logits.float())
    scores = class_scores if centerness is None else class_scores * centerness
    is_candidate = (class_scores > score_threshold) & ~scores.isnan()
    # Scores are not negative, so their bits rise with them; the place below decides between equals.
    places = torch.arange(num_points * classes, device=logits.device)
    keys = (scores.flatten(1).view(torch.int32).to(torch.int64) << 32) | (0xFFFFFFFF - places)
    keys = torch.where(is_candidate.flatten(1), keys, -1)
    best = keys.topk(min(k, num_points * classes), dim=1).values
    best = torch.nn.functional.pad(best, (0, k - best.shape[1]), value=-1)
    there = best >= 0
    place = torch.where(there, 0xFFFFFFFF - (best & 0xFFFFFFFF), 0)
    point = place // max(classes, 1)
    if num_points == 0:
        boxes = ltrb.new_zeros(images, k, 4)
    else:
        sides = ltrb.gather(1, point.unsqueeze(-1).expand(-1, -1, 4))
        centers = points[point]
        boxes = torch.cat((centers - sides[..., :2], centers + sides[..., 2:]), dim=-1)
    return (
        torch.where(there.unsqueeze(-1), boxes, 0),
        torch.where(there, (best >> 32).to(torch.int32).view(torch.float32), 0),
        torch.where(there, place - point * classes, -1),
        there.sum(dim=1),
    )


def _rows(level: Tensor) -> Tensor:
    return level.flatten(2).transpose(1, 2) if level.ndim == 4 else level


def _like(
    name: str, levels: Tensor | Sequence[Tensor], channels: int, logits: Sequence[Tensor], dtype: torch.dtype
) -> list[Tensor]:
    result = [level.to(dtype) for level in _head_levels.as_levels(name, levels, channels)]
    if len(result) != len(logits):
        raise ValueError(f"{name}: expected one per level, {len(logits)}, got {len(result)}")
    for level, own in zip(result, logits, strict=True):
        expected = (own.shape[0], _head_levels.num_points(own))
        got = (level.shape[0], _head_levels.num_points(level))
        if got != expected:
            raise ValueError(
                f"{name}: expected {expected[0]} images and {expected[1]} points, got {tuple(level.shape)}"
            )
        if level.device != own.device:
            raise ValueError(f"{name}: expected device {own.device}, that of the logits, got {level.device}")
    return result


def _check_sizes(logits: Sequence[Tensor]) -> None:
    for level in logits:
        size = level.shape[1:].numel()
        if size >= 2**32 - 1:
            raise ValueError(f"logits: expected fewer than 2^32 - 1 an image and level, got {size}")


def _check_points(points: Tensor, logits: Sequence[Tensor]) -> None:
    _checks.check_tensor("points", points)
    expected = (sum(_head_levels.num_points(level) for level in logits), 2)
    if points.shape != expected:
        raise ValueError(f"points: expected shape {expected}, got {tuple(points.shape)}")
    if points.dtype not in _checks.FLOATING_DTYPES:
        raise TypeError(f"points: expected a floating dtype, got {points.dtype}")
    if points.device != logits[0].device:
        raise ValueError(f"points: expected device {logits[0].device}, that of the logits, got {points.device}")
