"""Contestants take turns, and a run that ends early leaves what it measured."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import contest
from benchmarks.measure import MOST_CALLS

CPU = torch.device("cpu")


def test_contestants_take_turns_until_their_time_is_up() -> None:
    order: list[str] = []
    entries = [contest.Entry(name, [lambda name=name: order.append(name)], estimate=1.0) for name in "ab"]
    entries[1].spent = 100.0
    loads = contest.take_turns(entries, contest.Settings(CPU, rounds=4, least_rounds=2))
    assert "".join(order) == "ababaa"
    assert len(loads) == 4
    assert [seconds is None for seconds in entries[0].seconds] == [False] * 4
    assert [seconds is None for seconds in entries[1].seconds] == [False, False, True, True]


def test_input_sets_rotate_and_short_calls_share_a_sample() -> None:
    seen: list[int] = []
    entry = contest.Entry("short", [lambda: seen.append(0), lambda: seen.append(1)], estimate=0.0)
    entry.take_sample(1, contest.Settings(CPU))
    assert seen[:4] == [1, 1, 0, 1]  # the first one warms the caches
    assert len(seen) == 1 + MOST_CALLS


@pytest.mark.parametrize("error", [contest.MismatchError("the second differs"), KeyboardInterrupt()])
def test_a_run_that_ends_early_leaves_what_it_measured(
    error: BaseException, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def hold(options: argparse.Namespace, record: contest.Record) -> None:
        record.append("results", {"workload": "first", "other_load": [0.0]})
        raise error

    options = argparse.Namespace(threads=None, device="cpu", json=tmp_path / "run.json")
    arguments: list[Any] = [options, [], hold, lambda document: ""]
    if isinstance(error, contest.MismatchError):
        assert contest.run(*arguments) == 1
        assert capsys.readouterr().err == "error: the second differs\n"
    else:
        with pytest.raises(KeyboardInterrupt):
            contest.run(*arguments)
    document = json.loads(options.json.read_text())
    assert [result["workload"] for result in document["results"]] == ["first"]
    assert document["environment"]["torch"] == torch.__version__
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]
