"""``predict`` on files, folders and patterns, and ``compare`` of two checkpoints."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from detector.cli import main
from detector.config import Config
from detector.data import Annotations, load_annotations
from detector.data.files import list_images
from detector.engine.checkpoint import TrainingState, save_checkpoint
from detector.engine.train import build_model
from detector.errors import UserError
from detector.evaluation.coco import coco_categories, coco_images
from detector.model import Detections
from detector.visualise.comparison import Judged
from detector.visualise.mistakes import judge, most_different


@pytest.fixture
def checkpoints(config: Config, tmp_path: Path) -> list[Path]:
    """Two networks that were never trained."""
    annotations = load_annotations(config.data, "train")
    files = []
    for name in ("baseline", "ours"):
        torch.manual_seed(len(files))
        low = dataclasses.replace(config, postprocess=dataclasses.replace(config.postprocess, score_threshold=0.0))
        model = build_model(low, 5, torch.device("cpu"))
        (tmp_path / name).mkdir()
        files.append(tmp_path / name / "last.pt")
        save_checkpoint(files[-1], **TrainingState(model, torch.optim.SGD(model.parameters())).content(annotations))
    return files


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three images of different sizes in two folders, and a file that is none."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    Image.new("RGB", (70, 50)).save(folder / "a.png")
    Image.new("L", (40, 90)).save(folder / "b.JPG")
    Image.new("RGB", (30, 30)).save(folder / "more" / "a.webp")
    (folder / "notes.txt").write_text("no image")
    return folder


def names(annotations: Annotations) -> list[str]:
    return [Path(file).name for file in annotations.files]


def test_files_folders_and_patterns(photos: Path) -> None:
    classes = (("thing",), [1])
    listed = list_images([photos / "more" / "a.webp", photos], *classes)
    assert names(listed) == ["a.webp", "a.png", "b.JPG"]
    assert listed.image_ids.tolist() == [1, 2, 3]
    assert listed.sizes.tolist() == [[30, 30], [50, 70], [90, 40]]
    assert names(list_images([photos / "**" / "a*"], *classes)) == ["a.png", "a.webp"]
    for path, message in (
        (photos / "*.gif", r"--images: no image \(.*\.png.*\) in .*\*\.gif"),
        (photos / "nowhere.png", r"nowhere\.png: not a readable image: No such file or directory$"),
        (photos / "notes.txt", r"notes\.txt: not a readable image"),
    ):
        with pytest.raises(UserError, match=message):
            list_images([path], *classes)


def test_predict_writes_pictures_and_coco_json(
    checkpoints: list[Path], photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found"
    images = [str(photos), str(photos / "more" / "*")]
    assert main(["predict", "--checkpoint", str(checkpoints[0]), "--images", *images, "--out", str(out)]) == 0
    assert capfd.readouterr().out == f"wrote 3 pictures, detections.json and images.json to {out}\n"
    assert sorted(file.name for file in out.glob("*.png")) == ["a-3.png", "a.png", "b.png"]
    listing = json.loads((out / "images.json").read_text())
    assert [(image["id"], image["width"], image["height"]) for image in listing["images"]] == [
        (1, 70, 50),
        (2, 40, 90),
        (3, 30, 30),
    ]
    assert listing["images"][2]["file_name"] == str(photos / "more" / "a.webp")
    results = json.loads((out / "detections.json").read_text())
    assert {result["image_id"] for result in results} == {1, 2, 3}
    assert {result["category_id"] for result in results} <= {category["id"] for category in listing["categories"]}
    sides = {image["id"]: (image["width"], image["height"]) for image in listing["images"]}
    for result in results:  # in pixels of the files, whatever size the network saw
        x, y, width, height = result["bbox"]
        assert min(x, y) >= 0
        assert x + width <= sides[result["image_id"]][0] + 1e-3
        assert y + height <= sides[result["image_id"]][1] + 1e-3


def damage(file: Path) -> None:
    """Leave the head of an image."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 3 // 4])


