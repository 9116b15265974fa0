"""Small folders in COCO's and VOC's layouts, for the tests of the data check."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from detector.data.check import check_data
from detector.data.layout import find_data
from detector.data.problems import by_kind

CATEGORIES = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
XML = """<annotation><size><width>40</width><height>30</height></size>{objects}</annotation>"""
OBJECT = """<object><name>{name}</name><bndbox><xmin>{x1}</xmin><ymin>2</ymin><xmax>{x2}</xmax><ymax>20</ymax></bndbox>
</object>"""


def write_image(file: Path, width: int = 40, height: int = 30) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((width, height), 60).convert("RGB").save(file)


def write_coco(root: Path, split: str, images: int = 2, **changes: Any) -> Path:
    """Images 1, 2, ... of 40 x 30 pixels in a folder of the split's name, each with a cat and a dog."""
    records, boxes = [], []
    for number in range(1, images + 1):
        write_image(root / split / f"{number}.jpg")
        records.append({"id": number, "file_name": f"{number}.jpg", "height": 30, "width": 40})
        for category in (1, 2):
            box = [5.0, 4.0, 10.0 * category, 12.0]
            boxes.append({"id": len(boxes) + 1, "image_id": number, "category_id": category, "bbox": box})
    (root / "annotations").mkdir(exist_ok=True)
    content = {"images": records, "annotations": boxes, "categories": CATEGORIES, **changes}
    file = root / "annotations" / f"instances_{split}.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def write_voc(root: Path, split: str, objects: dict[str, str]) -> None:
    """An image and its XML for each name, and the list of them."""
    for name, content in objects.items():
        write_image(root / "JPEGImages" / f"{name}.jpg")
        (root / "Annotations").mkdir(exist_ok=True)
        (root / "Annotations" / f"{name}.xml").write_text(XML.format(objects=content), encoding="utf-8")
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True, exist_ok=True)
    (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in objects), encoding="utf-8")


def voc_object(name: str = "cat", x1: float = 3, x2: float = 20) -> str:
    return OBJECT.format(name=name, x1=x1, x2=x2)


def changed(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}), encoding="utf-8")


def problems_of(folder: Path, decode: bool = True) -> dict[tuple[str, str], list[str]]:
    return by_kind(check_data(find_data(folder), decode).problems)
