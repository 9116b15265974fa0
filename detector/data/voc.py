"""Reader of Pascal VOC's XML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from ..errors import UserError
from .annotations import (
    IMAGE_ENDINGS,
    Annotations,
    AnnotationsBuilder,
    Report,
    checked_side,
    is_box,
    path_inside,
    raise_error,
    shown,
)


def read_voc(lists: Sequence[Path], classes: Sequence[str], report: Report = raise_error) -> Annotations:
    """Read the images named in lists, ``<root>/ImageSets/Main/<split>.txt`` (07 + 12 are two lists).

    VOC counts pixels from 1: all four coordinates are lowered by 1, as in mmdetection, which the paper
    builds on. The image of ``<name>`` is ``<root>/JPEGImages/<name>.jpg``, as in the VOC devkit, or has the
    ending of the ``filename`` in its XML. Difficult objects are marked ``ignore``. Image ids are positions in
    the lists, counted from 1.

    Args:
        lists: text files with one image name a line.
        classes: the class names, in the order of the labels.
        report: told of each problem; by default the first is raised.

    Raises:
        UserError: a file is missing or broken, declares a document type, or names a class that is not given.
    """
    if not classes:
        raise UserError("data.classes: expected the class names, which VOC lists do not hold; got none")
    builder = AnnotationsBuilder(tuple(classes), list(range(1, len(classes) + 1)))
    labels = {name: label for label, name in enumerate(classes)}
    seen: set[Path] = set()
    for image_list in lists:
        try:
            names = read_list(image_list)
        except UserError as error:
            report(error)
            continue
        for name in names:
            try:
                file = annotation_file(image_list, name)
                if file in seen:
                    raise UserError(f"{image_list}: image {shown(name)} is listed twice")
                seen.add(file)
                _add_image(builder, file, name, labels, image_list, report)
            except UserError as error:
                report(error)
    return builder.build()


def read_list(image_list: Path) -> list[str]:
    """The image names in a list: the first word of each line that has one."""
    return [line.split()[0] for line in _text(image_list).splitlines() if line.strip()]


def annotation_file(image_list: Path, name: str) -> Path:
    """The XML file of an image in a list; UserError if it would be outside the data set's folder."""
    return path_inside(image_list.parent.parent.parent / "Annotations", f"{name}.xml", image_list)


def read_xml(file: Path) -> ElementTree.Element:
    """The root element of an annotation file; raises UserError if it is not plain XML."""
    text = _text(file)
    # Entities, which can expand without bound, need a document type, and VOC has none.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise UserError(f"{file}: a document type or entity is declared, which VOC files do not need")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise UserError(f"{file}: not XML: {error}") from None


def class_name_of(item: ElementTree.Element) -> str:
    """The class of an ``object`` element."""
    return (item.findtext("name") or "").strip()


def _add_image(
    builder: AnnotationsBuilder, file: Path, name: str, labels: dict[str, int], image_list: Path, report: Report
) -> None:
    annotation = read_xml(file)
    height, width = (
        checked_side(_number(annotation, f"size/{side}", file), f"{file}: size/{side}") for side in ("height", "width")
    )
    ending = Path(annotation.findtext("filename") or "").suffix
    ending = ending if ending.lower() in IMAGE_ENDINGS else ".jpg"
    image = path_inside(file.parent.parent / "JPEGImages", f"{name}{ending}", image_list)
    builder.add_image(image, len(builder.files) + 1, height, width)
    for item in annotation.iter("object"):
        try:
            _add_box(builder, item, labels, file)
        except UserError as error:
            report(error)


def _add_box(builder: AnnotationsBuilder, item: ElementTree.Element, labels: dict[str, int], file: Path) -> None:
    name = class_name_of(item)
    if name not in labels:
        raise UserError(f"{file}: unknown class {shown(name)}; known: {', '.join(labels)}")
    x1, y1, x2, y2 = (_number(item, f"bndbox/{side}", file) - 1 for side in ("xmin", "ymin", "xmax", "ymax"))
    if not is_box(x1, y1, x2, y2):
        raise UserError(
            f"{file}: object {shown(name)}: expected xmin <= xmax and ymin <= ymax, "
            f"got {x1 + 1:g} {y1 + 1:g} {x2 + 1:g} {y2 + 1:g}"
        )
    is_difficult = (item.findtext("difficult") or "0").strip() == "1"
    builder.add_box((x1, y1, x2, y2), (x2 - x1) * (y2 - y1), labels[name], is_difficult)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{file}: expected UTF-8 text") from None


def _number(element: ElementTree.Element, path: str, file: Path) -> float:
    text = element.findtext(path)
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{file}: {path}: expected a number, got {shown(text)}")
    return value
