"""Configuration files and the commands."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from detector.cli import main
from detector.commands import COMMANDS
from detector.config import (
    Config,
    DataConfig,
    SplitConfig,
    check_config,
    config_from_dict,
    config_to_dict,
    config_to_yaml,
    load_config,
)
from detector.data import load_annotations
from detector.errors import UsageError
from detector.evaluation.coco import STAT_NAMES
from detector.sweep.plan import load_sweep

REPOSITORY = Path(__file__).parents[2]
CONFIGS = REPOSITORY / "detector" / "configs"


@pytest.fixture
def config_file(config: Config, tmp_path: Path) -> Path:
    file = tmp_path / "tiny.yaml"
    file.write_text(config_to_yaml(config), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def run(capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    out, err = capfd.readouterr()
    return status, out, err


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.yaml")), ids=lambda file: file.name)
def test_configurations_are_valid_and_survive_a_round_trip(file: Path) -> None:
    config = load_config(file)
    check_config(config)
    assert config_from_dict(yaml.safe_load(config_to_yaml(config)), "again") == config


def test_bundled_files_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config(Path("configs/demo.yaml")) == load_config(CONFIGS / "demo.yaml")
    assert load_sweep(Path("configs/sweeps/bccd_cpu.yaml")).cells
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/demo.yaml").write_text("train: {seed: 3}\n")
    assert load_config(Path("configs/demo.yaml")).train.seed == 3


def test_base_and_overrides(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("train: {seed: 3, batch_size: 2}\n")
    (tmp_path / "child.yaml").write_text("base: base.yaml\ntrain: {batch_size: 8}\noptim: {lr: 1e-2}\n")
    config = load_config(tmp_path / "child.yaml")
    assert (config.train.seed, config.train.batch_size, config.optim.lr) == (3, 8, 0.01)
    (tmp_path / "grandchild.yaml").write_text("base: child.yaml\nmodel: {channels: 32}\n")
    assert load_config(tmp_path / "grandchild.yaml").optim.lr == 0.01
    (tmp_path / "grandchild.yaml").write_text("base: grandchild.yaml\n")
    with pytest.raises(UsageError, match="base: the file is a base of its own"):
        load_config(tmp_path / "grandchild.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("assign: {treshold: 0.4}", "assign.treshold: no such option"),
        ("assing: {threshold: 0.4}", "assing: no such option"),
        ("train: {batch_size: many}", "train.batch_size: expected a valid integer, got 'many'"),
        ("train: {batch_size: 0}", "train.batch_size: expected at least 1, got 0"),
        ("train: {ema: .nan}", "train.ema: expected less than 1, got nan"),
        ("data: {short_sides: []}", r"data.short_sides: expected at least 1 value, got \[\]"),
        ("optim: {decay_at: [0.5, 1.0]}", "optim.decay_at.1: expected less than 1, got 1.0"),
        ("train: 3", "train: expected a section of options, got 3"),
        ("assign: {metric: piou}", "assign.metric: expected 'pseudo_iou', .* or 'none', got 'piou'"),
        ("- data", "expected sections such as 'data:', got list"),
        ("data: [", "not YAML"),
    ],
)
def test_mistakes_in_yaml_are_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message) as caught:
        load_config(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["frobnicate"], 2, "unknown command 'frobnicate'; expected one of train, eval"),
        (["train", "--trian.seed", "3"], 2, "Unrecognized options: --trian.seed, 3"),
        (["train", "--assign.treshold", "3"], 2, "perhaps you meant --assign.threshold"),
        (["train", "--assign.metric", "piou"], 2, "invalid choice 'piou' for argument '--assign.metric'"),
        (["train", "--train.seed", "x"], 2, "train.seed"),
        (["train", "--config", "nowhere.yaml"], 2, "nowhere.yaml: No such file"),
        (["train", "--assign.threshold", "1.5"], 2, "assign.threshold: expected"),
        (["train", "--train.batch-size", "0"], 2, "train.batch_size: expected at least 1, got 0"),
        (
            ["train", "--data.classes", "cat", "dog", "cat"],
            2,
            "data.classes: expected each class once, got cat, dog, cat",
        ),
        (["train", "--eval.max-detections", "10"], 2, "eval.max_detections: expected more than 10, got 10"),
        (["train", "--eval.limit", "0"], 2, "eval.limit: expected at least 1, got 0"),
        (["train", "--postprocess.nms-threshold", "2"], 2, "postprocess.nms_threshold: expected at most 1, got 2.0"),
        (
            ["train", "--postprocess.score-threshold", "1"],
            2,
            "postprocess.score_threshold: expected less than 1, got 1.0",
        ),
        (
            ["train", "--postprocess.detections-per-image", "0"],
            2,
            "postprocess.detections_per_image: expected at least 1, got 0",
        ),
        (["train", "--data.max-side", "0"], 2, "data.max_side: expected at least 1, got 0"),
        (["train", "--model.norm", "frozen"], 2, "model.weights: expected pretrained weights, or"),
        (["train", "--train.device", "toaster"], 2, "train.device: 'toaster' is not available"),
        (["train", "--data.format", "coco", "--data.root", "nowhere"], 1, "data.root: no folder 'nowhere'"),
        (["eval"], 2, "--checkpoint"),
        (["eval", "--checkpoint", "nowhere.pt"], 1, "no checkpoint 'nowhere.pt'"),
        (["assign-view", "--metrics", "none", "--thresholds", "1", "2"], 2, "--thresholds: expected one"),
        (["assign-view", "--levels", "9"], 2, "--levels: expected levels 3 to 7, got 9"),
        (["assign-view", "--scene", "1", "--index", "1"], 2, "expected one of them"),
        (["assign-view", "--image", "x.png"], 2, "--image and --boxes: expected both or neither"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str],
    status: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    got, out, err = run(capfd, *arguments)
    assert got == status
    assert message in err
    assert err.startswith("detector")
    assert err.count("\n") == 1
    assert out == ""


def test_an_error_in_a_loader_process_is_one_line(
    config: Config, config_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "instances.json").write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "gone.png", "height": 9, "width": 9}],
                "annotations": [],
                "categories": [{"id": 1, "name": "thing"}],
            }
        )
    )
    options = ["--data.format", "coco", "--data.root", tmp_path, "--data.train.annotations", "instances.json"]
    status, _, err = run(
        capfd, "train", "--config", config_file, "--out", tmp_path / "run", *options, "--data.workers", "1"
    )
    assert status == 1
    assert "gone.png: not a readable image" in err
    assert err.count("\n") == 1
    assert not multiprocessing.active_children()


def test_module_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "detector"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert all(f"  {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize(
    ("name", "shown", "hidden"),
    [
        ("train", ("--resume", "--optim.lr", "--eval.limit", "--assign.threshold"), ()),
        ("eval", ("--checkpoint", "--data.root", "--eval.limit", "--train.device"), ("--train.seed", "--optim.lr")),
        ("export", ("--nms", "--postprocess.nms-threshold"), ("--optim.lr", "--train.device", "--assign.threshold")),
        ("assign-view", ("--metrics", "--assign.threshold", "--data.root"), ("--model.backbone", "--eval.limit")),
        ("data check", ("--no-decode", "--data.val.images"), ("--model.backbone", "--optim.lr")),
    ],
)
def test_help_shows_what_a_command_reads(
    name: str, shown: tuple[str, ...], hidden: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capfd, *name.split(), "--help")
    assert (status, err) == (0, "")
    assert [option for option in shown if option not in out] == []
    assert [option for option in hidden if option in out] == []
    assert out.splitlines()[-1].startswith("--help-all lists") == bool(hidden)
    status, out, err = run(capfd, *name.split(), "--help-all")
    assert (status, err) == (0, "")
    assert [option for option in (*shown, *hidden) if option not in out] == []


def test_help_shows_the_values_of_the_configuration(config_file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("train", "assign-view"):
        _, out, _ = run(capfd, name, "--config", config_file, "--help")
        assert re.search(r"scenes?\.\s+\(default:\s+16\)", out.replace("│", "")), name  # train_images


def test_what_is_hidden_in_the_help_is_still_an_option(capfd: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capfd, "assign-view", "--optim.lr", "0.5", "--levels", "9")
    assert (status, "--levels" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "unbuffered"),
    [(["--help"], ""), (["train", "--help"], ""), (["assign-view", "--levels", "3"], "1")],
)
def test_output_into_a_closed_pipe_ends_quietly(arguments: list[str], unbuffered: str, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "detector", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered, "PYTHONPATH": str(REPOSITORY)},
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_pipe_that_is_not_the_output_is_no_quiet_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(arguments: object) -> None:
        raise BrokenPipeError

    monkeypatch.setitem(COMMANDS, "demo", dataclasses.replace(COMMANDS["demo"], run=broken))
    with pytest.raises(BrokenPipeError):
        main(["demo"])


def test_train_eval_predict(config_file: Path, tmp_path: Path, runs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = runs / "tiny"
    options = ["train", "--config", config_file, "--out", folder, "--train.iterations", "4"]
    status, out, err = run(capfd, *options)
    assert status == 0, err
    assert "\r" not in out + err
    assert load_config(folder / "config.yaml").train.iterations == 4

    status, _, err = run(capfd, *options)
    assert (status, err.count("\n")) == (2, 1)
    assert "holds a run already" in err
    assert run(capfd, *options, "--overwrite")[0] == 0

    checkpoint = folder / "last.pt"
    status, out, err = run(
        capfd, "eval", "--checkpoint", checkpoint, "--eval.limit", "3", "--postprocess.score-threshold", "0.0"
    )
    assert status == 0, err
    assert [line.split()[0] for line in out.splitlines()[:12]] == list(STAT_NAMES)
    assert "triangle" in out
    assert re.search(r"^inference \d+\.\d s, evaluation \d+\.\d s$", out, re.MULTILINE)
    report = json.loads((folder / "eval.json").read_text())
    assert report["images"] == 3
    assert report["protocol"]["nms_threshold"] == 0.5
    assert report["protocol"]["backend"] == "pycocotools"
    assert set(report["seconds"]) == {"inference", "evaluation"}
    results = json.loads((folder / "detections.json").read_text())
    assert set(results[0]) == {"image_id", "category_id", "bbox", "score"}

    status, out, err = run(capfd, "predict", "--checkpoint", checkpoint, "--limit", "2")
    assert status == 0, err
    assert len(list((folder / "predictions").glob("*.png"))) == 2

    Image.new("RGB", (70, 50)).save(tmp_path / "photo.png")
    status, out, err = run(
        capfd, "predict", "--checkpoint", checkpoint, "--images", tmp_path / "photo.png", "--out", tmp_path / "found"
    )
    assert status == 0, err
    assert Image.open(tmp_path / "found" / "photo.png").size[0] > 100
    assert json.loads((tmp_path / "found" / "detections.json").read_text()) == []


def test_assign_view_of_a_drawn_scene(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "view.png"
    metrics = ["--metrics", "none", "pseudo_iou", "centerness", "scaled_box", "center_radius"]
    status, out, err = run(capfd, "assign-view", *metrics, "--levels", "3", "5", "--out", file)
    assert status == 0, err
    width, height = Image.open(file).size
    assert width > 2 * height
    counts = [int(line.split(": ")[1].split()[0]) for line in out.splitlines()[:5]]
    assert counts[0] == max(counts)


def test_assign_view_of_an_image_file_and_of_a_data_set(
    config_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (96, 64), (80, 90, 100)).save(tmp_path / "photo.png")
    (tmp_path / "boxes.json").write_text("[[4, 4, 60, 60], [70, 3, 73, 6]]")
    file = ["--image", tmp_path / "photo.png", "--boxes", tmp_path / "boxes.json"]
    options = [*file, "--data.eval-short-side", "64", "--levels", "3", "--assign.ignore-threshold", "0.2"]
    status, out, err = run(capfd, "assign-view", *options, "--out", tmp_path / "a.png")
    assert status == 0, err
    assert "1 of 2 boxes without one" in out  # no point lies in the small box
    status, out, err = run(
        capfd, "assign-view", "--config", config_file, "--index", "1", "--levels", "3", "--out", tmp_path / "b.png"
    )
    assert status == 0, err
    assert (tmp_path / "b.png").stat().st_size > 10_000


def test_assign_view_resizes_an_image_file_like_the_data_set(
    config: Config, config_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    annotations = load_annotations(config.data, "train")
    (tmp_path / "boxes.json").write_text(json.dumps(annotations.boxes[annotations.rows(1)].tolist()))
    by_file = ["--image", annotations.files[1], "--boxes", tmp_path / "boxes.json"]
    sizes = ["--data.eval-short-side", "96", "--data.max-side", "96", "--levels", "3", "--metrics", "none"]
    pictures = [tmp_path / "by_index.png", tmp_path / "by_file.png"]
    shown = []
    for source, picture in zip((["--index", "1"], by_file), pictures, strict=True):
        status, out, err = run(capfd, "assign-view", "--config", config_file, *source, *sizes, "--out", picture)
        assert (status, err) == (0, "")
        shown.append(out.splitlines()[0])
    assert shown[0] == shown[1]
    assert pictures[0].read_bytes() == pictures[1].read_bytes()


def test_assign_view_refuses_boxes_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (96, 64)).save(tmp_path / "photo.png")
    (tmp_path / "boxes.json").write_text("[[60, 4, 4, 60]]")
    options = ["--image", tmp_path / "photo.png", "--boxes", tmp_path / "boxes.json"]
    status, _, err = run(capfd, "assign-view", *options, "--out", tmp_path / "view.png")
    assert (status, err.count("\n")) == (1, 1)
    assert "boxes.json: box 1 of 1: expected [x1, y1, x2, y2] with x1 < x2 and y1 < y2" in err


def test_assign_view_of_an_image_without_objects(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (96, 64)).save(tmp_path / "photo.png")
    (tmp_path / "boxes.json").write_text("[]")
    options = ["--image", tmp_path / "photo.png", "--boxes", tmp_path / "boxes.json", "--metrics", "none"]
    status, out, err = run(capfd, "assign-view", *options, "--out", tmp_path / "view.png")
    assert (status, err) == (0, "")
    assert out.splitlines()[0].endswith(": 0 positive points; no boxes")


def test_defaults_are_plain_values() -> None:
    json.dumps(config_to_dict(Config()))


def test_a_folder_that_can_not_be_made_is_one_line(
    config_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    status, _, err = run(capfd, "train", "--config", config_file, "--out", tmp_path / "file" / "run")
    assert (status, err) == (1, f"detector train: error: {tmp_path / 'file' / 'run'}: Not a directory\n")


def test_an_iteration_count_below_one_is_refused(config_file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for count in ("-5", "0"):
        status, _, err = run(capfd, "train", "--config", config_file, "--train.iterations", count)
        assert (status, err.count("\n")) == (2, 1), err
        assert "iterations: expected at least 1" in err


def test_another_data_set_has_other_classes_than_the_demos(tmp_path: Path) -> None:
    """Without --config, the network and the schedule are the demo's, the data set is the one that is named."""
    from detector.commands.train import TrainArguments, source

    assert source(TrainArguments()).data.classes == ("RBC", "WBC", "Platelets")
    named = DataConfig(root=str(tmp_path), train=SplitConfig(("train.json",)))
    found = source(TrainArguments(settings=Config(data=named)))
    assert found.data.classes == ()
    assert found.model == load_config(CONFIGS / "demo.yaml").model


@pytest.mark.parametrize(("asked", "is_shown"), [([], False), (["-W", "default"], True)])
def test_future_warnings_of_libraries_reach_only_who_asks(asked: list[str], is_shown: bool) -> None:
    program = (
        "import runpy, sys, warnings\n"
        "sys.argv = ['detector']\n"
        "try:\n    runpy.run_module('detector', run_name='__main__')\n"
        "except SystemExit:\n    warnings.warn('soon gone', FutureWarning)\n"
    )
    done = subprocess.run(
        [sys.executable, *asked, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert ("soon gone" in done.stderr) == is_shown
