"""Reader of COCO's JSON."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from .annotations import (
    LARGEST_ID,
    Annotations,
    AnnotationsBuilder,
    Report,
    checked_integer,
    checked_side,
    is_box,
    path_inside,
    raise_error,
    shown,
)

Record = dict[str, Any]


def read_coco(
    files: Sequence[Path], images: Path, classes: Sequence[str] = (), report: Report = raise_error
) -> Annotations:
    """Read one or more JSON files (shards) of one data set.

    Args:
        files: the JSON files; all list the same categories.
        images: the folder that the file names start from.
        classes: keep only these classes, in this order; all, by category id, if empty.
        report: told of each problem; by default the first is raised.

    Returns:
        Annotations with labels 0..C-1; images without annotations are kept.

    Raises:
        UserError: a file is missing, is not COCO JSON, or contradicts itself.
    """
    builder: AnnotationsBuilder | None = None
    known_categories: list[Record] = []
    seen: set[int] = set()
    for file in files:
        try:
            content = read_json(file)
            if builder is None:
                builder = _start(content["categories"], classes, file)
                known_categories = content["categories"]
            elif content["categories"] != known_categories:
                raise UserError(f"{file}: categories differ from those of {files[0]}")
        except UserError as error:
            report(error)
        else:
            _add(builder, content, images, file, seen, report)
    return (builder or AnnotationsBuilder((), ())).build()


def read_json(file: Path) -> dict[str, list[Record]]:
    """The content of a COCO file, its three lists of records checked to be such; raises UserError."""
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: not JSON: {error}") from None
    for name in ("images", "annotations", "categories"):
        records = content.get(name) if isinstance(content, dict) else None
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise UserError(f"{file}: expected a COCO file with the list {name!r} of objects")
    return content  # type: ignore[no-any-return]


def category_ids_of(categories: Sequence[Record], file: Path) -> dict[str, int]:
    """The category ids by class name; raises UserError if an id or a name is missing or occurs twice."""
    ids: dict[str, int] = {}
    for category in categories:
        name = _value(category, "name", file, "category")
        number = _integer(category, "id", file, "category")
        if not isinstance(name, str):
            raise UserError(f"{file}: category {number}: expected a name, got {shown(name)}")
        if name in ids or number in ids.values():
            raise UserError(f"{file}: category {number} {shown(name)}: its id or its name occurs twice")
        ids[name] = number
    return ids


def _start(categories: list[Record], classes: Sequence[str], file: Path) -> AnnotationsBuilder:
    ids = category_ids_of(categories, file)
    names = list(classes) or sorted(ids, key=lambda name: ids[name])
    for name in names:
        if name not in ids:
            raise UserError(f"{file}: no class {name!r}; known: {', '.join(ids)}")
    return AnnotationsBuilder(tuple(names), [ids[name] for name in names])


def _add(
    builder: AnnotationsBuilder,
    content: dict[str, list[Record]],
    images: Path,
    file: Path,
    seen: set[int],
    report: Report,
) -> None:
    labels = {category_id: label for label, category_id in enumerate(builder.category_ids)}
    all_ids = {int(category["id"]) for category in content["categories"]}
    of_image: dict[int, list[Record]] = defaultdict(list)
    for annotation in content["annotations"]:
        try:
            of_image[_integer(annotation, "image_id", file, "annotation")].append(annotation)
        except UserError as error:
            report(error)
    for image in content["images"]:
        try:
            image_id = _integer(image, "id", file, "image")
            own = of_image.pop(image_id, [])
            _add_image(builder, image, image_id, images, file, seen)
        except UserError as error:
            report(error)
            continue
        for annotation in own:
            try:
                _add_box(builder, annotation, labels, all_ids, file)
            except UserError as error:
                report(error)
    for image_id in of_image:
        report(UserError(f"{file}: annotations of image id {image_id}, which is not listed"))


def _add_image(
    builder: AnnotationsBuilder, image: Record, image_id: int, images: Path, file: Path, seen: set[int]
) -> None:
    if image_id in seen:
        raise UserError(f"{file}: image id {image_id} occurs twice")
    seen.add(image_id)
    where = f"{file}: image {image_id}"
    height = checked_side(_value(image, "height", file, "image"), f"{where}: height")
    width = checked_side(_value(image, "width", file, "image"), f"{where}: width")
    name = _value(image, "file_name", file, "image")
    if not isinstance(name, str):
        raise UserError(f"{where}: expected a file_name, got {shown(name)}")
    builder.add_image(path_inside(images, name, file), image_id, height, width)


def _add_box(
    builder: AnnotationsBuilder, annotation: Record, labels: dict[int, int], all_ids: set[int], file: Path
) -> None:
    category = _integer(annotation, "category_id", file, "annotation")
    if category not in all_ids:
        raise UserError(
            f"{file}: annotation {shown(annotation.get('id'))}: unknown category_id {category}; "
            f"known: {', '.join(map(str, sorted(all_ids)))}"
        )
    if category in labels:
        box, area = _box(annotation, file)
        builder.add_box(box, area, labels[category], bool(annotation.get("iscrowd", 0)))


def _value(record: Record, name: str, file: Path, kind: str) -> Any:
    if name not in record:
        raise UserError(f"{file}: {kind} {shown(record.get('id'))}: no {name!r}")
    return record[name]


def _integer(record: Record, name: str, file: Path, kind: str) -> int:
    value = _value(record, name, file, kind)
    if type(value) is int and abs(value) <= LARGEST_ID:  # as it nearly always is: no text is made
        return value
    return checked_integer(value, -LARGEST_ID, LARGEST_ID, f"{file}: {kind} {shown(record.get('id'))}: {name}")


def _box(annotation: Record, file: Path) -> tuple[tuple[float, float, float, float], float]:
    bbox = _value(annotation, "bbox", file, "annotation")
    try:
        x, y, width, height = map(float, bbox)
        area = float(annotation.get("area", width * height))
    except (TypeError, ValueError, OverflowError):
        x = y = width = height = area = math.nan
    box = (x, y, x + width, y + height)
    if not is_box(*box) or not math.isfinite(area):
        raise UserError(
            f"{file}: annotation {shown(annotation.get('id'))}: expected bbox [x, y, width, height] and a finite "
            f"area, got {shown(bbox)}, area {shown(annotation.get('area'))}"
        )
    return box, area
