"""The demo, and that what it suggests works as it is printed."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path

import pytest

from detector.assign_config import AssignConfig, Kind
from detector.cli import main
from detector.commands import demo
from detector.commands.demo import DemoArguments, _next_steps, folder_of
from detector.config import Config, config_to_yaml
from detector.runtime import to_type


def suggested(text: str) -> list[list[str]]:
    """The commands that are printed to try next, without the interpreter."""
    commands = [shlex.split(line) for line in text.split("try next:\n")[1].splitlines()]
    for command in commands:
        assert command[:3] == [sys.executable, "-m", "detector"]
    return [command[3:] for command in commands]


@pytest.mark.parametrize(
    ("data_format", "kind"),
    [("synthetic", "points"), ("coco", "points"), ("coco", "atss"), ("synthetic", "task_aligned")],
)
def test_the_demo_and_what_it_suggests(
    data_format: str,
    kind: Kind,
    config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    short = dataclasses.replace(config, train=dataclasses.replace(config.train, iterations=2))
    short = dataclasses.replace(short, assign=AssignConfig(kind=kind))
    if data_format == "coco":
        short = dataclasses.replace(short, data=as_coco(short))
    Path("my config.yaml").write_text(config_to_yaml(short), encoding="utf-8")
    assert main(["demo", "--config", "my config.yaml", "--out", "out"]) == 0
    out = capfd.readouterr().out
    for name in ("assignment.png", "first_batch.png", "detections.png", "last.pt", "eval.json"):
        assert (tmp_path / "out" / name).is_file()
    assert "untrained   trained\nAP " in out
    commands = suggested(out)
    assert [command[0] for command in commands] == ["demo", "predict", "assign-view", "train"]
    assert ("--scene" in commands[2]) == (data_format == "synthetic")
    assert "drawn" not in out
    # The demo to compare another family with is the bundled one: minutes.
    commands[0] += ["--train.iterations", "2", "--eval.limit", "2"]
    for command in commands:
        assert main(command) == 0, capfd.readouterr().err
    assert (tmp_path / "out_baseline" / "last.pt").is_file()
    assert (tmp_path / "out" / "view.png").is_file()


def test_a_package_that_only_the_end_needs_is_missed_at_the_beginning(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(ModuleNotFoundError, match="pycocotools"):
        demo.run(DemoArguments(out=tmp_path / "out", settings=config))
    assert not (tmp_path / "out").exists()


def test_demos_of_two_configurations_do_not_replace_each_other() -> None:
    assert folder_of(DemoArguments()) == Path("runs/demo")
    assert folder_of(DemoArguments(config=Path("configs/families/tood.yaml"))) == Path("runs/demo_tood")
    assert folder_of(DemoArguments(config=Path("configs/demo.yaml"))) == Path("runs/demo")
    assert folder_of(DemoArguments(out=Path("elsewhere"))) == Path("elsewhere")


def as_coco(config: Config) -> object:
    """The drawn scenes, as a data set of images."""
    from detector.data import load_annotations

    folder = Path(str(load_annotations(config.data, "val").files[0])).parents[1]
    splits = {
        split: dataclasses.replace(getattr(config.data, split), annotations=(f"{split}.json",), images=".")
        for split in ("train", "val")
    }
    return dataclasses.replace(config.data, format="coco", root=str(folder), **splits)


def test_a_command_to_type_names_the_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python"))
    assert (
        to_type("predict", "--images", Path("my photos")) == ".venv/bin/python -m detector predict --images 'my photos'"
    )
    monkeypatch.setattr(sys, "executable", "/opt/a b/bin/python3")
    assert to_type("demo") == "'/opt/a b/bin/python3' -m detector demo"
    assert f"--out {tmp_path}_baseline\n" in _next_steps(DemoArguments(), Path("."), Path("last.pt"))
    assert _next_steps(DemoArguments(), Path("out"), Path("last.pt")).count("'/opt/a b/bin/python3' -m detector") == 4
