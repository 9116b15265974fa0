"""The benchmark of a training step, on a tiny network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import cli, step
from benchmarks.workloads import WORKLOADS


def test_the_step_of_the_detector(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("detector.engine.train")
    monkeypatch.setitem(step.WORKLOADS, "coco", WORKLOADS["coco"].shrunk(images=1, side=64, most_boxes=3))
    path = tmp_path / "step.json"
    options = ["--images", "1", "--steps", "2", "--backbone", "resnet18"]
    assert cli.main(["step", *options, "--json", str(path)]) == 0
    document = json.loads(path.read_text())
    rules, assignment = document["rules"], document["assignment"]
    assert list(rules) == list(step.PAPER_RULES)
    assert all(set(phases) == set(step.PHASES) and min(phases.values()) > 0 for phases in rules.values())
    assert sorted(assignment) == sorted(step.SHOWN)
    assert all(value > 0 for value in assignment.values())
    assert len(document["other_load"]) == 2
    printed = capsys.readouterr().out
    assert all(name in printed for name in (*step.SHOWN, *step.PAPER_RULES))
