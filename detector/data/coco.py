"""Reader of COCO's JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UserError
from .annotations import Annotations, AnnotationsBuilder, Report, path_inside, raise_error, size_from_image
from .images import LARGEST_IMAGE, Size
from .problems import NULL_AREA, PLACEHOLDER
from .values import (
    LARGEST_ID,
    LONGEST_SIDE,
    checked_flag,
    checked_integer,
    checked_number,
    is_box,
    is_missing_size,
    shown,
)

LARGEST_AREA = 1e300

Record = dict[str, Any]
Box = tuple[float, float, float, float]


class CocoContent(NamedTuple):
    """The three lists of a COCO file."""

    images: list[Record]
    annotations: list[Record]
    categories: list[Record]
    is_annotated: bool
    """False for an image_info file, which has no list of annotations."""


def read_coco(
    files: Sequence[Path],
    images: Path,
    classes: Sequence[str] = (),
    report: Report = raise_error,
    max_pixels: int = LARGEST_IMAGE,
) -> Annotations:
    """Read one or more JSON files (shards) of one data set.

    A height or width that is missing or 0 is taken from the image file. A box 0 0 0 0, which some tools write for
    "no object", is left out and remarked on.

    Args:
        files: the JSON files; all list the same categories.
        images: the folder that the file names start from.
        classes: keep only these classes, in this order; all, by category id, if empty.
        report: told of each problem; by default the first is raised.
        max_pixels: of a larger image, nothing is decoded.

    Returns:
        Annotations with labels 0..C-1; images without annotations are kept.

    Raises:
        UserError: a file is missing, is not COCO JSON, or contradicts itself.
    """
    reader: _Reader | None = None
    for file in files:
        try:
            content = read_json(file)
            if reader is None:
                builder = _start(content.categories, classes, file)
                builder.max_pixels, builder.is_annotated = max_pixels, content.is_annotated
                reader = _Reader(builder, images, report, content.categories)
            elif content.categories != reader.categories:
                raise UserError(f"{file}: categories differ from those of {files[0]}")
            elif content.is_annotated != reader.builder.is_annotated:
                raise UserError(f"{file}: it has the list 'annotations' and {files[0]} has not, or the other way round")
        except UserError as error:
            report(error)
        else:
            reader.add(content, file)
    return (reader.builder if reader else AnnotationsBuilder((), ())).build()


def read_json(file: Path) -> CocoContent:
    """The content of a COCO file, its lists of records checked to be such; raises UserError."""
    content = load_json(file)
    lists = []
    is_annotated = not isinstance(content, dict) or "annotations" in content
    for name in ("images", "annotations", "categories"):
        records = content.get(name) if isinstance(content, dict) else None
        if name == "annotations" and not is_annotated:
            records = []
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise UserError(f"{file}: expected a COCO file with the list {name!r} of objects")
        lists.append(records)
    images, annotations, categories = lists
    return CocoContent(images, annotations, categories, is_annotated)


def load_json(file: Path) -> Any:
    """What a JSON file holds; raises UserError that names the file."""
    try:
        return json.loads(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: not JSON: {error}") from None


def category_ids_of(categories: Sequence[Record], file: Path) -> dict[str, int]:
    """The category ids by class name; raises UserError if an id or a name is missing or occurs twice."""
    ids: dict[str, int] = {}
    for category in categories:
        number = _integer(category, "id", file, "category")
        name = _value(category, "name", file, "category")
        if not isinstance(name, str):
            raise UserError(f"{file}: category {number}: expected a name, got {shown(name)}")
        name = name.strip()
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


@dataclass
class _Reader:
    """What the files of a data set have in common."""

    builder: AnnotationsBuilder
    images: Path
    report: Report
    categories: list[Record]
    seen: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.labels = {category_id: label for label, category_id in enumerate(self.builder.category_ids)}
        self.category_ids = {_integer(category, "id", Path(), "category") for category in self.categories}

    def add(self, content: CocoContent, file: Path) -> None:
        of_image = self._by_image(content.annotations, file)
        for image in content.images:
            try:
                image_id = _integer(image, "id", file, "image")
                own = of_image.pop(image_id, [])
                self._add_image(image, image_id, file)
            except UserError as error:
                self.report(error)
                continue
            for annotation in own:
                self._add_box(annotation, file)
        for image_id in of_image:
            self.report(UserError(f"{file}: annotations of image id {image_id}, which is not listed"))

    def _by_image(self, annotations: list[Record], file: Path) -> dict[int, list[Record]]:
        of_image: dict[int, list[Record]] = defaultdict(list)
        for annotation in annotations:
            try:
                of_image[_integer(annotation, "image_id", file, "annotation")].append(annotation)
            except UserError as error:
                self.report(error)
        return of_image

    def _add_image(self, image: Record, image_id: int, file: Path) -> None:
        if image_id in self.seen:
            raise UserError(f"{file}: image id {image_id} occurs twice")
        self.seen.add(image_id)
        where = f"{file}: image {image_id}"
        name = _value(image, "file_name", file, "image")
        if not isinstance(name, str):
            raise UserError(f"{where}: expected a file_name, got {shown(name)}")
        path = path_inside(self.images, name, file)
        self.builder.add_image(path, image_id, *self._size_of(image, path, where))

    def _size_of(self, image: Record, path: Path, where: str) -> Size:
        height, width = image.get("height"), image.get("width")
        if is_missing_size(height) or is_missing_size(width):
            return size_from_image(path, where, self.builder.max_pixels)
        return (
            checked_integer(height, 1, LONGEST_SIDE, f"{where}: height"),
            checked_integer(width, 1, LONGEST_SIDE, f"{where}: width"),
        )

    def _add_box(self, annotation: Record, file: Path) -> None:
        try:
            category = _integer(annotation, "category_id", file, "annotation")
            if category not in self.category_ids:
                raise UserError(
                    f"{_where(annotation, file)}: unknown category_id {category}; "
                    f"known: {', '.join(map(str, sorted(self.category_ids)))}"
                )
            if category not in self.labels:
                return
            is_crowd = _is_crowd(annotation, file)
            box = _box_of(annotation, file)
            area = self._area_of(annotation, box, file)
        except UserError as error:
            self.report(error)
            return
        if not any(box):
            self.builder.remark(PLACEHOLDER, _where(annotation, file))
        else:
            self.builder.add_box(box, area, self.labels[category], is_crowd)

    def _area_of(self, annotation: Record, box: Box, file: Path) -> float:
        area: Any = annotation.get("area")
        if type(area) in (float, int) and abs(area) < LARGEST_AREA:  # as it nearly always is: no text is made
            return float(area)
        if area is not None:
            return checked_number(area, f"{_where(annotation, file)}: area")
        if "area" in annotation:
            self.builder.remark(NULL_AREA, _where(annotation, file))
        x1, y1, x2, y2 = box
        return (x2 - x1) * (y2 - y1)


def _where(annotation: Record, file: Path) -> str:
    return f"{file}: annotation {shown(annotation.get('id'))}"


def _value(record: Record, name: str, file: Path, kind: str) -> Any:
    if name not in record:
        raise UserError(f"{file}: {kind} {shown(record.get('id'))}: no {name!r}")
    return record[name]


def _integer(record: Record, name: str, file: Path, kind: str) -> int:
    value = _value(record, name, file, kind)
    if type(value) is int and abs(value) <= LARGEST_ID:  # as it nearly always is: no text is made
        return value
    return checked_integer(value, -LARGEST_ID, LARGEST_ID, f"{file}: {kind} {shown(record.get('id'))}: {name}")


def _is_crowd(annotation: Record, file: Path) -> bool:
    value = annotation.get("iscrowd", 0)
    if type(value) is int and value in (0, 1):  # as it nearly always is: no text is made
        return value == 1
    return checked_flag(value, f"{_where(annotation, file)}: iscrowd")


def _box_of(annotation: Record, file: Path) -> Box:
    """The corners of COCO's box."""
    bbox = _value(annotation, "bbox", file, "annotation")
    if not isinstance(bbox, list) or len(bbox) != 4:
        text = ", which is text" if isinstance(bbox, str) else ""
        raise UserError(f"{_where(annotation, file)}: expected bbox [x, y, width, height], got {shown(bbox)}{text}")
    try:
        x, y, width, height = (value if type(value) is float else checked_number(value, "bbox") for value in bbox)
    except UserError as error:
        raise UserError(f"{_where(annotation, file)}: {error}") from None
    box = (x, y, x + width, y + height)
    if not is_box(*box):
        raise UserError(
            f"{_where(annotation, file)}: expected bbox [x, y, width, height] of finite numbers and of no negative "
            f"side, got {shown(bbox)}"
        )
    return box
