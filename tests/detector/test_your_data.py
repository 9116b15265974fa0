"""docs/your_data.md: its commands and configurations, on small folders in the layouts that it shows."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
import yaml
from PIL import Image

from detector.cli import main
from detector.config import load_config
from detector.data.check import check_data
from detector.data.layout import find_data
from detector.data.problems import SEVERITY

PAGE = (Path(__file__).parents[2] / "docs" / "your_data.md").read_text(encoding="utf-8")
CLASSES = ("Platelets", "RBC", "WBC")
# A network and a run that take seconds; the page's own take minutes.
SHORT = shlex.split(
    "--model.channels 16 --model.head-convs 1 --model.norm-groups 4 --data.short-sides 64 --data.eval-short-side 64 "
    "--data.workers 0 --train.iterations 2 --train.batch-size 2 --train.device cpu"
)
TINY = shlex.split("--model.backbone resnet10 --model.weights none --model.norm batch --model.trainable-stages 5")
OPTIONS = {"mine.yaml": [*SHORT, *TINY], "kept.yaml": [*SHORT, "--model.weights", "resnet50.pth"]}


def blocks(kind: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == kind]


def commands() -> list[list[str]]:
    """The commands of the page, in order."""
    lines = [line for block in blocks("") for line in block.splitlines() if line.startswith("python -m detector")]
    return [shlex.split(line)[3:] for line in lines]


def table() -> dict[str, list[str]]:
    """The rows of the page's table of what is read: what it is, with what is in the data."""
    rows: dict[str, list[str]] = {}
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 3 and cells[1].startswith(("read", "error: ", "warning: ")):
            rows.setdefault(cells[1], []).append(cells[0].strip("| "))
    return rows


