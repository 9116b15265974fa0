"""Which file a name stands for: spaces, folders, marks, endings, separators, encodings, hidden files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from detector.data.annotations import Annotations, path_inside
from detector.data.check import check_data
from detector.data.coco import read_coco
from detector.data.layout import find_data
from detector.data.problems import by_kind
from detector.data.voc import read_voc
from detector.data.voc_files import read_list, read_xml, root_of
from detector.errors import UserError

OBJECT = (
    "<object><name>{cls}</name><bndbox><xmin>2</xmin><ymin>3</ymin><xmax>11</xmax><ymax>12</ymax></bndbox></object>"
)
XML = (
    "<annotation><filename>{filename}</filename><size><width>30</width><height>20</height></size>{objects}</annotation>"
)


def xml_of(filename: str = "x.jpg", cls: str = "cat") -> str:
    return XML.format(filename=filename, objects=OBJECT.format(cls=cls))


def write_voc(root: Path, *names: str, ending: str = ".jpg", filename: str | None = None) -> None:
    """Image and XML of each name; the class of an object is its image's name."""
    for number, name in enumerate(names):
        for file in (root / f"JPEGImages/{name}{ending}", root / f"Annotations/{name}.xml"):
            file.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((30, 20), 40 + number).convert("RGB").save(root / f"JPEGImages/{name}{ending}")
        (root / f"Annotations/{name}.xml").write_text(xml_of(filename or f"{name}{ending}"), encoding="utf-8")


def read(root: Path, text: str | bytes, place: str = "ImageSets/Main/train.txt") -> Annotations:
    image_list = root / place
    image_list.parent.mkdir(parents=True, exist_ok=True)
    image_list.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_voc([image_list], ["cat"])


def images_of(annotations: Annotations, root: Path) -> list[str]:
    return [Path(file).relative_to(root / "JPEGImages").as_posix() for file in annotations.files.tolist()]


@pytest.mark.parametrize(
    "name", ["plate (1)", "a b c", "street/cam 1/0001", "x.y.z", "ä ö", "猫", "a-1", "a 1", "a\u00a0b", "x.jpg"]
)
def test_names(name: str, tmp_path: Path) -> None:
    write_voc(tmp_path, "plate", "a", "x", name)
    assert images_of(read(tmp_path, f"{name}\n"), tmp_path) == [f"{name}.jpg"]
    assert images_of(read(tmp_path, f"  {name}\t\r\n\r\n"), tmp_path) == [f"{name}.jpg"]


def test_the_marks_of_the_development_kit(tmp_path: Path) -> None:
    write_voc(tmp_path, "000005", "000007", "my image")
    text = "000005 -1\n000007  1\nmy image  0\n"
    assert images_of(read(tmp_path, text), tmp_path) == ["000005.jpg", "000007.jpg", "my image.jpg"]
    assert images_of(read(tmp_path, '"my image" 1\n000007 -1\n'), tmp_path) == ["my image.jpg", "000007.jpg"]


def test_a_mark_is_never_taken_from_a_name(tmp_path: Path) -> None:
    """``plate 1`` is an image of its own; if it is missing, ``plate`` does not stand in for it."""
    write_voc(tmp_path, "plate", "other", "plate 1")
    assert images_of(read(tmp_path, "plate 1\n"), tmp_path) == ["plate 1.jpg"]
    (tmp_path / "Annotations/plate 1.xml").unlink()
    with pytest.raises(UserError, match=r"plate 1\.xml: No such file"):
        read(tmp_path, "other\nplate 1\n")


@pytest.mark.parametrize("line", ["a.jpg", "a.JPG", "a.xml", '"a"'])
def test_lists_of_files(line: str, tmp_path: Path) -> None:
    write_voc(tmp_path, "a")
    assert images_of(read(tmp_path, f"{line}\n"), tmp_path) == ["a.jpg"]
    with pytest.raises(UserError, match="image 'a' is listed twice"):
        read(tmp_path, f"{line}\na\n")


@pytest.mark.parametrize(
    ("ending", "filename"),
    [(".png", "a.png"), (".JPG", "a.jpg"), (".jpeg", "a.jpg"), (".PNG", "C:\\Users\\me\\a.jpg"), (".jpg", "photo")],
)
def test_the_ending_of_the_image(ending: str, filename: str, tmp_path: Path) -> None:
    write_voc(tmp_path, "a", ending=ending, filename=filename)
    assert images_of(read(tmp_path, "a\n"), tmp_path) == [f"a{ending}"]


