"""Reader of COCO's JSON."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from .annotations import Annotations, AnnotationsBuilder, path_inside


def read_coco(files: Sequence[Path], images: Path, classes: Sequence[str] = ()) -> Annotations:
    """Read one or more JSON files (shards) of one data set.

    Args:
        files: the JSON files; all list the same categories.
        images: the folder that the file names start from.
        classes: keep only these classes, in this order; all, by category id, if empty.

    Returns:
        Annotations with labels 0..C-1; images without annotations are kept.

    Raises:
        UserError: a file is missing, is not COCO JSON, or contradicts itself.
    """
    builder: AnnotationsBuilder | None = None
    known_categories: list[dict[str, Any]] = []
    seen: set[int] = set()
    for file in files:
        content = _read_json(file)
        if builder is None:
            known_categories = content["categories"]
            builder = _start(content["categories"], classes, file)
        elif content["categories"] != known_categories:
            raise UserError(f"{file}: categories differ from those of {files[0]}")
        _add(builder, content, images, file, seen)
    if builder is None:
        raise UserError("no annotation file is given: set data.train.annotations and data.val.annotations")
    return builder.build()


def _read_json(file: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{file}: not JSON: {error}") from None
    for name in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise UserError(f"{file}: expected a COCO file with the list {name!r}")
    return content  # type: ignore[no-any-return]


def _start(categories: list[dict[str, Any]], classes: Sequence[str], file: Path) -> AnnotationsBuilder:
    try:
        ids = {str(category["name"]): int(category["id"]) for category in categories}
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{file}: expected categories with 'id' and 'name'") from None
    names = list(classes) or sorted(ids, key=lambda name: ids[name])
    for name in names:
        if name not in ids:
            raise UserError(f"{file}: no class {name!r}; known: {', '.join(ids)}")
    return AnnotationsBuilder(tuple(names), [ids[name] for name in names])


def _add(
    builder: AnnotationsBuilder,
    content: dict[str, list[dict[str, Any]]],
    images: Path,
    file: Path,
    seen: set[int],
) -> None:
    labels = {category_id: label for label, category_id in enumerate(builder.category_ids)}
    all_ids = {category["id"] for category in content["categories"]}
    of_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for annotation in content["annotations"]:
        of_image[_value(annotation, "image_id", file, "annotation")].append(annotation)
    for image in content["images"]:
        image_id = int(_value(image, "id", file, "image"))
        if image_id in seen:
            raise UserError(f"{file}: image id {image_id} occurs twice")
        seen.add(image_id)
        height, width = (int(_value(image, side, file, "image")) for side in ("height", "width"))
        name = str(_value(image, "file_name", file, "image"))
        builder.add_image(path_inside(images, name, file), image_id, height, width)
        for annotation in of_image.pop(image_id, []):
            category = _value(annotation, "category_id", file, "annotation")
            if category not in all_ids:
                raise UserError(f"{file}: annotation {annotation.get('id')}: unknown category_id {category}")
            if category in labels:
                box, area = _box(annotation, file)
                builder.add_box(box, area, labels[category], bool(annotation.get("iscrowd", 0)))
    if of_image:
        raise UserError(f"{file}: annotations of image id {next(iter(of_image))}, which is not listed")


def _value(record: dict[str, Any], name: str, file: Path, kind: str) -> Any:
    if name not in record:
        raise UserError(f"{file}: {kind} {record.get('id')}: no {name!r}")
    return record[name]


def _box(annotation: dict[str, Any], file: Path) -> tuple[tuple[float, float, float, float], float]:
    bbox = _value(annotation, "bbox", file, "annotation")
    try:
        x, y, width, height = (float(value) for value in bbox)
    except (TypeError, ValueError):
        x = y = width = height = math.nan
    if not all(map(math.isfinite, (x, y, width, height))) or width < 0 or height < 0:
        raise UserError(f"{file}: annotation {annotation.get('id')}: expected bbox [x, y, width, height], got {bbox}")
    return (x, y, x + width, y + height), float(annotation.get("area", width * height))
