"""``data check``: what it finds, where it says it is, and how it ends."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from data_folders import CATEGORIES, XML, changed, problems_of, voc_object, write_coco, write_image, write_voc

from detector.cli import main
from detector.config import DataConfig, SplitConfig, load_config
from detector.data import load_annotations
from detector.data.check import check_data
from detector.data.layout import find_data
from detector.data.problems import by_kind
from detector.errors import UserError


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """A folder with nothing wrong."""
    write_coco(tmp_path, "train")
    write_coco(tmp_path, "val")
    return tmp_path


def test_a_folder_with_nothing_wrong(coco: Path) -> None:
    report = check_data(find_data(coco))
    assert report.problems == []
    assert report.splits["train"].per_class == {"cat": 2, "dog": 2}
    assert (report.splits["val"].images, report.splits["val"].empty) == (2, 0)


@pytest.mark.parametrize(
    ("box", "severity", "kind"),
    [
        ([6, 4, 10, 12], None, None),
        ([-0.5, 0, 40.6, 30], None, None),  # COCO's own boxes overstep a little
        ([5, 4, 1, 12], "warning", "at most a pixel"),
        ([5, 4, 0, 0], "warning", "at most a pixel"),
        ([30, 4, 20, 12], "warning", "over the border"),
        ([45, 4, 10, 12], "error", "outside its image"),
        ([5, 4, -3, 12], "error", "can not be used"),
        ([float("nan"), 4, 3, 12], "error", "can not be used"),
    ],
)
def test_boxes(coco: Path, box: list[float], severity: str | None, kind: str | None) -> None:
    file = coco / "annotations" / "instances_train.json"
    boxes = json.loads(file.read_text())["annotations"]
    changed(file, annotations=[*boxes, {"id": 99, "image_id": 2, "category_id": 1, "bbox": box}])
    found = problems_of(coco)
    if kind is None:
        assert found == {}
    else:
        (key, (message,)) = next(iter(found.items()))
        assert len(found) == 1
        assert (key[0], kind in key[1]) == (severity, True)
        assert ("instances_train.json: annotation 99" if "not be used" in key[1] else "train/2.jpg: cat") in message


def test_images(coco: Path) -> None:
    whole = (coco / "train" / "1.jpg").read_bytes()
    (coco / "train" / "1.jpg").write_bytes(whole[:-100])
    (coco / "train" / "2.jpg").unlink()
    write_image(coco / "val" / "1.jpg", 30, 40)
    (coco / "val" / "2.jpg").write_text("no image")
    found = problems_of(coco)
    assert {key[0] for key in found} == {"error"}
    messages = {kind: texts for (_, kind), texts in found.items()}
    assert messages["image that is missing"] == [str(coco / "train" / "2.jpg")]
    assert [text.split(": ")[0] for text in messages["image that can not be read"]] == [
        str(coco / "train" / "1.jpg"),
        str(coco / "val" / "2.jpg"),
    ]
    (size,) = messages["image of another size than annotated (width x height)"]
    assert "val/1.jpg: 30x40, annotated as 40x30; the sides are swapped" in size
    heads_only = problems_of(coco, decode=False)
    assert sum(map(len, heads_only.values())) == 3  # all but the truncated one


def test_ids_classes_and_empty_images(coco: Path) -> None:
    file = coco / "annotations" / "instances_train.json"
    content = json.loads(file.read_text())
    images = [*content["images"], {**content["images"][0]}, {**content["images"][0], "id": 9, "file_name": "9.jpg"}]
    write_image(coco / "train" / "9.jpg")
    first = content["annotations"][0]
    boxes = [
        *content["annotations"],
        {**first, "id": 2},
        {**first, "category_id": 7},
        {**first, "image_id": 77},
    ]
    animal = {"id": 3, "name": "animal", "supercategory": "none"}
    categories = [animal, *({**category, "supercategory": "animal"} for category in CATEGORIES)]
    changed(file, images=images, annotations=boxes, categories=categories)
    found = {kind: texts for (_, kind), texts in problems_of(coco).items()}
    errors = "\n".join(found.pop("annotation that can not be used"))
    assert "image id 1 occurs twice" in errors
    assert "unknown category_id 7; known: 1, 2, 3" in errors
    assert "image id 77, which is not listed" in errors
    assert {kind: len(texts) for kind, texts in found.items()} == {
        "box that occurs twice": 1,
        "image without a box to train on": 1,
        "class without a box in train": 1,
        "annotation id that occurs twice": 2,
        "category that is only the parent of others": 1,
    }
    assert "'animal' has no box" in found["category that is only the parent of others"][0]


def test_an_image_of_both_splits(tmp_path: Path) -> None:
    write_coco(tmp_path, "train")
    (tmp_path / "annotations" / "instances_val.json").write_text(
        (tmp_path / "annotations" / "instances_train.json").read_text()
    )
    config = find_data(tmp_path)
    problems = check_data(replace(config, val=replace(config.val, images="train"))).problems
    assert by_kind(problems)["warning", "image in both train and val"] == [
        str(tmp_path / "train" / f"{k}.jpg") for k in (1, 2)
    ]


def test_voc_problems(tmp_path: Path) -> None:
    write_voc(tmp_path, "train", {"a": voc_object() + voc_object(x1=25), "b": voc_object("dog")})
    write_voc(tmp_path, "val", {"c": voc_object()})
    with (tmp_path / "ImageSets/Main/train.txt").open("a") as stream:
        stream.write("a\nnowhere\n../../secret\n")
    (tmp_path / "Annotations" / "unlisted.xml").write_text(XML.format(objects=""))
    config = DataConfig(
        format="voc",
        root=str(tmp_path),
        train=SplitConfig(("ImageSets/Main/train.txt",)),
        val=SplitConfig(("ImageSets/Main/val.txt",)),
        classes=("cat",),
    )
    found = {kind: texts for (_, kind), texts in by_kind(check_data(config).problems).items()}
    errors = found["annotation that can not be used"]
    expected = (
        "a.xml: object 'cat': expected xmin <= xmax",
        "b.xml: unknown class 'dog'; known: cat",
        "image 'a' is listed twice",
        "nowhere.xml: No such file",
        "leaves the data folder",
    )
    assert [text in error for text, error in zip(expected, errors, strict=True)] == [True] * 5
    assert found["annotation file that no list names"] == [str(tmp_path / "Annotations" / "unlisted.xml")]
    assert found["image without a box to train on"] == [str(tmp_path / "JPEGImages" / "b.jpg")]


def test_the_layout_of_voc_2007_and_2012(tmp_path: Path) -> None:
    for year, split in (("VOC2007", "trainval"), ("VOC2007", "test"), ("VOC2012", "trainval")):
        write_voc(tmp_path / year, split, {f"{year}_{split}": voc_object()})
    config = find_data(tmp_path)
    assert config.train.annotations == ("VOC2007/ImageSets/Main/trainval.txt", "VOC2012/ImageSets/Main/trainval.txt")
    assert config.val.annotations == ("VOC2007/ImageSets/Main/test.txt",)
    assert config.classes == ("cat",)
    assert len(load_annotations(config, "train")) == 2


def test_the_layout_of_one_voc_folder_with_own_classes(tmp_path: Path) -> None:
    write_voc(tmp_path, "train", {"a": voc_object("zebra")})
    write_voc(tmp_path, "val", {"b": voc_object("ant")})
    config = find_data(tmp_path)
    assert (config.train.annotations, config.classes) == (("ImageSets/Main/train.txt",), ("ant", "zebra"))
    (tmp_path / "ImageSets/Main/val.txt").unlink()
    with pytest.raises(UserError, match=r"expected lists of image names.*ImageSets/Main/train\.txt and val\.txt"):
        find_data(tmp_path)


def test_layouts_of_coco(tmp_path: Path) -> None:
    for split in ("train2017", "val2017"):
        write_coco(tmp_path / "a", split)
    config = find_data(tmp_path / "a")
    assert (config.train.images, config.val.images) == ("train2017", "val2017")
    for split in ("train", "valid"):  # as labelling tools export it: the file lies beside the images
        write_coco(tmp_path / "b", split)
        (tmp_path / "b/annotations" / f"instances_{split}.json").rename(tmp_path / "b" / split / "_annotations.json")
    (tmp_path / "b" / "annotations").rmdir()
    config = find_data(tmp_path / "b")
    assert (config.val.annotations, config.val.images) == (("valid/_annotations.json",), "valid")
    assert check_data(config).problems == []


def test_folders_of_no_known_layout(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such folder"):
        find_data(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"expected VOC's Annotations, .* or COCO's annotations/\*\.json"):
        find_data(tmp_path)
    write_coco(tmp_path, "train")
    with pytest.raises(
        UserError, match=r"expected a file with 'val' in its name, got annotations/instances_train\.json"
    ):
        find_data(tmp_path)


def test_command_prints_a_configuration_that_loads(coco: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(coco)]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert "train: 2 images, 0 of them without a box; 4 boxes, and 0 to ignore" in out
    assert "errors: 0, warnings: 0" in out
    file = coco / "mine.yaml"
    file.write_text(out.split("as a configuration:\n")[1])
    assert load_config(file).data == find_data(coco)
    assert main(["data", "check", str(file), "--no-decode"]) == 0
    assert "as a configuration" not in capfd.readouterr().out


def test_command_ends_with_1_if_there_are_errors(coco: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("1.jpg", "2.jpg"):
        (coco / "train" / name).unlink()
    assert main(["data", "check", str(coco), "--limit", "1"]) == 1
    out, err = capfd.readouterr()
    assert f"error: image that is missing: 2\n  {coco / 'train' / '1.jpg'}\n  and 1 more; --limit shows them" in out
    assert err == f"detector data check: error: {coco}: errors in the data set: 2\n"
    assert main(["data", "check", str(coco), "--format", "json"]) == 1
    report = json.loads(capfd.readouterr().out)
    assert report["splits"]["train"]["per_class"] == {"cat": 2, "dog": 2}
    assert [problem["severity"] for problem in report["problems"]] == ["error", "error"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "unknown command 'data'; expected one of"),
        (["frobnicate"], 2, "data check"),
        (["check"], 2, "A folder in VOC's or COCO's layout"),
        (["check", "nowhere"], 1, "nowhere: no such folder"),
        (
            ["check", __file__],
            1,
            "test_check.py: expected a folder in VOC's or COCO's layout, or a .yaml configuration, got a file",
        ),
        (["check", "nowhere.yaml"], 2, "nowhere.yaml: No such file"),
    ],
)
def test_command_errors_are_one_line(
    arguments: list[str], status: int, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", *arguments]) == status
    out, err = capfd.readouterr()
    assert message in err
    assert (out, err.count("\n")) == ("", 1)
