"""Files from anywhere: whatever they hold, a reader returns a valid result or raises one line."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from changed_files import assert_one_line, check_changed_bytes, check_changed_coco_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from detector.cli import main
from detector.config import Config, config_to_dict
from detector.data.coco import read_coco
from detector.data.loader import read_image
from detector.engine.checkpoint import FORMAT, load_checkpoint
from detector.errors import UserError

fuzzed = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzzed
@given(data=st.data())
def test_changed_coco_files(data: st.DataObject, tmp_path: Path) -> None:
    check_changed_coco_file(data, tmp_path)


@fuzzed
@given(data=st.data())
def test_changed_bytes(data: st.DataObject, tmp_path: Path) -> None:
    check_changed_bytes(data, tmp_path)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"images":' * 200_000, '{"images": ' + "1" * 5000 + "}"])
def test_json_of_any_depth_and_size_of_number(text: str, tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"deep\.json: not JSON") as caught:
        read_coco([tmp_path / "deep.json"], tmp_path)
    assert_one_line(caught.value)


def test_a_truncated_image_and_one_of_absurd_size(tmp_path: Path) -> None:
    Image.effect_noise((64, 64), 50).save(tmp_path / "whole.jpg")
    (tmp_path / "part.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:-500])
    with pytest.raises(UserError, match=r"part\.jpg: not a readable image: .*truncated"):
        read_image(str(tmp_path / "part.jpg"))
    Image.new("1", (30_000, 30_000)).save(tmp_path / "bomb.png")  # a few kilobytes that are 2.7 GB decoded
    with pytest.raises(UserError, match=r"bomb\.png: image of 30000x30000 exceeds data\.max_pixels"):
        read_image(str(tmp_path / "bomb.png"))


@pytest.mark.parametrize(
    "change",
    [
        {"class_names": None},
        {"class_names": [1]},
        {"class_names": []},
        {"category_ids": "7"},
        {"model": 1},
        {"model": {"head": 1}},
        {"config": {"assign": {"metric": "x"}}},
        {"config": 7},
        {"step": "one"},
        {"format": 0},
    ],
)
def test_checkpoints_with_other_content(
    change: dict[str, Any], config: Config, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = {
        "format": FORMAT,
        "class_names": ["thing"],
        "category_ids": [1],
        "config": config_to_dict(config),
        "model": {},
        "step": 1,
    }
    torch.save({**content, **change}, tmp_path / "other.pt")
    assert main(["eval", "--checkpoint", str(tmp_path / "other.pt")]) in (1, 2)
    err = capfd.readouterr().err
    assert "other.pt: " in err
    assert err.count("\n") == 1


class Malice:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("executed"),)


def test_checkpoints_run_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"format": 1, "model": Malice()}, "zip.pt")
    Path("plain.pt").write_bytes(pickle.dumps({"format": 1, "model": Malice()}, protocol=2))
    for name in ("zip.pt", "plain.pt"):
        with pytest.raises(UserError, match=f"{name}: not a checkpoint") as caught:
            load_checkpoint(Path(name))
        assert_one_line(caught.value)
    assert not Path("executed").exists()
