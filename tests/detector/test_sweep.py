"""Sweeps: their files, what a rule keeps, running and resuming, the table."""

from __future__ import annotations

import dataclasses
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch

import detector.sweep.run as running
from detector.cli import main
from detector.commands.sweep import SweepArguments
from detector.config import Config, config_to_yaml
from detector.data import Annotations
from detector.data.annotations import AnnotationsBuilder
from detector.engine.train import build_model
from detector.errors import Stopped, UsageError, UserError
from detector.signals import StopRequest
from detector.sweep import TABLES, Cell, Sweep, cell_config, load_sweep
from detector.sweep.kept import kept_by, level_shapes
from detector.sweep.results import Result, read_results, settings_digest, write_results
from detector.sweep.run import Runner, run_until, training_seconds
from detector.sweep.seeds import paired_difference, student
from detector.sweep.table import markdown_table
from pseudo_iou_ops import AssignRule
from pseudo_iou_ops.env import source_commit

CELLS = """cells:
  - {name: Pseudo-IoU, settings: {assign: {threshold: 0.3}}}
  - {name: none, settings: {assign: {metric: none}}}
"""


@pytest.fixture
def sweep_file(config: Config, tmp_path: Path) -> Path:
    """Two cells of the tiny configuration, two steps each."""
    short = dataclasses.replace(config, train=dataclasses.replace(config.train, iterations=2, save_every=1))
    (tmp_path / "tiny.yaml").write_text(config_to_yaml(short), encoding="utf-8")
    file = tmp_path / "sweep.yaml"
    file.write_text(f"title: tiny\nmetrics: [AP, AP50]\nconfig: tiny.yaml\n{CELLS}\n", encoding="utf-8")
    return file


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs the commands of a sweep in this process, and tells which."""
    made: list[str] = []

    def call(runner: Runner, *arguments: str) -> None:
        made.append(f"{arguments[0]} {Path(arguments[4]).name}" + (" again" if "--resume" in arguments else ""))
        if main(arguments) != 0:
            raise UserError("failed")

    monkeypatch.setattr(Runner, "_call", call)
    return made


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: x\nmetrics: [AP]\ncels: []", "cells: .*cels: no such option"),
        ("title: x\nmetrics: [AP]\ncells: [{name: a}]", "cell 'a': expected a config"),
        ("title: x\nmetrics: []\ncells: []", "metrics, cells, seeds: expected at least one"),
        ("title: x\nmetrics: [AP]\nconfig: c\ncells: [{name: a b}, {name: a_b}]", "expected names of their own"),
        ("title: x\nmetrics: [AP]\nconfig: c\ncells: [{name: a, setings: {}}]", "setings: no such option"),
    ],
)
def test_mistakes_in_a_sweep_name_the_file(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message) as caught:
        load_sweep(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_a_mistake_in_a_cell_names_the_cell(sweep_file: Path) -> None:
    cell = load_sweep(sweep_file).cells[0]
    with pytest.raises(UsageError, match=r"cell 'Pseudo-IoU': assign.treshold: no such option"):
        cell_config(dataclasses.replace(cell, settings={"assign": {"treshold": 0.3}}))
    with pytest.raises(UsageError, match=r"assign\.threshold: expected"):
        cell_config(dataclasses.replace(cell, settings={"assign": {"threshold": 3.0}}))


def test_the_command_line_knows_every_table() -> None:
    names = get_args(get_args(get_type_hints(SweepArguments)["table"])[0])
    assert names == TABLES


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--table, --file: expected one of them"),
        (["--table", "1a", "--file", "x.yaml"], "--table, --file: expected one of them"),
        (
            ["--table", "1a", "--time-limit", "20"],
            "--time-limit: expected more than 20 seconds, kept for saving, got 20",
        ),
        (["--table", "1a", "--processes", "0"], "--processes: expected at least 1, got 0"),
        (["--file", "nowhere.yaml"], "nowhere.yaml: No such file"),
        (["--table", "1a", "--only", "Sudo"], "--only: no cell 'Sudo'; expected some of 'Baseline', 'Pseudo-IoU 0.1'"),
    ],
)
def test_wrong_usage_is_one_line(options: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", *options]) == 2
    _, err = capfd.readouterr()
    assert message in err
    assert err.count("\n") == 1


def one_large_box(side: int = 3000) -> Annotations:
    """One image with a box that leaves a margin of a tenth, and a crowd."""
    builder = AnnotationsBuilder(("thing",), [1])
    builder.add_image(Path("image.jpg"), 1, side, side)
    margin = side / 10
    builder.add_box((margin, margin, side - margin, side - margin), 1.0, 0, False)
    builder.add_box((0.0, 0.0, margin, margin), 1.0, 0, True)
    return builder.build()


@pytest.mark.parametrize(
    ("rule", "share"),
    [
        (AssignRule(threshold=0.4), 0.435),
        (AssignRule(threshold=0.6), 0.137),
        (AssignRule(threshold=0.6, ignore_threshold=0.4), 0.137),
        (AssignRule(metric="scaled_box", threshold=0.6), 0.36),
        (AssignRule(metric="none"), 1.0),
        (AssignRule(threshold=0.1), 1.0),  # below 1/7 every point passes
    ],
)
def test_the_kept_share_of_a_box_is_the_closed_form(config: Config, rule: AssignRule, share: float) -> None:
    data = dataclasses.replace(config.data, eval_short_side=3000, max_side=3000)
    kept = kept_by(rule, one_large_box(), data)
    assert kept.points == pytest.approx(share, abs=0.01)
    assert kept.boxes_without_positive == 0


def test_boxes_without_a_positive_are_counted_at_the_evaluated_size(config: Config) -> None:
    """At 10 pixels a side the box is smaller than a cell, and a strict rule misses it."""
    data = dataclasses.replace(config.data, eval_short_side=10, max_side=10)
    kept = kept_by(AssignRule(threshold=0.9), one_large_box(), data)
    assert kept == (0.0, 1.0)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (33, 160), (224, 97)])
def test_level_shapes_are_the_networks(config: Config, height: int, width: int) -> None:
    rows, columns = -(-height // 32) * 32, -(-width // 32) * 32
    model = build_model(config, 3, torch.device("cpu")).eval()
    with torch.no_grad():
        predictions = model(torch.zeros(1, 3, rows, columns, dtype=torch.uint8))
    assert tuple(level_shapes(height, width)) == predictions.level_shapes


def test_results_survive_their_file(config: Config, tmp_path: Path) -> None:
    file = tmp_path / "results.csv"
    assert read_results(file) == []
    results = [
        Result("a, b", seed, 43.5, 1.25, 150, 61.5, "0123456789ab", "abc", {"AP": 12.5 + seed, "AP50": 30.0})
        for seed in (0, 1)
    ]
    write_results(file, results, ("AP", "AP50"))
    assert read_results(file) == results
    assert file.read_text().splitlines()[0] == (
        "cell,seed,AP,AP50,kept_points,boxes_without_positive,steps,seconds,commit,settings"
    )
    file.write_text("hello\nworld\n")
    with pytest.raises(UserError, match=r"results\.csv: not the results of a sweep"):
        read_results(file)


def test_training_seconds_are_those_of_the_steps_alone(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    rows = ({"step": 2, "seconds_per_step": 1.5}, {"step": 2, "eval_AP": 0.1}, {"step": 5, "seconds_per_step": 2.0})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert training_seconds(file) == 2 * 1.5 + 3 * 2.0


def test_the_digest_tells_settings_from_places(config: Config) -> None:
    def changed(section: str, **values: Any) -> str:
        return settings_digest(
            dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **values)})
        )

    same = settings_digest(config)
    assert changed("data", root="elsewhere", workers=7) == same
    assert changed("train", device="cuda", seed=3) == same
    assert changed("model", weights="elsewhere", feature_cache="elsewhere") == same
    assert changed("assign", threshold=0.5) != same
    assert changed("train", batch_size=2) != same


def test_table_with_mean_deviation_and_what_was_not_run() -> None:
    cells = (Cell("a", published={"AP": 36.8}), Cell("b"), Cell("c"))
    results = [
        Result("a", seed, 43.46, 0.9, 150, 61.5, "", "", {"AP": ap}) for seed, ap in enumerate((10.0, 11.0, 12.0))
    ]
    results.append(Result("b", 0, 100.0, 0.0, 150, 61.5, "", "", {"AP": 9.0}))
    results += [Result("b", 2, 100.0, 0.0, 150, 61.5, "0123", "", {"AP": 13.0})]
    lines = markdown_table(Sweep("title", ("AP",), cells, seeds=(0, 1, 2)), results).splitlines()
    assert lines[0] == "# title"
    assert lines[2].startswith("5 runs finished, 4 not run.")
    assert lines[2].endswith("Commit 0123.")
    assert lines[4] == "| cell | AP, published | AP | AP over a | runs | kept points | boxes without positive |"
    assert lines[6] == "| a | 36.8 | 11.0 ± 1.0 |  | 3 | 43.5 | 0.9 |"
    # By seed -1 and +1: no difference, a deviation of 1.414, and 12.706 * 1.414 / sqrt(2) to either side.
    assert lines[7] == "| b |  | 11.0 ± 2.8 | +0.0 ± 12.7 | 2 | 100.0 | 0.0 |"
    assert lines[8] == "| c |  | not run |  | 0 |  |  |"


def test_a_single_seed_has_no_interval() -> None:
    cells = (Cell("a"), Cell("b"))
    results = [Result(cell.name, 0, 43.46, 0.9, 150, 61.5, "", "", {"AP": 10.0}) for cell in cells]
    table = markdown_table(Sweep("title", ("AP",), cells), results)
    assert "over a" not in table
    assert "±" not in table.splitlines()[6]


@pytest.mark.parametrize(("degrees", "value"), [(1, 12.706), (2, 4.303), (10, 2.228), (11, 2.201), (30, 2.042)])
def test_students_t_is_the_tables(degrees: int, value: float) -> None:
    """Printed tables: at 11 and 30 it is the expansion that is held."""
    assert student(degrees) == pytest.approx(value, abs=1e-3)


def test_a_paired_difference_counts_shared_seeds_alone() -> None:
    found = paired_difference({0: 3.0, 1: 5.0, 2: 4.0, 7: 99.0}, {0: 1.0, 1: 2.0, 2: 3.0, 8: -99.0})
    assert found is not None
    assert found.mean == pytest.approx(2.0)
    assert found.half_interval == pytest.approx(4.303 / 3**0.5, rel=1e-6)  # the deviation of 2, 3, 1 is 1
    assert paired_difference({0: 3.0}, {0: 1.0, 1: 2.0}) is None


def test_a_sweep_runs_every_cell_once(
    sweep_file: Path, calls: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["sweep", "--file", str(sweep_file), "--out", str(tmp_path / "out"), "--seeds", "3"]
    assert main([*command, "--only", "none"]) == 0
    assert calls == ["train none-seed3", "eval none-seed3"]
    assert "| Pseudo-IoU | not run" not in (tmp_path / "out" / "table.md").read_text()  # not asked for
    assert main(command) == 0
    assert calls[2:] == ["train pseudo_iou-seed3", "eval pseudo_iou-seed3"]
    results = read_results(tmp_path / "out" / "results.csv")
    assert [(result.cell, result.seed) for result in results] == [("none", 3), ("Pseudo-IoU", 3)]
    assert results[0].kept_points == 100.0
    assert 50 < results[1].kept_points < 90
    assert all(result.steps == 2 and result.seconds > 0 for result in results)
    assert results[0].commit == (source_commit() or "")
    for picture in ("plot.png", "order.png"):
        assert (tmp_path / "out" / picture).stat().st_size > 10_000
    out, err = capfd.readouterr()
    assert "2 runs finished, 0 not run." in out, err

    assert main([*command, "--assign.inclusive", "True"]) == 2
    assert "with other settings" in capfd.readouterr().err
    assert len(calls) == 4


def test_an_interrupted_run_goes_on(
    sweep_file: Path,
    calls: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    real = Runner._call

    def interrupted(runner: Runner, *arguments: str) -> None:
        real(runner, *arguments, "--train.iterations", "1")  # the checkpoint of step 1 of 2
        raise Stopped("stopped", 143)

    command = ["sweep", "--file", str(sweep_file), "--out", str(tmp_path / "out"), "--only", "none"]
    with monkeypatch.context() as patch:
        patch.setattr(Runner, "_call", interrupted)
        assert main(command) == 143
    assert "0 of 1 runs done; the same command goes on" in capfd.readouterr().err
    assert "| none | not run | not run | 0 |" in (tmp_path / "out" / "table.md").read_text()
    assert main(command) == 0
    assert calls == ["train none-seed0", "train none-seed0 again", "eval none-seed0"]


def test_an_interrupted_sweep_has_the_results_of_an_unbroken_one(
    sweep_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[str]
) -> None:
    """Stopped in the middle of every run, and gone on with until it is done; the seconds alone may differ."""
    command = ["sweep", "--file", str(sweep_file), "--seeds", "0", "1"]
    assert main([*command, "--out", str(tmp_path / "unbroken")]) == 0
    real, begun = Runner._call, set[str]()

    def stops_at_first(runner: Runner, *arguments: str) -> None:
        is_new = arguments[0] == "train" and arguments[4] not in begun
        begun.add(arguments[4])
        real(runner, *arguments, *(("--train.iterations", "1") if is_new else ()))
        if is_new:
            raise Stopped("stopped", 143)

    monkeypatch.setattr(Runner, "_call", stops_at_first)
    statuses = [main([*command, "--out", str(tmp_path / "broken")]) for _ in range(5)]
    assert statuses == [143] * 4 + [0]
    unbroken, broken = (read_results(tmp_path / name / "results.csv") for name in ("unbroken", "broken"))
    assert len(broken) == 4
    assert [dataclasses.replace(row, seconds=0.0) for row in broken] == [
        dataclasses.replace(row, seconds=0.0) for row in unbroken
    ]
    for folder in ("none-seed0", "pseudo_iou-seed1"):
        weights = [
            torch.load(tmp_path / name / "runs" / folder / "last.pt", weights_only=True)["model"]
            for name in ("unbroken", "broken")
        ]
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_command_is_told_to_stop_at_the_deadline(tmp_path: Path) -> None:
    saves = tmp_path / "saved"
    program = (
        "import pathlib, signal, sys, time\n"
        f"def save(*_): pathlib.Path({str(saves)!r}).touch(); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "time.sleep(60)\n"
    )
    with StopRequest() as stop:
        assert run_until([sys.executable, "-c", "raise SystemExit(3)"], stop, None) == 3
        with pytest.raises(Stopped):
            run_until([sys.executable, "-c", program], stop, time.monotonic() + 2)
    assert saves.exists()


def test_a_signal_stops_the_sweep() -> None:
    started = time.monotonic()
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Stopped):
            run_until([sys.executable, "-c", "import time; time.sleep(60)"], stop, None)
    assert time.monotonic() - started < 30


def test_trainings_of_several_processes_are_started_by_torchrun(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def run(command: list[str], stop: StopRequest, deadline: float | None) -> int:
        seen.append(command)
        return 1

    monkeypatch.setattr(running, "run_until", run)
    with pytest.raises(UserError, match="train: exit status 1"):
        Runner(StopRequest(), None, processes=4).train_and_score(config, tmp_path / "cell", steps=2)
    assert "torch.distributed.run" in seen[0]
    assert "--nproc-per-node=4" in seen[0]
    assert seen[0][seen[0].index("detector") + 1] == "train"
