"""Folders as labelling tools export them, made from scratch: each is checked, trained on and evaluated."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from detector.cli import main

TINY = shlex.split(
    "--model.backbone resnet10 --model.weights none --model.norm batch --model.trainable-stages 5 --model.channels 16 "
    "--model.head-convs 1 --model.norm-groups 4 --data.short-sides 64 --data.eval-short-side 64 --data.max-side 128 "
    "--data.workers 0 --train.iterations 2 --train.batch-size 2 --train.device cpu"
)
SPLITS = {"train": range(4), "val": range(4, 6)}
BOXES = (("helmet", (4, 6, 34, 40)), ("head", (40, 20, 76, 56)))


def save_image(file: Path, number: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(file)


def coco_content(numbers: range, name: str, categories: dict[str, int], extra: list[dict[str, Any]]) -> dict[str, Any]:
    images = [{"id": k, "width": 80, "height": 60, "file_name": name.format(k)} for k in numbers]
    annotations = [
        {
            "id": 2 * k + row,
            "image_id": k,
            "category_id": categories[label],
            "segmentation": [],
            "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)],
            "iscrowd": 0,
            "area": float((x2 - x1) * (y2 - y1)),
        }
        for k in numbers
        for row, (label, (x1, y1, x2, y2)) in enumerate(BOXES)
    ]
    listed = [{"id": number, "name": label, "supercategory": "hard-hats"} for label, number in categories.items()]
    return {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": [*extra, *listed]}


def voc_xml(head: str, filename: str, extra: str, tail: str = "") -> str:
    objects = "".join(
        f"<object><name>{label}</name>{extra}<bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2 + 1}</xmax>"
        f"<ymax>{y2 + 1}</ymax></bndbox></object>"
        for label, (x1, y1, x2, y2) in BOXES
    )
    size = "<size><width>80</width><height>60</height><depth>3</depth></size>"
    return f"{head}<filename>{filename}</filename>{tail}{size}<segmented>0</segmented>{objects}</annotation>"


def cvat_voc(root: Path) -> None:
    """CVAT's VOC 1.1: names in folders and with spaces, subsets called Train and Validation, a list per label."""
    (root / "ImageSets/Main").mkdir(parents=True)
    (root / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:0,0,0::\nhelmet:9,9,9::\n")
    for split, numbers in SPLITS.items():
        names = [f"site a/camera 1/{k:04d}" for k in numbers]
        for name, k in zip(names, numbers, strict=True):
            save_image(root / f"JPEGImages/{name}.png", k)
            file = root / f"Annotations/{name}.xml"
            file.parent.mkdir(parents=True, exist_ok=True)
            extra = "<truncated>0</truncated><occluded>0</occluded><difficult>0</difficult>"
            source = "<source><database>Unknown</database></source>"
            file.write_text(voc_xml("<annotation><folder>site a</folder>", f"{name}.png", extra, source))
        subset = {"train": "Train", "val": "Validation"}[split]
        (root / f"ImageSets/Main/{subset}.txt").write_text("".join(f"{name}\n" for name in names))
        (root / f"ImageSets/Main/helmet_{subset}.txt").write_text("".join(f'"{name}"  1\n' for name in names))


def labelimg_voc(root: Path) -> None:
    """LabelImg on Windows: paths and line ends of its own, endings in capitals, lists with a byte-order mark."""
    (root / "ImageSets/Main").mkdir(parents=True)
    (root / "Annotations").mkdir()
    for split, numbers in SPLITS.items():
        for k in numbers:
            save_image(root / f"JPEGImages/IMG {k} (2).JPG", k)
            head = f"<annotation>\r\n\t<folder>JPEGImages</folder>\r\n\t<path>C:\\Users\\me\\IMG {k} (2).jpg</path>\r\n"
            extra = "<pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>"
            xml = '<?xml version="1.0" encoding="GB2312"?>\r\n' + voc_xml(head, f"IMG {k} (2).jpg", extra)
            (root / f"Annotations/IMG {k} (2).xml").write_bytes(xml.encode("gb2312"))
        lines = "".join(f"IMG {k} (2)\r\n" for k in numbers)
        (root / f"ImageSets/Main/{split}.txt").write_bytes(lines.encode("utf-16"))


def label_studio_coco(root: Path) -> None:
    """Label Studio on Windows: ``result.json`` beside ``images``, backslashes, category ids from 0."""
    for split, numbers in SPLITS.items():
        for k in numbers:
            save_image(root / split / f"images/0a1b2c3d-{k:04d}.jpg", k)
        content = coco_content(numbers, "images\\0a1b2c3d-{:04d}.jpg", {"head": 0, "helmet": 1}, [])
        for annotation in content["annotations"]:
            annotation["ignore"] = 0
        (root / split / "result.json").write_text(json.dumps(content, indent=2), encoding="utf-8-sig")


def roboflow_coco(root: Path) -> None:
    """Roboflow: the file beside the images, a folder ``valid``, the parent of the classes as class 0."""
    parent = [{"id": 0, "name": "hard-hats", "supercategory": "none"}]
    for split, numbers in SPLITS.items():
        folder = root / {"train": "train", "val": "valid"}[split]
        name = "{:04d}_png.rf.0f1e2d3c4b5a.jpg"
        for k in numbers:
            save_image(folder / name.format(k), k)
        content = coco_content(numbers, name, {"head": 1, "helmet": 2}, parent)
        (folder / "_annotations.coco.json").write_text(json.dumps(content))


def macos_zip(root: Path) -> None:
    """A COCO folder zipped on macOS and unpacked elsewhere."""
    for split, numbers in SPLITS.items():
        for k in numbers:
            save_image(root / split / f"{k:04d}.jpg", k)
        (root / "annotations").mkdir(exist_ok=True)
        content = coco_content(numbers, "{:04d}.jpg", {"head": 1, "helmet": 2}, [])
        (root / f"annotations/instances_{split}.json").write_text(json.dumps(content))
    for file in [file for file in root.rglob("*") if file.is_file()]:
        for twin in (file.with_name(f"._{file.name}"), root / "__MACOSX" / file.relative_to(root)):
            twin.parent.mkdir(parents=True, exist_ok=True)
            twin.with_name(f"._{file.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    (root / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")


@pytest.mark.parametrize(
    ("make", "warnings"),
    [
        (cvat_voc, []),
        (labelimg_voc, []),
        (label_studio_coco, []),
        (roboflow_coco, ["category that is only the parent of others", "class without a box in"]),
        (macos_zip, []),
    ],
)
def test_what_labelling_tools_export(
    make: Callable[[Path], None],
    warnings: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    make(Path("exported"))
    assert main(["data", "check", "exported"]) == 0, capfd.readouterr()
    out = capfd.readouterr().out
    told = [line for line in out.splitlines() if line.startswith(("warning: ", "error: "))]
    assert all(any(text in line for text in warnings) for line in told), told
    assert bool(told) == bool(warnings)
    assert "train: 4 images, 0 of them without a box; 8 boxes, and 0 to ignore" in out
    assert "val: 2 images, 0 of them without a box; 4 boxes, and 0 to ignore" in out

    data = yaml.safe_load(out.split("as a configuration:\n")[1])
    Path("mine.yaml").write_text(yaml.safe_dump(data))
    assert main(["train", "--config", "mine.yaml", "--out", "run", *TINY]) == 0, capfd.readouterr()
    assert main(["eval", "--checkpoint", "run/last.pt"]) == 0, capfd.readouterr()
    report = json.loads(Path("run/eval.json").read_text())
    assert report["images"] == 2
    assert {"head", "helmet"} <= set(report["per_class"])
