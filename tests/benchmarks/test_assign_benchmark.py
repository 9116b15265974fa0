"""The benchmark of the assignment and its tables, on a tiny workload. No test looks at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import assign, cli, measure, plot, table
from benchmarks.peers import BASELINE, contestants
from benchmarks.workloads import WORKLOADS, swept_workload

CPU = torch.device("cpu")
TINY = WORKLOADS["coco"].shrunk(images=2, side=128, most_boxes=6)
BRIEF = assign.Settings(CPU, rounds=3, input_sets=2, seconds_per_contestant=0.0, least_rounds=2)


@pytest.fixture(scope="module")
def result() -> dict:
    return assign.run_workload(TINY, "pseudo_iou", contestants(), BRIEF)


def test_everything_is_measured_or_left_out_with_a_reason(result: dict) -> None:
    assert [entry["name"] for entry in result["contestants"]] == [c.name for c in contestants()]
    for entry in result["contestants"]:
        if entry["left_out"] is None:
            assert len([sample for sample in entry["seconds"] if sample is not None]) >= BRIEF.least_rounds
            assert entry["differing_points"] == 0 or not entry["exact"]
        else:
            assert entry["left_out"] == "needs a GPU"


def test_large_calls_are_left_out() -> None:
    by_name = {contestant.name: contestant for contestant in contestants()}
    batches = [swept_workload(5000).batch(0)]
    reason = assign.why_left_out(by_name["padded"], batches, "pseudo_iou", assign.Settings(CPU))
    assert reason == "31 GB a call"
    reason = assign.why_left_out(by_name["mmdetection-style"], batches, "pseudo_iou", assign.Settings.quick(CPU))
    assert reason is not None
    assert assign.why_left_out(by_name[BASELINE], batches, "pseudo_iou", assign.Settings.quick(CPU)) is None
    scalar = by_name["mmdetection-style, scalar filter"]
    assert assign.why_left_out(scalar, batches, "centerness", assign.Settings(CPU)) == "another metric"


def test_the_op_is_one_op_and_needs_its_outputs_alone(result: dict) -> None:
    by_name = {entry["name"]: entry for entry in result["contestants"]}
    for name in (BASELINE, "pseudo_iou_ops"):
        assert by_name[name]["ops"] == 1
        assert by_name[name]["syncs"] == 0
    assert by_name["mmdetection-style, scalar filter"]["syncs"] > result["positives"]
    assert by_name["padded"]["syncs"] == 0
    assert by_name["box-major"]["syncs"] > 0


def test_scratch_memory_does_not_grow_with_boxes_times_points() -> None:
    from benchmarks.peers import fused

    rule, batch, into = assign.RULES["pseudo_iou"], swept_workload(5000).batch(0), fused.AssignInto()
    into(batch, rule)
    peak = measure.peak_bytes(lambda: into(batch, rule), CPU)
    if peak is None:
        pytest.skip("needs Linux's peak memory counters")
    assert peak < 2 << 20


def test_tables_from_json(result: dict) -> None:
    environment = {
        "device": "a CPU",
        "threads": 2,
        "torch": "2",
        "driver": None,
        "commit": "abc",
        "date": "2026-01-01T",
    }
    document = {"environment": {**environment, "command": "python -m benchmarks"}, "results": [result]}
    rendered = table.render(document)
    assert table.render(json.loads(json.dumps(document))) == rendered
    for contestant in contestants():
        assert contestant.name in rendered
    assert "Triton, one kernel (left out: needs a GPU)" in rendered
    assert "best exact peer over" in rendered


def test_ratios_are_those_within_a_round() -> None:
    assert table.ratio([2.0, None, 40.0], [1.0, 5.0, 10.0]) == 3.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.0, "2.00 s"), (0.0123, "12.3 ms"), (123e-6, "123 us"), (0, "0 us"), (1.5e-7, "0.150 us")],
)
def test_times_have_three_digits(seconds: float, text: str) -> None:
    assert table.time_text(seconds) == text


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(assign.WORKLOADS, "tiny", TINY)
    monkeypatch.setattr(assign, "SWEPT_BOXES", (0, 3))
    monkeypatch.setattr(assign, "swept_workload", lambda boxes: swept_workload(boxes).shrunk(2, 128, boxes))
    pytest.importorskip("matplotlib")
    path, image = tmp_path / "run.json", tmp_path / "sweep.png"
    options = [
        "--quick",
        "--workloads",
        "tiny",
        "--contestants",
        "box-major",
        "--json",
        str(path),
        "--plot",
        str(image),
    ]
    assert cli.main(options) == 0
    printed = capsys.readouterr().out
    assert cli.main(["table", str(path)]) == 0
    assert capsys.readouterr().out == printed
    document = json.loads(path.read_text())
    assert {"commit", "date", "device", "driver", "torch", "python", "cuda", "command"} <= set(document["environment"])
    assert [entry["name"] for entry in document["results"][0]["contestants"]] == [BASELINE, "box-major"]
    image.unlink()
    assert cli.main(["plot", str(path), str(image)]) == 0
    assert image.stat().st_size > 10_000


def test_a_line_per_contestant(tmp_path: Path, result: dict) -> None:
    pytest.importorskip("matplotlib")
    plot.draw([result], tmp_path / "one.png")
    assert (tmp_path / "one.png").exists()


def test_readme_shows_the_stored_run() -> None:
    root = Path(__file__).resolve().parents[2]
    stored = json.loads((root / "benchmarks" / "results" / "cpu-avx2-quick.json").read_text())
    names = ("mmdetection-style", "padded, torch.compile", "box-major", "pseudo_iou_ops, out=")
    readme = (root / "README.md").read_text()
    assert table.excerpt(stored["results"], ("coco", "lvis", "crowd"), names) in readme
    assert table.head(stored["environment"]).splitlines()[0] in readme.replace("\n", " ")
