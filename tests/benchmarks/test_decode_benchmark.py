"""The benchmark of the decoding verifies before it times."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import cli, decode
from benchmarks.contest import Contestant, MismatchError

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "LEVEL_SHAPES", ((12, 16), (6, 8)))
    monkeypatch.setattr(decode, "STRIDES", (8, 16))
    monkeypatch.setattr(decode, "MEAN_LOGIT", -4.0)
    monkeypatch.setattr(decode, "CANDIDATES", 700)
    eager = [contestant for contestant in decode.contestants() if "compile" not in contestant.name]
    monkeypatch.setattr(decode, "contestants", lambda: eager)


def test_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "decode.json"
    options = ["--rounds", "2", "--layouts", "flat", "levels", "--dtypes", "float32", "bfloat16", "--json", str(target)]
    assert cli.main(["decode", *options]) == 0
    results = json.loads(target.read_text())["decode"]
    assert [(r["layout"], r["dtype"]) for r in results] == [
        ("flat", "float32"), ("levels", "float32"), ("flat", "bfloat16"), ("levels", "bfloat16"),
    ]  # fmt: skip
    for result in results:
        assert [len(entry["seconds"]) for entry in result["contestants"]] == [2] * 3
    assert capsys.readouterr().out.count("| per image, plain torch") == 4


def test_levels_are_cut_and_not() -> None:
    """Otherwise the choice of the best, or the padding, would not be compared."""
    batch = decode.HeadBatch.make(2, "levels", torch.float32, CPU)
    counts = [len(scores) for level in decode.per_image(batch) for scores in level.scores]
    assert max(counts) == 700
    assert 0 < min(counts) < 700


@pytest.mark.parametrize("field", decode.Candidates._fields)
def test_a_wrong_contestant_is_noticed(field: str) -> None:
    batch = decode.HeadBatch.make(2, "flat", torch.float32, CPU)

    def wrong(given: decode.HeadBatch) -> list[decode.Candidates]:
        levels = decode.fused(given)
        getattr(levels[1], field)[1, 0] += 1
        return levels

    with pytest.raises(MismatchError, match="wrong: level 1, image 1: "):
        decode.verify(Contestant("wrong", wrong), batch)
