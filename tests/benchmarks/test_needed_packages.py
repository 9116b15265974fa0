"""What a benchmark needs beside the library is told before anything is measured."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cli, contest, plot

CASES = [
    (["step"], "yaml", "not installed: yaml; "),
    (["losses"], "torchvision", "not installed: torchvision; "),
    (["--quick", "--plot", "new/sweep.png"], "matplotlib", "not installed: matplotlib; "),
    (["top_k", "--plot", "new/sweep.png"], "matplotlib", "not installed: matplotlib; "),
    (["plot", "run.json", "sweep.png"], "matplotlib", "not installed: matplotlib; "),
]


def hide(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str, *rest: Any) -> Any:
        return None if name == package else importlib.util.find_spec(name, *rest)

    monkeypatch.setattr(cli, "find_spec", find)


@pytest.mark.parametrize(("arguments", "package", "message"), CASES)
def test_a_missing_package_is_told_first(
    arguments: list[str],
    package: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hide(package, monkeypatch)
    monkeypatch.setattr(contest, "run", lambda *arguments: pytest.fail("measured"))
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert ".[detector]" in error


@pytest.mark.parametrize(
    ("arguments", "package"),
    [(["--quick"], "matplotlib"), (["losses", "--contestants", "gather, plain torch"], "torchvision")],
)
def test_what_is_not_used_may_be_missing(arguments: list[str], package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(package, monkeypatch)
    monkeypatch.setattr(contest, "run", lambda *arguments: 0)
    assert cli.main(arguments) == 0


def test_the_tables_are_printed_before_the_plot_is_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def hold(options: Any, record: contest.Record) -> None:
        record.update(sweep=[])

    def draw(sweep: Any, path: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(cli.assign, "hold", hold)
    monkeypatch.setattr(cli.table, "render", json.dumps)
    monkeypatch.setattr(plot, "draw", draw)
    with pytest.raises(OSError, match="disk full"):
        cli.main(["--plot", str(tmp_path / "sweep.png")])
    assert '"sweep": []' in capsys.readouterr().out


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "missing.json"
    assert cli.main(["table", str(missing)]) == 1
    assert capsys.readouterr().err == f"error: {missing}: No such file or directory\n"
