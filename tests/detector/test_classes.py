"""Class names and their order, which checkpoint, training, validation and a second checkpoint have to share."""

from __future__ import annotations

import copy
import doctest
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from detector.cli import main
from detector.config import Config, config_to_yaml
from detector.data import classes
from detector.data.annotations import Annotations, AnnotationsBuilder
from detector.data.classes import labels_in, with_classes_of
from detector.engine.checkpoint import load_checkpoint
from detector.errors import UserError

NAMES = ("circle", "square", "bar")
Content = dict[str, Any]


def annotations_of(names: Sequence[str], labels: Sequence[int]) -> Annotations:
    builder = AnnotationsBuilder(tuple(names), [10 + label for label in range(len(names))])
    builder.add_image(Path("a.png"), 1, height=64, width=64)
    for label in labels:
        builder.add_box((1.0, 1.0, 9.0, 9.0), 64.0, label, ignore=False)
    return builder.build()


def test_labels_and_ids_follow_the_names() -> None:
    turned = with_classes_of(annotations_of(("bar", "circle", "square"), [0, 1, 2, 1]), NAMES, "data.val", "data.train")
    assert turned.class_names == NAMES
    assert turned.labels.tolist() == [2, 0, 1, 0]
    assert turned.category_ids.tolist() == [11, 12, 10]
    same = annotations_of(NAMES, [0])
    assert with_classes_of(same, NAMES, "data.val", "data.train") is same


def test_a_class_without_a_box_is_no_difference() -> None:
    fewer = with_classes_of(annotations_of(("bar", "circle"), [0]), NAMES, "data.val", "data.train")
    assert (fewer.class_names, fewer.labels.tolist(), fewer.category_ids.tolist()) == (NAMES, [2], [11, 12, 10])
    more = with_classes_of(annotations_of(("dot", *NAMES), [3]), NAMES, "data.val", "data.train")
    assert (more.class_names, more.labels.tolist(), more.category_ids.tolist()) == (NAMES, [2], [11, 12, 13])
    none = with_classes_of(annotations_of(("dot",), []), NAMES, "data.val", "data.train")
    assert (none.class_names, len(none.labels)) == (NAMES, 0)


def test_boxes_of_another_class_are_refused_by_both_lists() -> None:
    with pytest.raises(UserError, match=r"data\.val: its classes are not those of data\.train: dot occur in data\.val"):
        with_classes_of(annotations_of(("circle", "dot"), [0, 1]), NAMES, "data.val", "data.train")
    with pytest.raises(UserError, match=r"data\.val has circle, dot; data\.train has circle, square, bar"):
        with_classes_of(annotations_of(("circle", "dot"), [1]), NAMES, "data.val", "data.train")
    many = [f"class {number}" for number in range(1203)]
    with pytest.raises(UserError, match=r"class 19 and 1183 more; data\.train has circle"):
        with_classes_of(annotations_of(many, [7]), NAMES, "data.val", "data.train")


def test_the_example_of_the_docstring_runs() -> None:
    failed, tried = doctest.testmod(classes)
    assert failed == 0
    assert tried > 0


def test_labels_of_a_second_checkpoint() -> None:
    assert labels_in(("bar", "circle", "square"), NAMES, "b.pt", "a.pt").tolist() == [2, 0, 1]
    with pytest.raises(UserError, match=r"b\.pt: its classes are not those of a\.pt: b\.pt has bar; a\.pt has circle"):
        labels_in(("bar",), NAMES, "b.pt", "a.pt")


