"""What the data check finds to be the same: files, boxes, ids, within a split and across; areas."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from data_folders import changed, problems_of, voc_object, write_coco, write_voc
from PIL import Image

from detector.cli import main

Found = dict[str, list[str]]


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """A folder with nothing wrong; no two of its images are the same."""
    for split in ("train", "val"):
        write_coco(tmp_path, split)
    return tmp_path


def found(folder: Path) -> Found:
    return {kind: texts for (_, kind), texts in problems_of(folder).items()}


def content_of(folder: Path, split: str = "train") -> dict[str, Any]:
    return json.loads((folder / "annotations" / f"instances_{split}.json").read_text())


def change(folder: Path, split: str = "train", **changes: Any) -> None:
    changed(folder / "annotations" / f"instances_{split}.json", **changes)


@pytest.mark.parametrize("name", ["1.jpg", "./1.jpg", "link.jpg", "hard.jpg"])
def test_an_image_listed_under_two_ids(name: str, coco: Path) -> None:
    first = coco / "train" / "1.jpg"
    (coco / "train" / "link.jpg").symlink_to(first)
    os.link(first, coco / "train" / "hard.jpg")
    content = content_of(coco)
    images = [*content["images"], {**content["images"][0], "id": 9, "file_name": name}]
    boxes = [*content["annotations"], {"id": 9, "image_id": 9, "category_id": 1, "bbox": [1, 2, 9, 8]}]
    change(coco, images=images, annotations=boxes)
    where = str(coco / "train" / name.removeprefix("./"))
    expected = where if where == str(first) else f"{where}: the file {first}"
    assert found(coco) == {"image that is listed twice": [expected]}


def test_a_copy_within_a_split_and_one_in_the_other(coco: Path) -> None:
    shutil.copy(coco / "train" / "1.jpg", coco / "train" / "2.jpg")
    shutil.copy(coco / "train" / "1.jpg", coco / "val" / "2.jpg")
    first = coco / "train" / "1.jpg"
    assert found(coco) == {
        "image that is a copy of another": [f"{coco / 'train' / '2.jpg'}: a copy of {first}"],
        "image in both train and val": [f"{coco / 'val' / '2.jpg'}: a copy of {first}"],
    }


def test_a_link_in_the_other_split(coco: Path) -> None:
    (coco / "val" / "1.jpg").unlink()
    (coco / "val" / "1.jpg").symlink_to(coco / "train" / "2.jpg")
    assert found(coco) == {
        "image in both train and val": [f"{coco / 'val' / '1.jpg'}: the file {coco / 'train' / '2.jpg'}"]
    }


def test_files_of_one_size_are_not_the_same(coco: Path) -> None:
    Image.new("RGB", (40, 30), "red").save(coco / "train" / "1.bmp")
    Image.effect_noise((40, 30), 60).convert("RGB").save(coco / "train" / "2.bmp")
    images = [{**image, "file_name": f"{image['id']}.bmp"} for image in content_of(coco)["images"]]
    change(coco, images=images)
    assert set(found(coco)) == {"image of a single colour"}


@pytest.mark.parametrize(
    ("box", "label", "kind"),
    [
        ([5.0, 4.0, 10.0, 12.0], 1, "box that occurs twice"),
        ([5.0, 4.0, 10.0000001, 12.0], 1, "box that occurs twice"),
        (["5", "4", "10", "12"], "1", "box that occurs twice"),
        ([5.0, 4.0, 10.0, 12.0], 2, "box of two classes"),
        ([5.0, 4.0, 10.5, 12.0], 1, None),
    ],
)
def test_boxes(box: list[Any], label: int | str, kind: str | None, coco: Path) -> None:
    content = content_of(coco)
    change(coco, annotations=[*content["annotations"], {"id": 9, "image_id": 1, "category_id": label, "bbox": box}])
    assert set(found(coco)) == ({kind} if kind else set())


def test_annotation_ids_as_number_and_as_text(coco: Path) -> None:
    content = content_of(coco)
    records = content["annotations"]
    records[1]["id"] = str(records[0]["id"])
    change(coco, annotations=records)
    file = coco / "annotations" / "instances_train.json"
    assert found(coco) == {"annotation id that occurs twice": [f"{file}: annotation 1: 2 times"]}


def test_images_of_voc(tmp_path: Path) -> None:
    write_voc(tmp_path, "train", {"a": voc_object(), "b": voc_object()})
    write_voc(tmp_path, "val", {"c": voc_object()})
    shutil.copy(tmp_path / "JPEGImages/a.jpg", tmp_path / "JPEGImages/c.jpg")
    assert found(tmp_path) == {
        "image in both train and val": [f"{tmp_path}/JPEGImages/c.jpg: a copy of {tmp_path}/JPEGImages/a.jpg"]
    }


@pytest.mark.parametrize(
    ("area", "is_told"),
    [
        (0, True),
        (-5.0, True),
        (40 * 30, True),  # of the image
        ("1200", True),
        (10 * 12, False),  # of the box
        (11 * 13, False),  # pixels that the box cuts
        (60.5, False),  # of a mask in it
    ],
)
def test_an_area_that_contradicts_its_box(area: Any, is_told: bool, coco: Path) -> None:
    content = content_of(coco)
    content["annotations"][0]["area"] = area
    change(coco, annotations=content["annotations"])
    kind = "area that contradicts its box: expected more than 0 and at most the box's"
    message = f"{coco / 'train' / '1.jpg'}: cat 5 4 15 16 (x1 y1 x2 y2) in 40x30: area {float(area):g}, the box's 120"
    assert found(coco) == ({kind: [message]} if is_told else {})


def test_an_area_that_is_the_same_for_all(coco: Path) -> None:
    content = content_of(coco)
    change(coco, annotations=[{**annotation, "area": 1.0} for annotation in content["annotations"]])
    (message,) = found(coco)["area that is the same for all boxes"]
    assert message.endswith("train/1.jpg and all others: area 1 for 4 boxes")
    same = [{**annotation, "bbox": [5, 4, 10, 12], "area": 120} for annotation in content["annotations"][::2]]
    change(coco, annotations=same)  # boxes of one size have one area
    assert "area that is the same for all boxes" not in found(coco)


def test_a_null_area_and_a_placeholder(coco: Path) -> None:
    content = content_of(coco)
    content["annotations"][0]["area"] = None
    content["annotations"].append({"id": 9, "image_id": 1, "category_id": 1, "bbox": [0, 0, 0, 0]})
    change(coco, annotations=content["annotations"])
    file = coco / "annotations" / "instances_train.json"
    assert found(coco) == {
        "area that is null; the box's is taken": [f"{file}: annotation 1"],
        "box 0 0 0 0, a placeholder that marks no object; left out": [f"{file}: annotation 9"],
    }


def test_a_split_without_annotations(coco: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content = content_of(coco, "val")
    del content["annotations"]
    (coco / "annotations" / "instances_val.json").write_text(json.dumps(content))
    assert found(coco) == {"split without annotations: to predict on, not to score": ["data.val: 2 images"]}
    assert main(["data", "check", str(coco)]) == 0
    assert "errors: 0, warnings: 1" in capfd.readouterr().out
