"""Annotation files and images with changes drawn at random, for the tests of the readers and for fuzzing them."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from PIL import Image

from detector.data import Annotations
from detector.data.coco import read_coco
from detector.data.loader import read_image
from detector.data.voc import read_voc
from detector.errors import UserError

COCO = {
    "images": [{"id": 7, "file_name": "a.png", "height": 20, "width": 30}],
    "annotations": [{"id": 1, "image_id": 7, "category_id": 4, "bbox": [1, 2, 10, 5], "area": 30.0, "iscrowd": 0}],
    "categories": [{"id": 4, "name": "cat"}],
}
VOC = b"""<annotation><filename>1.jpg</filename><size><width>30</width><height>20</height></size>
<object><name>cat</name><difficult>0</difficult>
<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>11</xmax><ymax>12</ymax></bndbox></object></annotation>"""

anything = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(),
        st.sampled_from([2**63, -(2**63), 10**400, 1e308, "../x", "\0", "cat", 7, 4]),
    ),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in nested lists and dicts."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in ((value, key), *places(value[key]))]


def assert_valid(annotations: Annotations) -> None:
    assert int(annotations.offsets[-1]) == len(annotations.boxes) == len(annotations.labels) == len(annotations.ignore)
    assert bool(annotations.boxes.isfinite().all())
    assert bool((annotations.sizes > 0).all())
    assert bool(((annotations.labels >= 0) & (annotations.labels < len(annotations.class_names))).all())


def assert_one_line(error: UserError) -> None:
    assert "\n" not in str(error)
    assert len(str(error)) < 3000


def check_changed_coco_file(data: st.DataObject, folder: Path) -> None:
    """Replace or remove parts of a COCO file, whatever they are, and read it in the folder."""
    content = copy.deepcopy(COCO)
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(content)))
        if data.draw(st.booleans()):
            container[key] = data.draw(anything)
        elif isinstance(container, dict):
            del container[key]
        if not places(content):
            break
    file = folder / "instances.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    try:
        assert_valid(read_coco([file], folder))
    except UserError as error:
        assert_one_line(error)


def check_changed_bytes(data: st.DataObject, folder: Path) -> None:
    """Replace a stretch of bytes of a COCO file, VOC file, VOC list or image, and read it in the folder."""
    kind = data.draw(st.sampled_from(["coco", "voc", "list", "image"]))
    for part in ("Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "Annotations/1.xml").write_bytes(VOC)
    image_list = folder / "ImageSets/Main/train.txt"
    image_list.write_bytes(b"1\n")
    stream = io.BytesIO()
    Image.linear_gradient("L").resize((30, 20)).save(stream, data.draw(st.sampled_from(["jpeg", "png", "gif", "tiff"])))
    original = {"coco": json.dumps(COCO).encode(), "voc": VOC, "list": b"1 1\n", "image": stream.getvalue()}[kind]
    begin = data.draw(st.integers(0, len(original)))
    end = data.draw(st.integers(begin, len(original)))
    broken = original[:begin] + data.draw(st.binary(max_size=8)) + original[end:]
    try:
        if kind == "coco":
            (folder / "x.json").write_bytes(broken)
            assert_valid(read_coco([folder / "x.json"], folder))
        elif kind == "image":
            (folder / "x.img").write_bytes(broken)
            assert read_image(str(folder / "x.img")).shape[0] == 3
        else:
            (folder / "Annotations/1.xml" if kind == "voc" else image_list).write_bytes(broken)
            assert_valid(read_voc([image_list], ["cat"]))
    except UserError as error:
        assert_one_line(error)