def scene(color: str, box: tuple[int, int, int, int]) -> Image.Image:
    image = Image.new("RGB", (64, 64), "black")
    image.paste(color, box)
    return image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two splits of the same scenes: an image for each class, which is a colour."""
    boxes = {"circle": ("red", (4, 4, 40, 44)), "square": ("lime", (20, 8, 60, 50)), "bar": ("blue", (8, 20, 44, 60))}
    content: Content = {"images": [], "annotations": [], "categories": []}
    for number, (name, (color, box)) in enumerate(boxes.items(), start=1):
        x1, y1, x2, y2 = box
        scene(color, box).save(tmp_path / f"{name}.png")
        content["images"].append({"id": number, "file_name": f"{name}.png", "width": 64, "height": 64})
        content["annotations"].append(
            {"id": number, "image_id": number, "category_id": number, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        )
        content["categories"].append({"id": number, "name": name})
    for split in ("train", "val"):
        (tmp_path / f"{split}.json").write_text(json.dumps(content))
    return tmp_path


def changed(folder: Path, split: str, change: Callable[[Content], None]) -> Path:
    """A file of the split that differs from the split's own."""
    content = json.loads((folder / f"{split}.json").read_text())
    change(content)
    file = folder / f"{split}_changed.json"
    file.write_text(json.dumps(content))
    return file


def reorder(content: Content) -> None:
    """The same annotations, their categories numbered the other way round."""
    for record in content["categories"]:
        record["id"] = 4 - record["id"]
    for record in content["annotations"]:
        record["category_id"] = 4 - record["category_id"]


def rename(content: Content) -> None:
    content["categories"][0]["name"] = "disc"


def drop(content: Content) -> None:
    """A class without a box, which the file does not list."""
    content["annotations"] = content["annotations"][:2]
    content["categories"] = content["categories"][:2]


@pytest.fixture
def options(folder: Path, config: Config) -> list[str]:
    (folder / "tiny.yaml").write_text(config_to_yaml(config))
    splits = [option for split in ("train", "val") for option in (f"--data.{split}.annotations", f"{split}.json")]
    return ["--config", str(folder / "tiny.yaml"), "--data.format", "coco", "--data.root", str(folder), *splits]


def stats_of(out: Path) -> dict[str, float]:
    stats: dict[str, float] = json.loads((out / "eval.json").read_text())["stats"]
    return stats


