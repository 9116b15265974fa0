"""Reader of Pascal VOC's XML."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from ..errors import UserError
from .annotations import Annotations, AnnotationsBuilder, Report, raise_error, size_from_image
from .images import LARGEST_IMAGE, Size
from .problems import PLACEHOLDER
from .values import LONGEST_SIDE, checked_flag, checked_integer, checked_number, is_box, is_missing_size, shown
from .voc_files import Names, annotation_file, class_name_of, image_file, read_list, read_xml

SIDES = ("xmin", "ymin", "xmax", "ymax")


def read_voc(
    lists: Sequence[Path],
    classes: Sequence[str],
    report: Report = raise_error,
    max_pixels: int = LARGEST_IMAGE,
) -> Annotations:
    """Read the images named in lists, ``<root>/ImageSets/Main/<split>.txt`` (07 + 12 are two lists).

    VOC counts pixels from 1: all four coordinates are lowered by 1, as in mmdetection, which the paper
    builds on. The image of ``<name>`` is ``<root>/JPEGImages/<name>.jpg``, as in the VOC devkit, or has the
    ending of the ``filename`` in its XML, or that of the file there is. Difficult objects are marked ``ignore``.
    Image ids are positions in the lists, counted from 1. A size that is missing or 0 is taken from the image file.
    A box 0 0 0 0, which some tools write for "no object", is left out and remarked on.

    Args:
        lists: text files with one image name a line.
        classes: the class names, in the order of the labels.
        report: told of each problem; by default the first is raised.
        max_pixels: of a larger image, nothing is decoded.

    Raises:
        UserError: a file is missing or broken, declares a document type, or names a class that is not given.
    """
    if not classes:
        raise UserError("data.classes: expected the class names, which VOC lists do not hold; got none")
    builder = AnnotationsBuilder(tuple(classes), list(range(1, len(classes) + 1)), max_pixels=max_pixels)
    labels = {name: label for label, name in enumerate(classes)}
    seen: set[Path] = set()
    for image_list in lists:
        try:
            lines = read_list(image_list)
        except UserError as error:
            report(error)
            continue
        for names in lines:
            try:
                _add_image(builder, image_list, names, labels, seen, report)
            except UserError as error:
                report(error)
    return builder.build()


def _add_image(
    builder: AnnotationsBuilder,
    image_list: Path,
    names: Names,
    labels: dict[str, int],
    seen: set[Path],
    report: Report,
) -> None:
    name, file = annotation_file(image_list, names)
    if file in seen:
        raise UserError(f"{image_list}: image {shown(name)} is listed twice")
    seen.add(file)
    annotation = read_xml(file)
    image = image_file(image_list, name, annotation.findtext("filename") or "")
    builder.add_image(image, len(builder.files) + 1, *_size_of(annotation, image, file, builder.max_pixels))
    for item in annotation.iter("object"):
        try:
            _add_box(builder, item, labels, file)
        except UserError as error:
            report(error)


def _size_of(annotation: ElementTree.Element, image: Path, file: Path, max_pixels: int) -> Size:
    height, width = annotation.findtext("size/height"), annotation.findtext("size/width")
    if is_missing_size(height) or is_missing_size(width):
        return size_from_image(image, str(file), max_pixels)
    return (
        checked_integer(height, 1, LONGEST_SIDE, f"{file}: size/height"),
        checked_integer(width, 1, LONGEST_SIDE, f"{file}: size/width"),
    )


def _corners_of(item: ElementTree.Element, where: str) -> list[float]:
    """The four numbers of an object's box, as written."""
    box = item.find("bndbox")
    try:
        return [checked_number(None if box is None else box.findtext(side), side) for side in SIDES]
    except UserError as error:
        raise UserError(f"{where}: bndbox/{error}") from None


def _add_box(builder: AnnotationsBuilder, item: ElementTree.Element, labels: dict[str, int], file: Path) -> None:
    name = class_name_of(item)
    if name not in labels:
        raise UserError(f"{file}: unknown class {shown(name)}; known: {', '.join(labels)}")
    where = f"{file}: object {shown(name)}"
    written = _corners_of(item, where)
    if not any(written):
        builder.remark(PLACEHOLDER, where)
        return
    x1, y1, x2, y2 = (value - 1 for value in written)
    if not is_box(x1, y1, x2, y2):
        x1, y1, x2, y2 = written
        raise UserError(f"{where}: expected xmin <= xmax and ymin <= ymax, got {x1:g} {y1:g} {x2:g} {y2:g}")
    is_difficult = checked_flag(item.findtext("difficult"), f"{where}: difficult")
    builder.add_box((x1, y1, x2, y2), (x2 - x1) * (y2 - y1), labels[name], is_difficult)
