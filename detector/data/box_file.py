"""The boxes of one image, a list in a JSON file: a data set of one image, so that it is read as all others."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError
from .annotations import Annotations, AnnotationsBuilder
from .check_boxes import is_outside
from .coco import load_json
from .images import LARGEST_IMAGE, read_image_size
from .values import LARGEST_COORDINATE, checked_number, is_box, shown, told

# A side, in pixels. In a larger image, boxes that all lie in its first pixel are in relative coordinates.
LARGEST_TINY_IMAGE = 16

Box = tuple[float, float, float, float]


def read_box_file(image: Path, file: Path, max_pixels: int = LARGEST_IMAGE) -> Annotations:
    """An image file with boxes of one class, ``[[x1, y1, x2, y2], ...]`` in its pixels; an empty list has none.

    Args:
        image: the image's file.
        file: the boxes' file.
        max_pixels: a larger image is not read.

    Raises:
        UserError: a file is missing or broken, or a box is none or lies outside the image.
    """
    builder = AnnotationsBuilder(("object",), [1], max_pixels=max_pixels)
    builder.add_image(image, 1, *read_image_size(str(image), max_pixels))
    content = load_json(file)
    if not isinstance(content, list):
        raise UserError(f"{file}: expected a JSON list of boxes [x1, y1, x2, y2], got {shown(content)}")
    for position, item in enumerate(content, start=1):
        x1, y1, x2, y2 = box = _box_of(item, f"{file}: box {position} of {len(content)}")
        builder.add_box(box, (x2 - x1) * (y2 - y1), label=0, ignore=False)
    annotations = builder.build()
    _check_place(annotations, file)
    return annotations


def _box_of(item: object, where: str) -> Box:
    values = item if isinstance(item, list) else []
    box = [checked_number(value, where) for value in values]
    if len(box) != 4 or not is_box(*box) or box[0] == box[2] or box[1] == box[3]:
        raise UserError(
            f"{where}: expected [x1, y1, x2, y2] with x1 < x2 and y1 < y2, in pixels up to {LARGEST_COORDINATE:g}, "
            f"got {told(item)}"
        )
    x1, y1, x2, y2 = box
    return x1, y1, x2, y2


def _check_place(annotations: Annotations, file: Path) -> None:
    """Raise UserError for boxes that are not in pixels, and for one that is outside the image."""
    boxes = annotations.boxes
    height, width = annotations.sizes[0].tolist()
    is_relative = len(boxes) > 0 and bool(((boxes >= 0) & (boxes <= 1)).all())
    if is_relative and max(height, width) > LARGEST_TINY_IMAGE:
        raise UserError(
            f"{file}: expected boxes in pixels of the image, {width}x{height}, got relative coordinates from 0 to 1, "
            f"such as {shown(boxes[0].tolist())}"
        )
    outside = is_outside(boxes, annotations.sizes).nonzero().flatten().tolist()
    if outside:
        raise UserError(
            f"{file}: box {outside[0] + 1} of {len(boxes)}: expected a box in the image, {width}x{height}, "
            f"got {shown(boxes[outside[0]].tolist())}"
        )
