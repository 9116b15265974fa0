"""Non-maximum suppression, class by class.

Moving the classes apart by an offset, so that one call does for all of them, is not the same: the offset takes bits
from the coordinates, and with many classes some pairs of boxes come to lie on the other side of the threshold.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import nms

# Takes boxes (N, 4), scores (N,), labels (N,) and the threshold, and gives (N,) bool, which boxes stay.
Suppress = Callable[[Tensor, Tensor, Tensor, float], Tensor]


def kept_by_class(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Which boxes stay: those that no better one of their class, which stays itself, overlaps by more than a threshold.

    Args:
        boxes: (N, 4) float32, x1 y1 x2 y2.
        scores: (N,) float32; of equal ones the earlier is the better.
        labels: (N,) int64.
        threshold: the largest intersection over union of two boxes of a class that both stay.

    Returns:
        (N,) bool.
    """
    if boxes.is_cuda:  # a call for each class would wait for the device as often
        return _settled(_suppressions(boxes, scores, labels, threshold))
    kept = torch.zeros_like(labels, dtype=torch.bool)
    by_class = labels.argsort(stable=True)
    counts = labels.bincount()
    for rows in by_class.split(counts[counts > 0].tolist()):
        kept[rows[nms(boxes[rows], scores[rows], threshold)]] = True
    return kept


def kept_by_class_in_export(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """:func:`kept_by_class` in operators that ``torch.export`` can trace, of torch alone."""
    # Not public in torch yet, which may move it: imported where it is needed.
    from torch._higher_order_ops.while_loop import while_loop

    suppressions = _suppressions(boxes, scores, labels, threshold)
    first = torch.ones_like(labels, dtype=torch.bool)
    kept, _ = while_loop(
        lambda kept, before: (kept != before).any(),
        lambda kept, before: (_unsuppressed(suppressions, kept), kept.clone()),
        (first, ~first),
    )
    return kept  # type: ignore[no-any-return]


def _settled(suppressions: Tensor) -> Tensor:
    """The boxes that stay: after k rounds the best k are decided, and most often all of them after a few."""
    before = suppressions.new_zeros(suppressions.shape[0], dtype=torch.bool)
    kept = ~before
    while bool((kept != before).any()):
        before, kept = kept, _unsuppressed(suppressions, kept)
    return kept


def _unsuppressed(suppressions: Tensor, kept: Tensor) -> Tensor:
    """(N,) bool: those that none of the kept suppresses."""
    return suppressions @ kept.to(suppressions.dtype) == 0


def _suppressions(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """(N, N) float32: 1 where the box of the row would have to go if that of the column stays, 0 elsewhere.

    The overlap is computed as in torchvision's kernel, operation by operation, so that both decide alike.
    """
    x1, y1, x2, y2 = boxes.unbind(1)
    widths = (torch.minimum(x2.unsqueeze(1), x2) - torch.maximum(x1.unsqueeze(1), x1)).clamp(min=0)
    heights = (torch.minimum(y2.unsqueeze(1), y2) - torch.maximum(y1.unsqueeze(1), y1)).clamp(min=0)
    common = widths * heights
    areas = (x2 - x1) * (y2 - y1)
    overlaps = common / (areas.unsqueeze(1) + areas - common) > _in_float32(threshold)
    ranks = scores.argsort(descending=True, stable=True).argsort(stable=True)
    is_better = ranks < ranks.unsqueeze(1)
    return (overlaps & is_better & (labels == labels.unsqueeze(1))).float()


def _in_float32(threshold: float) -> float:
    """The largest float32 of at most the threshold: the same float32 numbers are larger than either."""
    nearest = np.float32(threshold)
    return float(nearest if float(nearest) <= threshold else np.nextafter(nearest, np.float32(-1)))
