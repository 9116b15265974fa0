"""Contestants take turns, and a run that ends early leaves what it measured."""

from __future__ import annotations

import argparse
import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

import pseudo_iou_ops
from benchmarks import contest, environment
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


def options(path: Path, **others: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"threads": None, "device": "cpu", "json": path, "add": False, **others})


def contestant(name: str, call: Any) -> contest.Contestant:
    return contest.Contestant(name, call)


def broken() -> None:
    raise ValueError("no such\nkernel")


def prepare(one: contest.Contestant, result: dict[str, Any]) -> contest.Entry:
    one.call()
    return contest.entry_of(one.name, one.call, CPU)


def test_a_contestant_that_fails_is_an_entry_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = iter([None, None])
    all_three = [contestant("good", lambda: None), contestant("bad", broken), contestant("late", lambda: next(calls))]

    def hold(given: argparse.Namespace, record: contest.Record) -> None:
        record.begin({"workload": "first"})
        contest.hold_rounds(all_three, prepare, contest.Settings(CPU, rounds=2), record)
        record.finish("results")

    path = tmp_path / "run.json"
    assert contest.run(options(path), [], hold, lambda document: "") == 1
    good, bad, late = json.loads(path.read_text())["results"][0]["contestants"]
    assert len(good["seconds"]) == 2
    assert "error" not in good
    assert bad == {"name": "bad", "error": "ValueError: no such kernel"}
    assert late["error"].startswith("StopIteration")
    assert late["seconds"] == [None, None]
    assert "error: bad: ValueError: no such kernel\n" in capsys.readouterr().err


def test_a_run_that_ends_early_leaves_what_it_measured(tmp_path: Path) -> None:
    """A finished workload, and of the next one the contestants that were through."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    def hold(given: argparse.Namespace, record: contest.Record) -> None:
        for name, call in (("first", lambda: None), ("second", interrupted)):
            record.begin({"workload": name})
            both = [contestant("good", lambda: None), contestant("stops here", call)]
            contest.hold_rounds(both, prepare, contest.Settings(CPU, rounds=1), record)
            record.finish("results")

    path = tmp_path / "run.json"
    with pytest.raises(KeyboardInterrupt):
        contest.run(options(path), [], hold, lambda document: "")
    document = json.loads(path.read_text())
    assert [result["workload"] for result in document["results"]] == ["first"]
    assert [entry["name"] for entry in document["unfinished"]["contestants"]] == ["good"]
    assert document["environment"]["torch"] == torch.__version__
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_a_run_is_added_to_a_file(tmp_path: Path) -> None:
    path, first = tmp_path / "run.json", {"command": "first", "commit": "a1"}
    for name, figure in (("a", 1), ("b", 2)):
        record = contest.Record(path, dict(first), add=True)
        record.begin({"workload": name, "figure": figure})
        record.finish("results")
    record = contest.Record(path, {"command": "last", "commit": "b2"}, add=True)
    record.begin({"workload": "a", "figure": 3})
    assert [result["figure"] for result in json.loads(path.read_text())["results"]] == [1, 2]
    record.finish("results")
    document = json.loads(path.read_text())
    assert [(result["workload"], result["figure"]) for result in document["results"]] == [("a", 3), ("b", 2)]
    assert document["environment"]["command"] == "first && first && last"
    assert document["environment"]["commit"] == "a1 and b2"
    assert contest.Record(path, first).document == {"environment": first}


def test_a_mismatch_outside_of_the_rounds_ends_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def hold(given: argparse.Namespace, record: contest.Record) -> None:
        raise contest.MismatchError("the second differs")

    assert contest.run(options(tmp_path / "run.json"), [], hold, lambda document: "") == 1
    assert capsys.readouterr().err == "error: the second differs\n"


def test_the_version_is_told_where_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree that was only built in place has no metadata; a copy without history has no commit but $COMMIT."""

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    monkeypatch.setattr(environment, "_first_line", lambda *command: None)
    monkeypatch.setenv("COMMIT", "abc123")
    facts = environment.describe(CPU, [])
    assert facts["pseudo_iou_ops"] == pseudo_iou_ops.__version__
    assert facts["commit"] == "abc123"
