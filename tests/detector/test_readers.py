"""The COCO and VOC readers: what they read, and that every error is one line that names the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from detector.data.annotations import path_inside
from detector.data.coco import read_coco
from detector.data.voc import read_voc
from detector.errors import UserError

REPOSITORY = Path(__file__).parents[2]

COCO: dict[str, Any] = {
    "images": [
        {"id": 7, "file_name": "a.png", "height": 20, "width": 30},
        {"id": 3, "file_name": "b.png", "height": 20, "width": 30},
    ],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 90, "bbox": [1, 2, 10, 5], "area": 30.0, "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 4, "bbox": [0, 0, 30, 20], "area": 600.0, "iscrowd": 1},
    ],
    "categories": [{"id": 90, "name": "toothbrush"}, {"id": 4, "name": "motorcycle"}],
}
BOX = COCO["annotations"][0]
IMAGE = COCO["images"][0]

VOC_OBJECT = """<object><name>{name}</name><difficult>{difficult}</difficult>
<bndbox><xmin>{xmin}</xmin><ymin>2</ymin><xmax>11</xmax><ymax>12</ymax></bndbox></object>"""
VOC = "<annotation><size><width>30</width><height>20</height></size>{objects}</annotation>"


def write_coco(folder: Path, **changes: Any) -> Path:
    file = folder / "instances.json"
    file.write_text(json.dumps({**COCO, **changes}), encoding="utf-8")
    return file


def write_voc(root: Path, xml: str, name: str = "000001") -> Path:
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "Annotations" / "000001.xml").write_text(xml, encoding="utf-8")
    image_list = root / "ImageSets/Main/trainval.txt"
    image_list.write_text(f"{name}\n", encoding="utf-8")
    return image_list


def voc_object(name: str = "cat", difficult: int = 0, xmin: str = "1") -> str:
    return VOC_OBJECT.format(name=name, difficult=difficult, xmin=xmin)


def test_coco(tmp_path: Path) -> None:
    annotations = read_coco([write_coco(tmp_path)], tmp_path)
    assert annotations.class_names == ("motorcycle", "toothbrush")  # labels follow the category ids
    assert annotations.category_ids.tolist() == [4, 90]
    assert annotations.labels.tolist() == [1, 0]
    assert annotations.boxes.tolist() == [[1, 2, 11, 7], [0, 0, 30, 20]]
    assert annotations.areas.tolist() == [30, 600]
    assert annotations.ignore.tolist() == [False, True]
    assert annotations.image_ids.tolist() == [7, 3]
    assert annotations.offsets.tolist() == [0, 2, 2]  # the empty image is kept
    assert annotations.files.tolist() == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]


def test_coco_keeps_the_classes_named_in_their_order(tmp_path: Path) -> None:
    annotations = read_coco([write_coco(tmp_path)], tmp_path, ["toothbrush"])
    assert annotations.class_names == ("toothbrush",)
    assert annotations.labels.tolist() == [0]
    assert len(annotations) == 2


def test_coco_shards(tmp_path: Path) -> None:
    first = write_coco(tmp_path)
    other = tmp_path / "second"
    other.mkdir()
    images = [{"id": 8, "file_name": "c.png", "height": 4, "width": 4}]
    second = write_coco(other, images=images, annotations=[{**BOX, "image_id": 8}])
    annotations = read_coco([first, second], tmp_path)
    assert annotations.image_ids.tolist() == [7, 3, 8]
    assert annotations.offsets.tolist() == [0, 2, 2, 3]
    with pytest.raises(UserError, match="image id 7 occurs twice"):
        read_coco([first, first], tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": None}, "expected a COCO file with the list 'annotations'"),
        ({"annotations": [7]}, "expected a COCO file with the list 'annotations' of objects"),
        ({"categories": [*COCO["categories"], {"id": 5, "name": "motorcycle"}]}, "its id or its name occurs twice"),
        ({"categories": [*COCO["categories"], {"id": 4, "name": "bicycle"}]}, "its id or its name occurs twice"),
        ({"annotations": [{**BOX, "category_id": 1e300}]}, "category_id: expected a whole number"),
        ({"annotations": [{**BOX, "bbox": [1, 2, 1e300, 4]}]}, "annotation 1: expected bbox"),
        ({"annotations": [{**BOX, "area": float("inf")}]}, "annotation 1: area: expected a number, got inf"),
        ({"images": [{**IMAGE, "height": -1}]}, "image 7: height: expected a whole number from 1 to 1000000, got -1"),
        ({"images": [{**IMAGE, "id": "seven"}]}, "id: expected a whole number .* got 'seven'"),
        ({"images": [{**IMAGE, "file_name": 7}]}, "image 7: expected a file_name, got 7"),
        ({"annotations": [{**BOX, "category_id": 5}]}, "annotation 1: unknown category_id 5"),
        ({"annotations": [{**BOX, "image_id": 99}]}, "image id 99, which is not listed"),
        ({"annotations": [{**BOX, "bbox": [1, 2, -3, 4]}]}, "annotation 1: expected bbox"),
        ({"annotations": [{**BOX, "bbox": [1, 2, float("nan"), 4]}]}, "annotation 1: expected bbox"),
        ({"annotations": [{**BOX, "bbox": "box"}]}, "annotation 1: expected bbox"),
        ({"annotations": [{"id": 1, "image_id": 7, "category_id": 4}]}, "annotation 1: no 'bbox'"),
        ({"images": [{"id": 7, "file_name": "a.png", "height": 20}]}, "image 7: no height and width, and the image"),
        (
            {"images": [{"id": 7, "file_name": "../../etc/passwd", "height": 20, "width": 30}]},
            "leaves the data folder",
        ),
    ],
)
def test_coco_errors_name_the_file(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    file = write_coco(tmp_path, **changes)
    with pytest.raises(UserError, match=message) as caught:
        read_coco([file], tmp_path)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_coco_numbers_may_be_written_as_floats(tmp_path: Path) -> None:
    annotations = read_coco([write_coco(tmp_path, images=[{**IMAGE, "height": 20.0}], annotations=[])], tmp_path)
    assert annotations.sizes.tolist() == [[20, 30]]


def test_readers_can_go_on_after_a_problem(tmp_path: Path) -> None:
    broken = [{**BOX, "category_id": 5}, {**BOX, "bbox": "box"}, {**BOX, "image_id": 99}]
    problems: list[UserError] = []
    file = write_coco(tmp_path, annotations=[*broken, *COCO["annotations"]])
    annotations = read_coco([file, file, tmp_path / "nowhere.json"], tmp_path, report=problems.append)
    assert len(annotations.boxes) == 2
    told = [str(problem) for problem in problems]
    assert [sum(text in line for line in told) for text in ("unknown", "bbox", "id 99", "twice", "No such")] == [
        1,
        1,
        2,
        2,
        1,
    ]

    problems.clear()
    xml = VOC.format(objects=voc_object("zebra") + voc_object("cat"))
    image_list = write_voc(tmp_path, xml)
    image_list.write_text("000001\n000002\n000001\n", encoding="utf-8")
    annotations = read_voc([image_list], ["cat"], report=problems.append)
    assert (len(annotations), len(annotations.boxes)) == (1, 1)
    assert [str(problem).rsplit(": ", 1)[-1] for problem in problems] == [
        "cat",
        "No such file or directory",
        "image '000001' is listed twice",
    ]


def test_coco_file_that_is_missing_or_not_json(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.json: No such file"):
        read_coco([tmp_path / "nowhere.json"], tmp_path)
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"broken\.json: not JSON"):
        read_coco([tmp_path / "broken.json"], tmp_path)
    with pytest.raises(UserError, match="no class 'dog'; known: toothbrush, motorcycle"):
        read_coco([write_coco(tmp_path)], tmp_path, ["dog"])


@pytest.mark.parametrize("name", ["/etc/passwd", "a/../../b", "..", "C:\\x.jpg", "..\\b", "\\\\host\\b"])
def test_names_that_leave_the_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leaves the data folder"):
        path_inside(tmp_path, name, tmp_path / "source.json")


@pytest.mark.parametrize("name", ["", "a\0.png", "a\n.png", "\ud800.png", "a" * 2000])
def test_names_that_no_file_should_have(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a file name of 1 to 1024 characters") as caught:
        path_inside(tmp_path, name, tmp_path / "source.json")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


def test_symbolic_links_are_the_users_own(tmp_path: Path) -> None:
    """Data folders are often links to a disk; whoever can make one can read the file anyway."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "images").symlink_to(tmp_path / "disk")
    path = path_inside(tmp_path, "images/ä b\u3000.png", tmp_path / "source.json")
    path.touch()
    assert (tmp_path / "disk" / path.name).exists()


