"""Pascal VOC's mean average precision."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..data import Annotations
from ..model import Detections

FALSE_POSITIVE, NEITHER = -1, -2

Array = np.ndarray[Any, Any]


class ClassCurve(NamedTuple):
    """Precision and recall of one class as detections are added, best first, and the two areas under them."""

    recall: Array
    """(N,) float64, of N detections that count."""
    precision: Array
    """(N,) float64."""
    ap11: float
    """The mean precision at recalls 0, 0.1, ..., 1, as VOC2007 measures it; -1 without a box to find."""
    ap: float
    """The area under the whole curve, as VOC2010 and later measure it; -1 likewise."""


class VocEvaluation(NamedTuple):
    """``map11`` and ``map``: the means over the classes that have boxes, -1 if none has."""

    map11: float
    map: float
    per_class: dict[str, ClassCurve]


def evaluate_voc(
    found: list[Detections], annotations: Annotations, iou_threshold: float = 0.5, inclusive_pixels: bool = True
) -> VocEvaluation:
    """Mean average precision as the VOC development kit defines it.

    Args:
        found: the detections of each image, best first, in the order of ``annotations``.
        annotations: the boxes to find; those marked ``ignore`` (difficult) count neither way.
        iou_threshold: the overlap that makes a detection right.
        inclusive_pixels: see :func:`match`.
    """
    matches = [
        match(detections, *_truth(annotations, index), iou_threshold, inclusive_pixels)
        for index, detections in enumerate(found)
    ]
    matched = torch.cat([*matches, torch.empty(0, dtype=torch.int64)]).numpy()
    scores = torch.cat([*(detections.scores for detections in found), torch.empty(0)]).numpy()
    labels = torch.cat([*(detections.labels for detections in found), torch.empty(0, dtype=torch.int64)]).numpy()
    counted = annotations.labels[~annotations.ignore]
    per_class = {}
    for label, name in enumerate(annotations.class_names):
        own = (labels == label) & (matched != NEITHER)
        best_first = np.argsort(-scores[own], kind="stable")
        per_class[name] = _curve(matched[own][best_first] >= 0, int((counted == label).sum()))
    defined = [curve for curve in per_class.values() if curve.ap >= 0]
    return VocEvaluation(
        map11=float(np.mean([curve.ap11 for curve in defined])) if defined else -1.0,
        map=float(np.mean([curve.ap for curve in defined])) if defined else -1.0,
        per_class=per_class,
    )


def match(
    found: Detections,
    boxes: Tensor,
    labels: Tensor,
    ignore: Tensor,
    iou_threshold: float = 0.5,
    inclusive_pixels: bool = True,
) -> Tensor:
    """What each detection of an image finds: a row of ``boxes``, FALSE_POSITIVE or NEITHER.

    As in the VOC development kit, a detection is compared with the box of its class that it overlaps most. It
    finds that box if the overlap reaches the threshold and no better detection found it before; a box to
    ignore makes it count as neither.

    Args:
        found: N detections, best first.
        boxes: (M, 4), x1 y1 x2 y2.
        labels: (M,) int64.
        ignore: (M,) bool.
        iou_threshold: the overlap that is enough.
        inclusive_pixels: take x2 and y2 as the last pixels inside, so that a side is x2 - x1 + 1, as VOC does.

    Returns:
        (N,) int64.
    """
    result = torch.full((len(found.boxes),), FALSE_POSITIVE)
    if len(boxes) == 0:
        return result
    overlaps = _iou(found.boxes.double(), boxes.double(), 1.0 if inclusive_pixels else 0.0)
    overlaps[found.labels[:, None] != labels] = -1.0
    best_overlap, best_box = overlaps.max(1)
    taken: set[int] = set()
    for row in (best_overlap >= iou_threshold).nonzero().flatten().tolist():
        box = int(best_box[row])
        if ignore[box]:
            result[row] = NEITHER
        elif box not in taken:
            taken.add(box)
            result[row] = box
    return result


def _truth(annotations: Annotations, index: int) -> tuple[Tensor, Tensor, Tensor]:
    rows = annotations.rows(index)
    return annotations.boxes[rows], annotations.labels[rows], annotations.ignore[rows]


def _iou(a: Tensor, b: Tensor, extra: float) -> Tensor:
    """(N, M) overlaps; ``extra`` is added to every side."""
    low, high = torch.maximum(a[:, None, :2], b[:, :2]), torch.minimum(a[:, None, 2:], b[:, 2:])
    common = (high - low + extra).clamp(min=0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2] + extra).prod(-1) for boxes in (a, b)]
    union = areas[0][:, None] + areas[1] - common
    return torch.where(union > 0, common / union, 0.0)


def _curve(is_right: Array, boxes: int) -> ClassCurve:
    """The curve of a class from whether each detection, best first, is right."""
    if boxes == 0:
        return ClassCurve(np.empty(0), np.empty(0), -1.0, -1.0)
    right = np.cumsum(is_right)
    recall = right / boxes
    precision = right / np.arange(1, len(right) + 1)
    # The best precision at this or a higher recall: from here on the curve only falls.
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at_least = np.concatenate((envelope, [0.0]))
    # 0.1 * k in floating point, as everywhere: a recall of 0.6 does not reach 0.1 * 6, which is a little more.
    ap11 = at_least[np.searchsorted(recall, np.linspace(0, 1, 11))].mean()
    ap = np.sum(np.diff(recall, prepend=0.0) * envelope)
    return ClassCurve(recall, precision, float(ap11), float(ap))
