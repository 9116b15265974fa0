"""One reading of each kind of value, the same in COCO's JSON and in VOC's XML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from detector.config import DataConfig, SplitConfig
from detector.data import load_annotations
from detector.data.annotations import Annotations
from detector.data.coco import read_coco
from detector.data.values import checked_flag, checked_integer, checked_number, is_missing_size
from detector.data.voc import read_voc
from detector.errors import UserError

XML = """<annotation><filename>x.png</filename>{size}<object><name>cat</name>{difficult}
<bndbox><xmin>{xmin}</xmin><ymin>3</ymin><xmax>11</xmax><ymax>12</ymax></bndbox></object></annotation>"""
SIZE = "<size><width>{width}</width><height>{height}</height></size>"


def coco(folder: Path, image: dict[str, Any] | None = None, **box: Any) -> Annotations:
    """A COCO file of an image of 30 x 20 pixels with a box, some of whose values are others."""
    images = [{"id": 7, "file_name": "x.png", "height": 20, "width": 30, **(image or {})}]
    annotations = [{"id": 1, "image_id": 7, "category_id": 4, "bbox": [1, 2, 10, 5], "area": 30.0, "iscrowd": 0, **box}]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 4, "name": "cat"}]}
    (folder / "x.json").write_text(json.dumps(content))
    return read_coco([folder / "x.json"], folder)


def voc(folder: Path, size: str | None = None, difficult: str = "", xmin: str = "2") -> Annotations:
    """A VOC data set of the same image."""
    for name in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    size = SIZE.format(width=30, height=20) if size is None else size
    (folder / "Annotations/x.xml").write_text(XML.format(size=size, difficult=difficult, xmin=xmin))
    (folder / "ImageSets/Main/train.txt").write_text("x\n")
    return read_voc([folder / "ImageSets/Main/train.txt"], ["cat"])


@pytest.mark.parametrize(
    ("value", "number"),
    [(3, 3), (3.5, 3.5), ("3", 3), (" 3.50 ", 3.5), ("-2", -2), ("+.5", 0.5), ("1e3", 1000), ("7.", 7)],
)
def test_numbers(value: object, number: float) -> None:
    assert checked_number(value, "x") == number


@pytest.mark.parametrize(
    "value",
    [None, True, False, "", "three", "1_000", "3,5", "nan", "inf", "0x10", "١٢", "1 2", [], {}, float("nan"), 10**400],
)
def test_no_numbers(value: object) -> None:
    with pytest.raises(UserError, match=r"^x: expected a number, got ") as caught:
        checked_number(value, "x")
    assert str(caught.value).endswith(", which is text") == isinstance(value, str)


def test_whole_numbers() -> None:
    assert [checked_integer(value, 0, 2**63, "x") for value in (640, 640.0, "640", "640.0")] == [640] * 4
    assert checked_integer(str(2**62 + 1), 0, 2**63, "x") == 2**62 + 1  # more than float64 tells apart
    for value in (640.5, "640.5", True, None, "", -1, 2**64, "9" * 400):
        with pytest.raises(UserError, match=r"^x: expected a whole number from 0 to "):
            checked_integer(value, 0, 2**63, "x")


@pytest.mark.parametrize("value", [1, 1.0, True, "1", " 1 ", "true", "True", "1.0"])
def test_flags_that_are_set(value: object) -> None:
    assert checked_flag(value, "x") is True


@pytest.mark.parametrize("value", [0, 0.0, False, "0", "false", "FALSE", "", " ", None])
def test_flags_that_are_not(value: object) -> None:
    assert checked_flag(value, "x") is False


@pytest.mark.parametrize("value", [2, -1, 0.5, "yes", "Unspecified", [], [1], {}, float("nan")])
def test_what_is_no_flag(value: object) -> None:
    with pytest.raises(UserError, match=r"^x: expected 0 or 1, got "):
        checked_flag(value, "x")


def test_missing_sizes() -> None:
    assert all(map(is_missing_size, (None, 0, 0.0, "0", "", "  ")))
    assert not any(map(is_missing_size, (1, -1, "12", "wide", [], float("nan"), False)))


@pytest.mark.parametrize("text", ["1", "true", "True"])
def test_the_mark_of_what_counts_neither_way(text: str, tmp_path: Path) -> None:
    assert coco(tmp_path, iscrowd=text).ignore.tolist() == [True]
    assert voc(tmp_path, difficult=f"<difficult>{text}</difficult>").ignore.tolist() == [True]


@pytest.mark.parametrize("text", ["0", "false", ""])
def test_the_mark_that_is_not_set(text: str, tmp_path: Path) -> None:
    """As text, "0" and "false" were once taken for true in JSON."""
    assert coco(tmp_path, iscrowd=text).ignore.tolist() == [False]
    assert voc(tmp_path, difficult=f"<difficult>{text}</difficult>").ignore.tolist() == [False]
    assert voc(tmp_path).ignore.tolist() == [False]


def test_a_mark_of_no_meaning_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"x\.json: annotation 1: iscrowd: expected 0 or 1, got 'maybe', which is text"):
        coco(tmp_path, iscrowd="maybe")
    with pytest.raises(UserError, match=r"x\.xml: object 'cat': difficult: expected 0 or 1, got 'maybe', which is tex"):
        voc(tmp_path, difficult="<difficult>maybe</difficult>")


def test_numbers_as_text_in_coco(tmp_path: Path) -> None:
    image = {"id": "7", "height": "20", "width": "30.0"}
    read = coco(tmp_path, image, image_id="7", category_id="4", bbox=["1", "2.0", "10", "5"], area="30.5")
    assert read.image_ids.tolist() == [7]
    assert read.sizes.tolist() == [[20, 30]]
    assert read.boxes.tolist() == [[1, 2, 11, 7]]
    assert read.areas.tolist() == [30.5]


@pytest.mark.parametrize(
    ("image", "box", "message"),
    [
        ({"id": "img_7"}, {}, "image 'img_7': id: expected a whole number .*, got 'img_7', which is text"),
        ({"height": "tall"}, {}, "image 7: height: expected a whole number .*, got 'tall', which is text"),
        ({}, {"image_id": "seven"}, "annotation 1: image_id: expected a whole number .*, which is text"),
        ({}, {"category_id": "cat"}, "annotation 1: category_id: expected a whole number .*, which is text"),
        ({}, {"bbox": [1, 2, "3,5", 4]}, "annotation 1: bbox: expected a number, got '3,5', which is text"),
        ({}, {"bbox": "1234"}, r"annotation 1: expected bbox \[x, y, width, height\], got '1234', which is text"),
        ({}, {"bbox": {"x": 1, "y": 2, "w": 3, "h": 4}}, "annotation 1: expected bbox"),
        ({}, {"bbox": [1, 2, True, 4]}, "annotation 1: bbox: expected a number, got True"),
        ({}, {"bbox": [1, 2, 3]}, "annotation 1: expected bbox"),
        ({}, {"area": "large"}, "annotation 1: area: expected a number, got 'large', which is text"),
    ],
)
def test_what_coco_refuses(image: dict[str, Any], box: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"x\.json: {message}"):
        coco(tmp_path, image, **box)


@pytest.mark.parametrize("missing", [{"height": None}, {"width": 0}, {"height": "", "width": "0"}, {"height": 0.0}])
def test_a_size_that_coco_lacks_is_that_of_the_image(missing: dict[str, Any], tmp_path: Path) -> None:
    Image.new("RGB", (33, 22)).save(tmp_path / "x.png")
    assert coco(tmp_path, missing).sizes.tolist() == [[22, 33]]


@pytest.mark.parametrize(
    "size", ["", "<size/>", SIZE.format(width=0, height=0), SIZE.format(width="", height=20), "<size><width/></size>"]
)
def test_a_size_that_voc_lacks_is_that_of_the_image(size: str, tmp_path: Path) -> None:
    (tmp_path / "JPEGImages").mkdir()
    Image.new("RGB", (33, 22)).save(tmp_path / "JPEGImages/x.png")
    assert voc(tmp_path, size).sizes.tolist() == [[22, 33]]


def test_a_missing_size_is_that_of_the_upright_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (33, 22)).save(tmp_path / "x.png", exif=exif)
    assert coco(tmp_path, {"height": 0, "width": 0}).sizes.tolist() == [[33, 22]]


def test_a_placeholder_is_no_object(tmp_path: Path) -> None:
    read = coco(tmp_path, bbox=[0, 0, 0, 0])
    assert (len(read), len(read.boxes)) == (1, 0)
    kind = "box 0 0 0 0, a placeholder that marks no object; left out"
    assert read.remarks == ((kind, f"{tmp_path}/x.json: annotation 1"),)
    xml = XML.format(size=SIZE.format(width=30, height=20), difficult="", xmin="0")
    voc(tmp_path)
    (tmp_path / "Annotations/x.xml").write_text(xml.replace(">3<", ">0<").replace(">11<", ">0<").replace(">12<", ">0<"))
    read = read_voc([tmp_path / "ImageSets/Main/train.txt"], ["cat"])
    assert (len(read), len(read.boxes)) == (1, 0)
    assert read.remarks == ((kind, f"{tmp_path}/Annotations/x.xml: object 'cat'"),)


def test_an_area_that_is_null_or_missing_is_the_boxs(tmp_path: Path) -> None:
    read = coco(tmp_path, area=None)
    assert read.areas.tolist() == [50]
    assert [remark.message for remark in read.remarks] == [f"{tmp_path}/x.json: annotation 1"]


def test_a_file_of_images_alone(tmp_path: Path) -> None:
    content = {"images": [{"id": 581, "file_name": "x.png", "height": 20, "width": 30}]}
    content["categories"] = [{"id": 4, "name": "cat"}]  # type: ignore[list-item]
    (tmp_path / "info.json").write_text(json.dumps(content))
    read = read_coco([tmp_path / "info.json"], tmp_path)
    assert (read.is_annotated, read.image_ids.tolist()) == (False, [581])
    coco(tmp_path)
    with pytest.raises(UserError, match=r"x\.json: it has the list 'annotations' and .*info\.json has not"):
        read_coco([tmp_path / "info.json", tmp_path / "x.json"], tmp_path)
    split = SplitConfig(("info.json",))
    data = DataConfig(root=str(tmp_path), train=split, val=split)
    assert not load_annotations(data, "val").is_annotated
    with pytest.raises(UserError, match=r"data\.train: expected COCO files with the list 'annotations'"):
        load_annotations(data, "train")
