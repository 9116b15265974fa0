"""Files from anywhere: whatever they hold, a reader returns a valid result or raises one line."""

from __future__ import annotations

import copy
import io
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from detector.cli import main
from detector.config import Config, config_to_dict
from detector.data import Annotations
from detector.data.coco import read_coco
from detector.data.loader import read_image
from detector.data.voc import read_voc
from detector.engine.checkpoint import FORMAT, load_checkpoint
from detector.errors import UserError

fuzzed = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

COCO = {
    "images": [{"id": 7, "file_name": "a.png", "height": 20, "width": 30}],
    "annotations": [{"id": 1, "image_id": 7, "category_id": 4, "bbox": [1, 2, 10, 5], "area": 30.0, "iscrowd": 0}],
    "categories": [{"id": 4, "name": "cat"}],
}
VOC = b"""<annotation><filename>1.jpg</filename><size><width>30</width><height>20</height></size>
<object><name>cat</name><difficult>0</difficult>
<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>11</xmax><ymax>12</ymax></bndbox></object></annotation>"""

anything = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(),
        st.sampled_from([2**63, -(2**63), 10**400, 1e308, "../x", "\0", "cat", 7, 4]),
    ),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in nested lists and dicts."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in ((value, key), *places(value[key]))]


def assert_valid(annotations: Annotations) -> None:
    assert int(annotations.offsets[-1]) == len(annotations.boxes) == len(annotations.labels) == len(annotations.ignore)
    assert bool(annotations.boxes.isfinite().all())
    assert bool((annotations.sizes > 0).all())
    assert bool(((annotations.labels >= 0) & (annotations.labels < len(annotations.class_names))).all())


def assert_one_line(error: UserError) -> None:
    assert "\n" not in str(error)
    assert len(str(error)) < 3000


@fuzzed
@given(data=st.data())
def test_changed_coco_files(data: st.DataObject, tmp_path: Path) -> None:
    content = copy.deepcopy(COCO)
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(content)))
        if data.draw(st.booleans()):
            container[key] = data.draw(anything)
        elif isinstance(container, dict):
            del container[key]
        if not places(content):
            break
    file = tmp_path / "instances.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    try:
        assert_valid(read_coco([file], tmp_path))
    except UserError as error:
        assert_one_line(error)


@fuzzed
@given(data=st.data())
def test_changed_bytes(data: st.DataObject, tmp_path: Path) -> None:
    kind = data.draw(st.sampled_from(["coco", "voc", "list", "image"]))
    for folder in ("Annotations", "ImageSets/Main"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / "Annotations/1.xml").write_bytes(VOC)
    image_list = tmp_path / "ImageSets/Main/train.txt"
    image_list.write_bytes(b"1\n")
    stream = io.BytesIO()
    Image.linear_gradient("L").resize((30, 20)).save(stream, data.draw(st.sampled_from(["jpeg", "png", "gif", "tiff"])))
    original = {"coco": json.dumps(COCO).encode(), "voc": VOC, "list": b"1 1\n", "image": stream.getvalue()}[kind]
    begin = data.draw(st.integers(0, len(original)))
    end = data.draw(st.integers(begin, len(original)))
    broken = original[:begin] + data.draw(st.binary(max_size=8)) + original[end:]
    try:
        if kind == "coco":
            (tmp_path / "x.json").write_bytes(broken)
            assert_valid(read_coco([tmp_path / "x.json"], tmp_path))
        elif kind == "image":
            (tmp_path / "x.img").write_bytes(broken)
            assert read_image(str(tmp_path / "x.img")).shape[0] == 3
        else:
            (tmp_path / "Annotations/1.xml" if kind == "voc" else image_list).write_bytes(broken)
            assert_valid(read_voc([image_list], ["cat"]))
    except UserError as error:
        assert_one_line(error)


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
    with pytest.raises(UserError, match=r"bomb\.png: not a readable image: .*decompression bomb"):
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
