"""The benchmark of the losses verifies before it times."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import cli, losses
from benchmarks.contest import Contestant, MismatchError


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "LEVEL_SHAPES", ((6, 8), (3, 4)))
    monkeypatch.setattr(losses, "POSITIVE_SHARE", 0.3)
    eager = [contestant for contestant in losses.contestants() if "compile" not in contestant.name]
    monkeypatch.setattr(losses, "contestants", lambda: eager)


@pytest.mark.usefixtures("small")
def test_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "losses.json"
    assert cli.main(["losses", "--rounds", "2", "--dtypes", "float32", "bfloat16", "--json", str(target)]) == 0
    document = json.loads(target.read_text())
    assert [(r["layout"], r["dtype"]) for r in document["results"]] == [
        ("flat", "float32"), ("levels", "float32"), ("flat", "bfloat16"), ("levels", "bfloat16"),
    ]  # fmt: skip
    for result in document["results"]:
        assert [len(entry["seconds"]) for entry in result["contestants"]] == [2] * 3
    assert capsys.readouterr().out.count("| torchvision ") == 4


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("factor", [1.01, 1.001])
def test_a_wrong_contestant_is_noticed(factor: float) -> None:
    batch = losses.LossBatch.make(2, "flat", torch.float32, torch.device("cpu"))
    wrong = Contestant("wrong", lambda *arguments: factor * losses.fused(*arguments))
    with pytest.raises(MismatchError, match="wrong"):
        losses.verify(wrong, batch)


@pytest.mark.usefixtures("small")
def test_the_captured_step_is_the_step() -> None:
    batch = losses.LossBatch.make(2, "levels", torch.float32, torch.device("cpu"))
    _, gradients = batch.step(losses.fused)
    assert all(torch.equal(*pair) for pair in zip(batch.captured_step(losses.fused), gradients, strict=True))


def test_tables_show_graphs_and_failures() -> None:
    timed = {"name": "pseudo_iou_ops", "peak_bytes": 8, "seconds": [2e-3], "graph_seconds": 1e-4}
    failed = {"name": "torchvision", "error": "RuntimeError: too large"}
    result = {"images": 2, "layout": "flat", "dtype": "float32", "logits_bytes": 8, "contestants": [timed, failed]}
    shown = losses.render_one(result)
    assert "| in a graph" in shown
    assert "| 100 us " in shown
    assert "failed: RuntimeError: too large" in shown
    assert "in a graph" not in losses.render_one({**result, "contestants": [failed]})
