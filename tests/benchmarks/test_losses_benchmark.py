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