@pytest.mark.parametrize("workers", ["0", "2"])
def test_predict_does_what_can_be_read_and_names_the_rest(
    checkpoints: list[Path], photos: Path, tmp_path: Path, workers: str, capfd: pytest.CaptureFixture[str]
) -> None:
    Image.effect_noise((70, 50), 90).save(photos / "c.png")
    damage(photos / "c.png")  # its head can be read
    (photos / "d.png").write_text("no image")
    out, missing = tmp_path / "found", photos / "nowhere.png"
    options = ["--data.workers", workers, "--eval.batch-size", "1", "--out", str(out)]
    paths = [str(photos), str(missing), str(photos / "more")]
    assert main(["predict", "--checkpoint", str(checkpoints[0]), "--images", *paths, *options]) == 1
    text, err = capfd.readouterr()
    assert text == f"wrote 3 pictures, detections.json and images.json to {out}\n"
    assert err.startswith("detector predict: error: 3 of 6 images can not be read: ")
    assert err.count("\n") == 1
    listing = json.loads((out / "images.json").read_text())
    assert [(image["id"], image["picture"]) for image in listing["images"]] == [
        (1, "a.png"),
        (2, "b.png"),
        (6, "a-6.png"),
    ]
    assert sorted(file.name for file in out.glob("*.png")) == ["a-6.png", "a.png", "b.png"]
    assert sorted(line.partition(": ")[0] for line in listing["unreadable"]) == [
        str(photos / "c.png"),
        str(photos / "d.png"),
        str(missing),
    ]
    for line in listing["unreadable"]:
        assert line in err
    assert {result["image_id"] for result in json.loads((out / "detections.json").read_text())} == {1, 2, 6}