@pytest.mark.parametrize(
    "place", ["ImageSets/Main/train.txt", "ImageSets/Main/task 7/train.txt", "train.txt", "lists/x"]
)
def test_the_root_is_found_however_deep_a_list_or_a_name_is(place: str, tmp_path: Path) -> None:
    write_voc(tmp_path, "street/2024/0001")
    assert root_of(tmp_path / place) == tmp_path
    assert images_of(read(tmp_path, "street/2024/0001\n", place), tmp_path) == ["street/2024/0001.jpg"]


def test_windows_separators(tmp_path: Path) -> None:
    write_voc(tmp_path, "cam1/0001")
    assert images_of(read(tmp_path, "cam1\\0001\r\n"), tmp_path) == ["cam1/0001.jpg"]
    image = {"id": 1, "file_name": "cam1\\0001.jpg", "height": 20, "width": 30}
    content = {"images": [image], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "x.json").write_text(json.dumps(content))
    read_files = read_coco([tmp_path / "x.json"], tmp_path / "JPEGImages").files.tolist()
    assert read_files == [str(tmp_path / "JPEGImages/cam1/0001.jpg")]


def test_a_name_that_holds_a_backslash(tmp_path: Path) -> None:
    (tmp_path / "a\\b.png").touch()
    assert path_inside(tmp_path, "a\\b.png", tmp_path) == tmp_path / "a\\b.png"
    assert path_inside(tmp_path, "c\\b.png", tmp_path) == tmp_path / "c/b.png"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_lists_with_a_byte_order_mark(encoding: str, tmp_path: Path) -> None:
    write_voc(tmp_path, "ä", "b")
    assert images_of(read(tmp_path, "ä\r\nb\r\n".encode(encoding)), tmp_path) == ["ä.jpg", "b.jpg"]


def test_a_list_in_no_known_encoding(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.txt: expected UTF-8 text; save it as UTF-8"):
        read(tmp_path, "ä\n".encode("latin-1"))


@pytest.mark.parametrize(
    ("encoding", "declared", "name"),
    [
        ("utf-8", None, "猫"),
        ("utf-8-sig", "utf-8", "猫"),
        ("gb2312", "GB2312", "猫"),
        ("shift_jis", "Shift_JIS", "猫"),
        ("latin-1", "ISO-8859-1", "Äpfel"),
        ("cp1251", "windows-1251", "кот"),
        ("utf-16", "utf-16", "猫"),
        ("utf-16-le", "utf-16", "猫"),
        ("utf-16-be", "utf-16", "猫"),
        ("utf-8", "utf-16", "猫"),  # as .NET's writers do
    ],
)
def test_xml_is_read_in_the_encoding_it_declares(
    encoding: str, declared: str | None, name: str, tmp_path: Path
) -> None:
    head = f'<?xml version="1.0" encoding="{declared}"?>\n' if declared else ""
    (tmp_path / "x.xml").write_bytes((head + xml_of(cls=name)).encode(encoding))
    assert read_xml(tmp_path / "x.xml").findtext("object/name") == name


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'<?xml version="1.0" encoding="klingon"?><annotation/>', "its encoding 'klingon' is not known"),
        (b'<?xml version="1.0" encoding="rot13"?><annotation/>', "its encoding 'rot13' is not known"),
        (b'<?xml version="1.0" encoding="gb2312"?><annotation>\xff</annotation>', "expected gb2312 text"),
        ("<annotation>ä</annotation>".encode("latin-1"), "expected UTF-8 text"),
        ("<!DOCTYPE x><annotation/>".encode("utf-16-le"), "a document type"),
        (" <!DOCTYPE x><annotation/>".encode("utf-16-be"), "not XML: it holds characters of value 0"),
        (b'<?xml version="1.0" encoding="utf-7"?>+ADw-!DOCTYPE x+AD4-<annotation/>', "a document type"),
        (b"<html/>", "expected VOC's element annotation, got 'html'"),
        (b"", "not XML"),
    ],
)
def test_xml_that_is_refused(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_bytes(data)
    with pytest.raises(UserError, match=rf"x\.xml: ({message})") as caught:
        read_xml(tmp_path / "x.xml")
    assert "\n" not in str(caught.value)


def test_hidden_files_are_passed_over_wherever_a_folder_is_searched(tmp_path: Path) -> None:
    """A zip of macOS holds a ``._`` file for each file, in ``__MACOSX`` or beside it."""
    for year in ("VOC2007", "__MACOSX", ".Trash"):
        write_voc(tmp_path / year, "a", "b")
        lists = tmp_path / year / "ImageSets/Main"
        lists.mkdir(parents=True)
        (lists / "train.txt").write_text("a\n")
        (lists / "val.txt").write_text("b\n")
    for junk in ("Annotations/._a.xml", "ImageSets/Main/._train.txt", "JPEGImages/._a.jpg"):
        (tmp_path / "VOC2007" / junk).write_bytes(b"\0\5\x16\7")
    config = find_data(tmp_path)
    assert config.train.annotations == ("VOC2007/ImageSets/Main/train.txt",)
    assert check_data(config).problems == []


def test_hidden_coco_files_are_passed_over(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        (tmp_path / split).mkdir()
        Image.effect_noise((30, 20), 40 + len(split)).convert("RGB").save(tmp_path / split / "x.jpg")
        image = {"id": 1, "file_name": "x.jpg", "height": 20, "width": 30}
        box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 5]}
        content = {"images": [image], "annotations": [box], "categories": [{"id": 1, "name": "cat"}]}
        (tmp_path / split / "_annotations.coco.json").write_text(json.dumps(content))
        (tmp_path / split / "._annotations.coco.json").write_bytes(b"\0\5\x16\7")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX/train.json").write_bytes(b"\0\5\x16\7")
    config = find_data(tmp_path)
    assert config.train.annotations == ("train/_annotations.coco.json",)
    assert check_data(config).problems == []


