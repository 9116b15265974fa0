"""The data check's look at the boxes of a split."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .annotations import Annotations
from .problems import AREA, NO_BOX, OUTSIDE, OVER, SAME_AREA, TINY, TWICE, TWO_CLASSES, Problem, problem

# Boxes that differ by less are the same: files hold numbers such as 12.0000001.
SAME_BOX = 0.01  # pixels


def check_boxes(annotations: Annotations) -> Iterator[Problem]:
    """Boxes that lie outside, are too small, occur twice, or have an area that is not theirs; images without one."""
    x1, y1, x2, y2 = annotations.boxes.unbind(1)
    owners = torch.repeat_interleave(torch.arange(len(annotations)), annotations.offsets.diff())
    height, width = annotations.sizes[owners].unbind(1)
    outside = is_outside(annotations.boxes, annotations.sizes[owners])
    # One pixel is the difference between the ways to count; COCO's own boxes overstep by parts of it.
    over = ~outside & ((x1 < -1) | (y1 < -1) | (x2 > width + 1) | (y2 > height + 1))
    tiny = (x2 - x1 <= 1) | (y2 - y1 <= 1)
    places = torch.cat((owners[:, None], (annotations.boxes / SAME_BOX).round()), dim=1)
    twice = _is_repeated(torch.cat((places, annotations.labels[:, None]), dim=1))
    two_classes = _is_repeated(places) & ~twice
    for kind, rows in ((OUTSIDE, outside), (OVER, over), (TINY, tiny), (TWICE, twice), (TWO_CLASSES, two_classes)):
        for row in rows.nonzero().flatten().tolist():
            yield problem(kind, _describe(annotations, int(owners[row]), row))
    yield from _check_areas(annotations, owners)
    if annotations.is_annotated:
        for index in (boxes_per_image(annotations) == 0).nonzero().flatten().tolist():
            yield problem(NO_BOX, str(annotations.files[index]))


def is_outside(boxes: Tensor, sizes: Tensor) -> Tensor:
    """(M,) bool: no part of the box is in its image, whose height and width are a row of ``sizes``."""
    x1, y1, x2, y2 = boxes.unbind(1)
    height, width = sizes.unbind(1)
    return (x2 <= 0) | (y2 <= 0) | (x1 >= width) | (y1 >= height)


def boxes_per_image(annotations: Annotations) -> Tensor:
    """(N,) int64, boxes to train on."""
    kept = torch.cat((torch.zeros(1, dtype=torch.int64), (~annotations.ignore).cumsum(0)))
    return kept[annotations.offsets].diff()


def _check_areas(annotations: Annotations, owners: Tensor) -> Iterator[Problem]:
    """COCO's areas, by which objects are small, medium or large: those of masks, within the box."""
    areas = annotations.areas
    width, height = (annotations.boxes[:, 2:] - annotations.boxes[:, :2]).unbind(1)
    has_area = (width > 0) & (height > 0)
    # Masks count whole pixels, of which a box may cut some.
    wrong = has_area & ((areas <= 0) | (areas > (width + 1) * (height + 1)))
    for row in wrong.nonzero().flatten().tolist():
        own = float(width[row] * height[row])
        yield problem(AREA, f"{_describe(annotations, int(owners[row]), row)}: area {areas[row]:g}, the box's {own:g}")
    is_constant = len(areas) > 1 and bool((areas == areas[0]).all())
    if is_constant and not wrong.all() and bool((areas != width * height).any()):
        yield problem(SAME_AREA, f"{annotations.files[0]} and all others: area {areas[0]:g} for {len(areas)} boxes")


def _describe(annotations: Annotations, index: int, row: int) -> str:
    height, width = annotations.sizes[index].tolist()
    box = " ".join(f"{value:g}" for value in annotations.boxes[row].tolist())
    name = annotations.class_names[annotations.labels[row]]
    return f"{annotations.files[index]}: {name} {box} (x1 y1 x2 y2) in {width}x{height}"


def _is_repeated(keys: Tensor) -> Tensor:
    """(M,) bool: an earlier row of the (M, K) keys is the same."""
    _, group = keys.unique(dim=0, return_inverse=True)
    first = torch.full((len(keys),), len(keys)).scatter_reduce(0, group, torch.arange(len(keys)), "amin")
    return first[group] != torch.arange(len(keys))