def test_many_unreadable_images_are_one_line(
    checkpoints: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for number in range(5):
        (tmp_path / f"{number}.png").write_text("no image")
    out = tmp_path / "found"
    command = ["predict", "--checkpoint", str(checkpoints[0]), "--images", str(tmp_path / "*.png"), "--out", str(out)]
    assert main(command) == 1
    text, err = capfd.readouterr()
    assert text.startswith("wrote 0 pictures")
    assert "5 of 5 images can not be read: " in err
    assert f"{tmp_path / '2.png'}: not a readable image" in err
    assert "3.png" not in err
    assert err.endswith(f"; and 2 more; all are in {out / 'images.json'}\n")
    assert len(json.loads((out / "images.json").read_text())["unreadable"]) == 5


def coco_copy(annotations: Annotations, folder: Path) -> list[str]:
    """The images of a split in a folder of their own, as COCO's; the options that choose it."""
    folder.mkdir()
    content: dict[str, Any] = {"images": coco_images(annotations), "categories": coco_categories(annotations)}
    for image in content["images"]:
        shutil.copy(image["file_name"], folder)
        image["file_name"] = Path(image["file_name"]).name
    content["annotations"] = [
        {"id": 1 + row, "image_id": int(annotations.image_ids[index]), "category_id": 1, "bbox": [1, 1, 9, 9]}
        for row, index in enumerate(range(len(annotations)))
    ]
    (folder / "val.json").write_text(json.dumps(content))
    return ["--data.format", "coco", "--data.root", str(folder), "--data.val.annotations", "val.json"]


def test_compare_leaves_out_what_can_not_be_read(
    checkpoints: list[Path], config: Config, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = coco_copy(load_annotations(config.data, "val"), tmp_path / "images")
    file = sorted((tmp_path / "images").glob("*.png"))[1]
    damage(file)
    command = ["compare", "--checkpoints", *map(str, checkpoints), *data, "--out", str(tmp_path / "comparison.png")]
    assert main([*command, "--indices", "0", "1", "3"]) == 1
    text, err = capfd.readouterr()
    assert "in 3 images, from a score of 0.3 on" in text
    assert "images 0, 3 of the split, and " in text.splitlines()[-1]
    assert f"1 of 4 images can not be read: {file}: not a readable image" in err
    assert err.count("\n") == 1
    assert (tmp_path / "comparison.png").exists()
    # A score over other images would be another score: eval stops.
    assert main(["eval", "--checkpoint", str(checkpoints[0]), *data, "--out", str(tmp_path / "eval")]) == 1
    assert f"error: {file}: not a readable image" in capfd.readouterr().err


def test_pictures_of_one_name_do_not_replace_each_other(checkpoints: list[Path], photos: Path, tmp_path: Path) -> None:
    Image.new("RGB", (30, 30)).save(photos / "a-3.png")
    out = tmp_path / "found"
    paths = [str(photos / name) for name in ("a-3.png", "a.png", "more/a.webp")]
    assert main(["predict", "--checkpoint", str(checkpoints[0]), "--images", *paths, "--out", str(out)]) == 0
    assert len(list(out.glob("*.png"))) == 3


def test_a_limit_below_one_is_refused(checkpoints: list[Path], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "--checkpoint", str(checkpoints[0]), "--limit", "0"]) == 2
    assert "--limit: expected at least 1, got 0" in capfd.readouterr().err


def test_judging_detections(annotations: Annotations) -> None:
    index = int(annotations.offsets.diff().argmax())
    rows = annotations.rows(index)
    boxes, labels = annotations.boxes[rows].float(), annotations.labels[rows]
    found = Detections(
        torch.cat((boxes[:1], boxes[:1], boxes[1:2])), torch.tensor([0.9, 0.8, 0.1]), labels[torch.tensor([0, 0, 1])]
    )
    judged = judge(found, annotations, index, score=0.3)
    assert judged.is_wrong.tolist() == [False, True]
    assert judged.is_missed.tolist() == [False] + [True] * (len(boxes) - 1)
    ignored = dataclasses.replace(annotations, ignore=torch.ones_like(annotations.ignore))
    assert judge(found, ignored, index, score=0.3)[1:] == (pytest.approx([0, 0]), pytest.approx([0] * len(boxes)))


def test_images_that_differ_most() -> None:
    def judged(wrong: int, missed: int) -> Judged:
        found = Detections(torch.zeros(wrong, 4), torch.ones(wrong), torch.zeros(wrong, dtype=torch.int64))
        return Judged(found, torch.ones(wrong, dtype=torch.bool), torch.ones(missed, dtype=torch.bool))

    baseline = [judged(1, 1), judged(5, 0), judged(0, 0)]
    ours = [judged(0, 2), judged(0, 1), judged(3, 0)]
    assert most_different([baseline, ours], 2) == [1, 2]


def test_compare_draws_a_line_per_image(
    checkpoints: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pictures" / "comparison.png"
    options = ["compare", "--checkpoints", *map(str, checkpoints), "--out", str(file)]
    assert main([*options, "--score", "0.0099", "--count", "2"]) == 0
    out = capfd.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in out[:2]] == ["baseline", "ours"]
    assert "in 4 images, from a score of 0.0099 on" in out[0]
    width, height = Image.open(file).size
    assert main([*options, "--indices", "3", "--names", r"$\frac$", "Pseudo-IoU"]) == 0
    recall_file = file.with_name("comparison_recall.png")
    out = capfd.readouterr().out
    assert out.endswith(f"images 3 of the split, and {recall_file}\n")
    assert "| recall | $\\frac$ | Pseudo-IoU |" in out
    assert Image.open(recall_file).size[0] > 500
    assert Image.open(file).size[1] < 0.7 * height
    assert width == Image.open(file).size[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--names", "one"],
            "--checkpoints, --names: expected two or more checkpoints and a name for each, got 2 and 1",
        ),
        (["--indices", "9"], "--indices: expected 0 to 3, got 9"),
        (["--count", "0"], "--count: expected at least 1, got 0"),
        (["--out", "comparison.txt"], "--out comparison.txt"),
    ],
)
def test_compare_errors_are_one_line(
    options: list[str],
    message: str,
    checkpoints: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "--checkpoints", *map(str, checkpoints), *options]) == 2
    err = capfd.readouterr().err
    assert message in err
    assert err.count("\n") == 1