def test_voc_2007_and_2012_are_two_lists(tmp_path: Path) -> None:
    lists = [write_voc(tmp_path / year, VOC.format(objects=voc_object())) for year in ("VOC2007", "VOC2012")]
    annotations = read_voc(lists, ["cat"])
    assert annotations.image_ids.tolist() == [1, 2]
    assert annotations.files.tolist() == [
        str(tmp_path / year / "JPEGImages/000001.jpg") for year in ("VOC2007", "VOC2012")
    ]


def test_voc_takes_the_ending_of_the_image_from_the_xml(tmp_path: Path) -> None:
    for written, expected in (("photo.png", "000001.png"), ("photo", "000001.jpg"), ("../x.exe", "000001.jpg")):
        xml = VOC.format(objects=f"<filename>{written}</filename>")
        assert read_voc([write_voc(tmp_path, xml)], ["cat"]).files.tolist() == [str(tmp_path / "JPEGImages" / expected)]


def test_voc_counts_from_one_and_marks_difficult(tmp_path: Path) -> None:
    xml = VOC.format(objects=voc_object("dog") + voc_object("cat", difficult=1))
    annotations = read_voc([write_voc(tmp_path, xml)], ["cat", "dog"])
    assert annotations.boxes.tolist() == [[0, 1, 10, 11]] * 2
    assert annotations.labels.tolist() == [1, 0]
    assert annotations.ignore.tolist() == [False, True]
    assert annotations.sizes.tolist() == [[20, 30]]
    assert annotations.files.tolist() == [str(tmp_path / "JPEGImages/000001.jpg")]


