"""Images to predict on alone, as a test server lists them; and data sets of one's own without a configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from data_folders import write_coco
from PIL import Image

from detector.cli import main
from detector.commands.options import demo_config
from detector.config import Config, DataConfig, SplitConfig

TINY = [
    *("--data.short-sides", "64", "--data.eval-short-side", "64", "--data.max-side", "128", "--data.workers", "0"),
    *("--model.backbone", "resnet10", "--model.channels", "16", "--model.head-convs", "1", "--model.norm-groups", "4"),
    *("--train.iterations", "1", "--train.batch-size", "2", "--train.device", "cpu"),
]
DATA = [
    *("--data.format", "coco", "--data.train.annotations", "annotations/instances_train.json"),
    *("--data.train.images", "train", "--data.val.annotations", "annotations/instances_val.json"),
    *("--data.val.images", "val", "--data.root"),
]


@pytest.fixture
def unscored(tmp_path: Path) -> Path:
    """A COCO folder whose validation file lists images 101 and 102, and no annotations."""
    write_coco(tmp_path, "train")
    file = write_coco(tmp_path, "val")
    content = json.loads(file.read_text())
    del content["annotations"]
    for image in content["images"]:
        image["id"] += 100
    file.write_text(json.dumps(content))
    return tmp_path


def train(folder: Path, *options: str) -> int:
    """Train without a configuration: the demo's network and settings, on the classes of the folder."""
    return main(["train", *DATA, str(folder), *TINY, *options, "--out", str(folder / "run")])


def test_detections_for_a_server_that_scores_them(unscored: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert train(unscored) == 0, capfd.readouterr()
    capfd.readouterr()
    checkpoint = ["--checkpoint", str(unscored / "run/last.pt"), "--postprocess.score-threshold", "0"]
    out = unscored / "server"
    assert main(["eval", *checkpoint, "--out", str(out)]) == 0
    file = out / "detections.json"
    assert capfd.readouterr().out == (
        f"data.val has no annotations to score; wrote {file}, with its image ids, for a server\n"
    )
    assert {result["image_id"] for result in json.loads(file.read_text())} == {101, 102}
    assert {result["category_id"] for result in json.loads(file.read_text())} == {1, 2}
    assert not (out / "eval.json").exists()

    assert main(["predict", *checkpoint, "--out", str(unscored / "drawn")]) == 0
    results = json.loads((unscored / "drawn/detections.json").read_text())
    assert {result["image_id"] for result in results} == {101, 102}

    both = [str(unscored / "run/last.pt")] * 2
    assert main(["compare", "--checkpoints", *both, "--names", "a", "b"]) == 1
    assert "--split val: expected COCO files with the list 'annotations', got images alone" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--train.eval-every", "1"], "train.eval_every, data.val: expected COCO files with the list 'annotations'"),
        (
            ["--data.train.annotations", "annotations/instances_val.json"],
            "data.train: expected COCO files with the list 'annotations', to train on",
        ),
    ],
)
def test_what_needs_annotations_says_so(
    options: list[str], message: str, unscored: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for more in ([], ["--dry-run"]):
        assert train(unscored, *options, *more) == 1
        err = capfd.readouterr().err
        assert message in err
        assert err.count("\n") == 1
    assert not (unscored / "run").exists()


def test_the_demos_classes_are_those_of_its_own_data() -> None:
    assert demo_config(Config()).data.classes == ("RBC", "WBC", "Platelets")
    mine = Config(data=DataConfig(train=SplitConfig(("mine.json",))))
    assert demo_config(mine).data.classes == ()
    assert demo_config(mine).model == demo_config(Config()).model


def test_a_turned_photo_is_upright_in_predictions(unscored: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert train(unscored) == 0, capfd.readouterr()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.effect_noise((60, 40), 60).convert("RGB").save(unscored / "photo.jpg", exif=exif)
    options = ["predict", "--checkpoint", str(unscored / "run/last.pt"), "--postprocess.score-threshold", "0"]
    options += ["--images", str(unscored / "photo.jpg"), "--out", str(unscored / "found")]
    assert main(options) == 0
    listing = json.loads((unscored / "found/images.json").read_text())
    assert [(image["width"], image["height"]) for image in listing["images"]] == [(40, 60)]
    boxes = [result["bbox"] for result in json.loads((unscored / "found/detections.json").read_text())]
    assert max(x + width for x, _, width, _ in boxes) <= 40.001
    assert max(y + height for _, y, _, height in boxes) > 40
    assert main([*options, "--data.max-pixels", "2399"]) == 1
    assert "photo.jpg: image of 60x40 exceeds data.max_pixels, 2399; set it to 2400" in capfd.readouterr().err
