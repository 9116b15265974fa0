"""``predict`` on files, folders and patterns, and ``compare`` of two checkpoints."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

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
        (photos / "nowhere.png", r"nowhere\.png: not a readable image"),
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