@pytest.mark.parametrize(
    ("train", "val"), [("Train", "Validation"), ("train", "valid"), ("TRAIN", "VAL"), ("train", "val")]
)
def test_what_tools_call_the_lists(train: str, val: str, tmp_path: Path) -> None:
    write_voc(tmp_path, "a", "b")
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    (tmp_path / f"ImageSets/Main/{train}.txt").write_text("a\n")
    (tmp_path / f"ImageSets/Main/{val}.txt").write_text("b\n")
    (tmp_path / "ImageSets/Main/test.txt").write_text("b\n")  # without a trainval, it is no split of ours
    config = find_data(tmp_path)
    assert config.train.annotations == (f"ImageSets/Main/{train}.txt",)
    assert config.val.annotations == (f"ImageSets/Main/{val}.txt",)


def test_the_first_error_is_told_when_all_files_share_it(tmp_path: Path) -> None:
    """It used to be "data.classes: expected the class names", as none had been read."""
    write_voc(tmp_path, "a", "b")
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    for split, name in (("train", "a"), ("val", "b")):
        (tmp_path / f"ImageSets/Main/{split}.txt").write_text(f"{name}\n")
        (tmp_path / f"Annotations/{name}.xml").write_text("<annotation>")
    with pytest.raises(UserError, match=r"Annotations/a\.xml: not XML"):
        find_data(tmp_path)
    (tmp_path / "Annotations/b.xml").write_text(xml_of())  # one that can be read is enough to go on
    errors = by_kind(check_data(find_data(tmp_path)).problems)["error", "annotation that can not be used"]
    assert len(errors) == 2  # of the list train, the file and that no image is left
    assert "a.xml: not XML" in errors[0]
    for name in ("a", "b"):
        (tmp_path / f"Annotations/{name}.xml").write_text(XML.format(filename="x", objects=""))
    with pytest.raises(UserError, match=r"train\.txt: expected images with objects, got none in any list"):
        find_data(tmp_path)
    for split in ("train", "val"):
        (tmp_path / f"ImageSets/Main/{split}.txt").write_bytes(b"\xff\n")
    with pytest.raises(UserError, match=r"train\.txt: expected UTF-8 text"):
        find_data(tmp_path)


def test_lines_of_a_list(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text('a 1\n"b c" -1\n')
    assert read_list(tmp_path / "x.txt") == [("a 1", "a"), ('"b c" -1', '"b c"', "b c")]
