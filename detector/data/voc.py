"""Reader of Pascal VOC's XML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from ..errors import UserError
from .annotations import Annotations, AnnotationsBuilder, path_inside


def read_voc(lists: Sequence[Path], classes: Sequence[str]) -> Annotations:
    """Read the images named in lists, ``<root>/ImageSets/Main/<split>.txt`` (07 + 12 are two lists).

    VOC counts pixels from 1: all four coordinates are lowered by 1, as in mmdetection, which the paper
    builds on. The image of ``<name>`` is ``<root>/JPEGImages/<name>.jpg``, as in the VOC devkit. Difficult
    objects are marked ``ignore``. Image ids are positions in the lists, counted from 1.

    Args:
        lists: text files with one image name a line.
        classes: the class names, in the order of the labels.

    Raises:
        UserError: a file is missing or broken, declares a document type, or names a class that is not given.
    """
    if not classes:
        raise UserError("data.classes: expected the class names, which VOC lists do not hold; got none")
    builder = AnnotationsBuilder(tuple(classes), list(range(1, len(classes) + 1)))
    for image_list in lists:
        root = image_list.parent.parent.parent
        for line in _text(image_list).splitlines():
            if line.strip():
                _add_image(builder, root, line.split()[0], image_list)
    return builder.build()


def _add_image(builder: AnnotationsBuilder, root: Path, name: str, image_list: Path) -> None:
    file = path_inside(root / "Annotations", f"{name}.xml", image_list)
    annotation = _parse(file)
    height, width = (int(_number(annotation, f"size/{side}", file)) for side in ("height", "width"))
    image = path_inside(root / "JPEGImages", f"{name}.jpg", image_list)
    builder.add_image(image, len(builder.files) + 1, height, width)
    labels = {name: label for label, name in enumerate(builder.class_names)}
    for item in annotation.iter("object"):
        class_name = (item.findtext("name") or "").strip()
        if class_name not in labels:
            raise UserError(f"{file}: unknown class {class_name!r}; known: {', '.join(labels)}")
        x1, y1, x2, y2 = (_number(item, f"bndbox/{side}", file) - 1 for side in ("xmin", "ymin", "xmax", "ymax"))
        is_difficult = (item.findtext("difficult") or "0").strip() == "1"
        area = max(x2 - x1, 0.0) * max(y2 - y1, 0.0)
        builder.add_box((x1, y1, x2, y2), area, labels[class_name], is_difficult)


def _parse(file: Path) -> ElementTree.Element:
    text = _text(file)
    # Entities, which can expand without bound, need a document type, and VOC has none.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise UserError(f"{file}: a document type or entity is declared, which VOC files do not need")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise UserError(f"{file}: not XML: {error}") from None


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
        raise UserError(f"{file}: {path}: expected a number, got {text!r}")
    return value