def test_every_command_maps_by_name(folder: Path, options: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """The figures of a network on files whose order differs are those on files whose order does not."""
    run, other = folder / "run", folder / "other"
    low = ["--postprocess.score-threshold", "0.001"]
    train = ["train", *options, *low, "--train.iterations", "8", "--train.eval-every", "8", "--optim.lr", "0.003"]
    assert main([*train, "--out", str(run)]) == 0
    evaluated = ["--checkpoint", str(run / "last.pt")]
    assert main(["eval", *evaluated]) == 0
    expected = stats_of(run)
    val = ["--data.val.annotations", changed(folder, "val", reorder).name]
    assert main(["eval", *evaluated, *val, "--out", str(other)]) == 0
    assert stats_of(other) == expected
    assert main(["predict", *evaluated, *val, "--out", str(other)]) == 0
    listing = json.loads((other / "images.json").read_text())["categories"]
    assert listing == [{"id": 4 - number, "name": name} for number, name in enumerate(NAMES, start=1)]

    assert main([*train, *val, "--out", str(other)]) == 0
    rows = [json.loads(line) for line in (other / "metrics.jsonl").read_text().splitlines()]
    assert {name.removeprefix("eval_"): value for name, value in rows[-1].items() if name != "step"} == expected
    # The other way round: another order in the training, and so of the labels in the checkpoint.
    turned = ["--data.train.annotations", changed(folder, "train", reorder).name]
    assert main(["train", *options, *turned, "--out", str(folder / "turned")]) == 0
    assert load_checkpoint(folder / "turned/last.pt")["class_names"] == list(reversed(NAMES))
    files = [str(run / "last.pt"), str(folder / "turned/last.pt"), str(run / "last.pt")]
    capfd.readouterr()
    drawn = ["--out", str(folder / "comparison.png"), "--score", "0.005", *low]
    assert main(["compare", "--checkpoints", *files, "--names", "a", "b", "c", *drawn]) == 0
    first, second, third = (line.partition(":")[2] for line in capfd.readouterr().out.splitlines()[:3])
    assert first == third
    assert main(["compare", "--checkpoints", files[1], files[0], "--names", "b", "a", *drawn]) == 0
    assert [line.partition(":")[2] for line in capfd.readouterr().out.splitlines()[:2]] == [second, first]


@pytest.mark.parametrize(
    "more", [[], ["--dry-run"], ["--train.eval-every", "2"]], ids=["train", "dry run", "evaluated"]
)
def test_a_training_begins_only_if_the_validation_has_its_classes(
    folder: Path, options: list[str], more: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    val = ["--data.val.annotations", changed(folder, "val", rename).name]
    assert main(["train", *options, *val, *more, "--out", str(folder / "run")]) == 1
    err = capfd.readouterr().err
    assert "data.val: its classes are not those of data.train: disc occur in data.val alone" in err
    assert err.count("\n") == 1
    assert not (folder / "run/last.pt").exists()
    without = ["--data.val.annotations", changed(folder, "val", drop).name, "--train.iterations", "2"]
    assert main(["train", *options, *without, *more, "--out", str(folder / "run")]) == 0


@pytest.mark.parametrize("command", ["eval", "predict", "compare", "resume"])
def test_a_checkpoint_is_used_on_its_classes_alone(
    folder: Path, options: list[str], command: str, capfd: pytest.CaptureFixture[str]
) -> None:
    file = folder / "run/last.pt"
    assert main(["train", *options, "--train.iterations", "2", "--out", str(folder / "run")]) == 0
    wrong = ["--data.val.annotations", changed(folder, "val", rename).name]
    arguments = {
        "eval": ["eval", "--checkpoint", str(file), *wrong],
        "predict": ["predict", "--checkpoint", str(file), *wrong],
        "compare": ["compare", "--checkpoints", str(file), str(file), *wrong],
        "resume": ["train", "--resume", str(file), "--train.iterations", "3"],
    }[command]
    if command == "resume":  # the same images and boxes, by another name
        (folder / "train.json").write_bytes(changed(folder, "train", rename).read_bytes())
    capfd.readouterr()
    assert main(arguments) == 1
    err = capfd.readouterr().err
    where = "data.train" if command == "resume" else "data.val"
    assert f"{where}: its classes are not those of {file}: disc occur in {where} alone" in err
    assert err.count("\n") == 1


def test_a_resumed_run_keeps_the_order_of_its_checkpoint(folder: Path, options: list[str]) -> None:
    run, whole = folder / "run", folder / "whole"
    assert main(["train", *options, "--train.iterations", "4", "--out", str(whole)]) == 0
    assert main(["train", *options, "--train.iterations", "4", "--train.keep-every", "2", "--out", str(run)]) == 0
    (folder / "train.json").write_bytes(changed(folder, "train", reorder).read_bytes())
    assert main(["train", "--resume", str(run / "step_2.pt")]) == 0
    one, other = load_checkpoint(whole / "last.pt"), load_checkpoint(run / "last.pt")
    assert one["class_names"] == other["class_names"]
    for name, value in one["model"].items():
        assert torch.equal(value, other["model"][name]), name


def test_checkpoints_of_other_classes_are_not_compared(
    folder: Path, options: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *options, "--train.iterations", "1", "--out", str(folder / "run")]) == 0
    content = load_checkpoint(folder / "run/last.pt")
    other = copy.deepcopy(content)
    other["class_names"][0] = "disc"
    torch.save(other, folder / "other.pt")
    files = [str(folder / "run/last.pt"), str(folder / "other.pt")]
    assert main(["compare", "--checkpoints", *files, "--names", "a", "b"]) == 1
    err = capfd.readouterr().err
    assert f"{files[1]}: its classes are not those of {files[0]}: {files[1]} has disc, square, bar" in err


def test_data_check_compares_the_splits(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "annotations").mkdir()
    for split, file in (("train", folder / "train.json"), ("val", changed(folder, "val", rename))):
        (folder / "annotations" / f"instances_{split}.json").write_bytes(file.read_bytes())
    assert main(["data", "check", str(folder)]) == 1
    assert "error: classes of val that train does not have: 1" in capfd.readouterr().out
    (folder / "annotations/instances_val.json").write_bytes(changed(folder, "val", reorder).read_bytes())
    assert main(["data", "check", str(folder)]) == 0