def test_voc_keeps_empty_images(tmp_path: Path) -> None:
    annotations = read_voc([write_voc(tmp_path, VOC.format(objects=""))], ["cat"])
    assert len(annotations) == 1
    assert len(annotations.without_empty()) == 0


LAUGHS = """<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>
<annotation><folder>&b;</folder></annotation>"""
OUTSIDE = """<!DOCTYPE x [<!ENTITY secret SYSTEM "file:///etc/passwd">]>
<annotation><folder>&secret;</folder></annotation>"""


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        (LAUGHS, "a document type or entity is declared"),
        (OUTSIDE, "a document type or entity is declared"),
        ("<annotation>", "not XML"),
        ("<annotation/>", "no height and width, and the image that has them can not be read"),
        (VOC.format(objects=voc_object("zebra")), "unknown class 'zebra'; known: cat"),
        (VOC.format(objects=voc_object(xmin="left")), "bndbox/xmin: expected a number, got 'left'"),
        (VOC.format(objects=voc_object(xmin="nan")), "bndbox/xmin: expected a number, got 'nan'"),
        (VOC.format(objects=voc_object(xmin="12")), "'cat': expected xmin <= xmax and ymin <= ymax, got 12 2 11 12"),
        (VOC.format(objects=voc_object(xmin="-1e300")), "'cat': expected xmin <= xmax"),
        (VOC.format(objects="").replace("20", "1e300"), "size/height: expected a whole number"),
        ("<a>" * 100_000 + "</a>" * 100_000, "expected VOC's element annotation, got 'a'"),
    ],
)
def test_voc_errors_name_the_file(tmp_path: Path, xml: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_voc([write_voc(tmp_path, xml)], ["cat"])
    assert "000001.xml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_voc_hostile_encoding_and_name(tmp_path: Path) -> None:
    image_list = write_voc(tmp_path, "")
    (tmp_path / "Annotations/000001.xml").write_bytes(LAUGHS.encode("utf-16"))
    with pytest.raises(UserError, match="a document type or entity is declared"):
        read_voc([image_list], ["cat"])
    with pytest.raises(UserError, match="leaves the data folder"):
        read_voc([write_voc(tmp_path, "", name="../../secret")], ["cat"])


def test_voc_needs_class_names(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.classes: expected the class names"):
        read_voc([write_voc(tmp_path, VOC.format(objects=""))], [])


def test_bccd() -> None:
    root = REPOSITORY / "datasets" / "bccd_small"
    boxes = 0
    for split, images in (("trainval", 292), ("test", 72)):
        found = read_voc([root / "ImageSets" / "Main" / f"{split}.txt"], ["RBC", "WBC", "Platelets"])
        assert len(found) == images
        assert set(found.labels.tolist()) == {0, 1, 2}
        assert not found.ignore.any()
        assert all(Path(file).is_file() for file in found.files)
        boxes += len(found.boxes)
    assert boxes == 4888