def make_image(file: Path, number: int) -> list[tuple[str, list[int]]]:
    """Noise with a bright cell, a dark one and a black one; their boxes as x1 y1 x2 y2."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(90, 160, (60, 80, 3), dtype=np.uint8)
    boxes = [("RBC", [4 + number, 6, 34 + number, 40]), ("WBC", [40, 20, 76, 56]), ("Platelets", [2, 44, 14, 56])]
    for (_, (x1, y1, x2, y2)), value in zip(boxes, (250, 60, 0), strict=True):
        pixels[y1:y2, x1:x2] = value
    Image.fromarray(pixels).save(file)
    return boxes


def make_voc(root: Path) -> None:
    (root / "ImageSets/Main").mkdir(parents=True)
    (root / "Annotations").mkdir()
    for split, numbers in (("trainval", range(4)), ("test", range(4, 6))):
        for number in numbers:
            objects = "".join(
                f"<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin>"
                f"<xmax>{x2 + 1}</xmax><ymax>{y2 + 1}</ymax></bndbox></object>"
                for name, (x1, y1, x2, y2) in make_image(root / f"JPEGImages/{number:04d}.jpg", number)
            )
            xml = f"<annotation><size><width>80</width><height>60</height></size>{objects}</annotation>"
            (root / f"Annotations/{number:04d}.xml").write_text(xml)
        (root / f"ImageSets/Main/{split}.txt").write_text("".join(f"{number:04d}\n" for number in numbers))


def make_coco(root: Path) -> None:
    (root / "annotations").mkdir(parents=True)
    for split, numbers in (("train", range(4)), ("val", range(4, 6))):
        images, annotations = [], []
        for number in numbers:
            for name, (x1, y1, x2, y2) in make_image(root / split / f"{number:04d}.jpg", number):
                box = {"image_id": number, "category_id": 10 * CLASSES.index(name), "bbox": [x1, y1, x2 - x1, y2 - y1]}
                annotations.append({"id": len(annotations) + 1, **box})
            images.append({"id": number, "file_name": f"{number:04d}.jpg", "height": 60, "width": 80})
        categories = [{"id": 10 * label, "name": name} for label, name in enumerate(CLASSES)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"annotations/instances_{split}.json").write_text(json.dumps(content))


def test_the_page_shows_every_step() -> None:
    assert [command[0] for command in commands()] == [
        *("data", "train", "train", "assign-view", "train", "eval", "predict", "predict", "train", "compare"),
    ]
    assert len(blocks("yaml")) == 4


@pytest.mark.parametrize("data_format", ["voc", "coco"])
def test_the_page_from_top_to_bottom(
    data_format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (make_voc if data_format == "voc" else make_coco)(Path("my_data"))
    mine, coco, real, kept = (yaml.safe_load(block) for block in blocks("yaml"))
    Path("mine.yaml").write_text(yaml.safe_dump(mine if data_format == "voc" else {**mine, **coco}))
    Path("real.yaml").write_text(yaml.safe_dump({**real, "data": {**mine["data"], **real["data"]}}))
    assert load_config(Path("real.yaml")).model.weights == "imagenet"
    Path("kept.yaml").write_text(yaml.safe_dump(kept))
    assert load_config(Path("kept.yaml")).model.weights == "imagenet"
    torch.save(torchvision.models.resnet50().state_dict(), "resnet50.pth")  # no test downloads weights
    Path("my_data/JPEGImages").mkdir(exist_ok=True)
    make_image(Path("my_data/JPEGImages/11.jpg"), 8)

    for command in commands():
        options = OPTIONS[command[command.index("--config") + 1]] if "--config" in command else []
        assert main([*command, *options]) == 0, capfd.readouterr().err
        out = capfd.readouterr().out
        if command[0] == "data":
            printed = yaml.safe_load(out.split("as a configuration:\n")[1])["data"]
            written = yaml.safe_load(Path("mine.yaml").read_text())["data"]
            assert printed == written
        if "--dry-run" in command:
            assert not Path("runs").exists()

    report = json.loads(Path("runs/mine/eval.json").read_text())
    assert ("VOC07" in report["stats"]) == (data_format == "voc")
    assert Path("runs/mine/precision_recall.png").exists() == (data_format == "voc")
    for file in ("first_batch.png", "assignment.png", "predictions/0004.png", "photos/11.png", "photos/images.json"):
        assert (Path("runs/mine") / file).is_file()
    assert Path("runs/comparison.png").is_file()
    assert list(Path(".cache/features").rglob("*"))


def test_the_table_tells_every_problem() -> None:
    assert set(table()) == {"read", *(f"{severity}: {kind}" for kind, severity in SEVERITY.items())}
    assert all(len(rows) == 1 for name, rows in table().items() if name != "read")


def as_text(root: Path) -> None:
    """COCO: every number as text."""
    for file in (root / "annotations").iterdir():
        content = json.loads(file.read_text())
        for record in (*content["images"], *content["annotations"], *content["categories"]):
            record |= {name: str(value) for name, value in record.items() if isinstance(value, (int, float))}
        for annotation in content["annotations"]:
            annotation["bbox"] = [str(value) for value in annotation["bbox"]]
            annotation["iscrowd"] = "false"
        file.write_text(json.dumps(content))


def without_size(root: Path) -> None:
    for file in (root / "Annotations").iterdir():
        file.write_text(re.sub("<size>.*</size>", "", file.read_text()))


def other_modes(root: Path) -> None:
    files = sorted((root / "JPEGImages").iterdir())
    for file, mode in zip(files, ("CMYK", "YCbCr", "LAB", "P", "CMYK", "L"), strict=True):
        Image.open(file).convert(mode).save(file.with_suffix(".png" if mode == "P" else ".tif"))
        file.unlink()
    gray = np.random.default_rng(0).integers(0, 65536, (60, 80), dtype=np.uint16)
    files[-1].with_suffix(".tif").unlink()
    Image.fromarray(gray).save(files[-1].with_suffix(".png"))


def marked_lists(root: Path) -> None:
    for number, line in ((0, '"a b/{}" -1'), (1, '"a b/{}"  1'), (2, "a b/{}.jpg 0"), (3, "a b/{} 1")):
        for folder, ending in (("Annotations", ".xml"), ("JPEGImages", ".jpg")):
            (root / folder / "a b").mkdir(exist_ok=True)
            (root / folder / f"{number:04d}{ending}").rename(root / folder / "a b" / f"{number:04d}{ending}")
        file = root / "ImageSets/Main/trainval.txt"
        file.write_text(file.read_text().replace(f"{number:04d}", line.format(f"{number:04d}")))


def other_endings(root: Path) -> None:
    for number, file in enumerate(sorted((root / "JPEGImages").iterdir())):
        file.rename(file.with_suffix((".JPG", ".jpeg", ".JPEG")[number % 3]))


def backslashes(root: Path) -> None:
    for folder, ending in (("Annotations", ".xml"), ("JPEGImages", ".jpg")):
        (root / folder / "cam").mkdir()
        for number in range(6):
            (root / folder / f"{number:04d}{ending}").rename(root / folder / "cam" / f"{number:04d}{ending}")
    for file in (root / "ImageSets/Main").iterdir():
        file.write_text("".join(f"cam\\{name}\n" for name in file.read_text().split()))


def encodings(root: Path) -> None:
    for file in (root / "Annotations").iterdir():
        file.write_bytes(f'<?xml version="1.0" encoding="gbk"?><!-- 细胞 -->{file.read_text()}'.encode("gbk"))
    for file in (root / "ImageSets/Main").iterdir():
        file.write_bytes(file.read_text().encode("utf-16"))


def hidden_files(root: Path) -> None:
    (root / "__MACOSX/Annotations").mkdir(parents=True)
    for name in ("__MACOSX/Annotations/._0000.xml", "Annotations/._0000.xml", "ImageSets/Main/._test.txt", ".DS_Store"):
        (root / name).write_bytes(b"\0\5\x16\7")


READ = {
    'numbers and marks as text: `"7"`, `"0.5"`, `"true"`': (make_coco, as_text),
    "no height and width, or 0": (make_voc, without_size),
    "gray of 16 bits, palettes, CMYK, YCbCr, LAB": (make_voc, other_modes),
    "names in lists with spaces or folders; `name -1`, quotes, file endings": (make_voc, marked_lists),
    "another ending of the image than in the XML: `.JPG`, `.png`": (make_voc, other_endings),
    "backslashes in names": (make_voc, backslashes),
    "XML in any encoding that it declares, lists with a byte-order mark": (make_voc, encodings),
    "hidden files, `._` files, `__MACOSX`": (make_voc, hidden_files),
}


def test_the_table_tells_all_that_is_read() -> None:
    assert table()["read"] == list(READ)


@pytest.mark.parametrize("row", READ)
def test_what_the_table_says_is_read(row: str, tmp_path: Path) -> None:
    """The same images and boxes as before the change, and nothing to tell."""
    make, change = READ[row]
    make(tmp_path / "before")
    make(tmp_path / "after")
    change(tmp_path / "after")
    before, after = (check_data(find_data(tmp_path / name)) for name in ("before", "after"))
    assert after.splits == before.splits
    assert after.problems == before.problems == []
