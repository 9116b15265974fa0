"""The families of assigners as pictures, and in the table of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from detector_samples import CPU, FAMILIES, changed

from detector.cli import main
from detector.config import Config
from detector.data import Annotations
from detector.data.loader import DetectionDataset, collate
from detector.data.transforms import evaluation_transform
from detector.engine.train import train
from detector.sweep import Cell, Sweep, plot
from detector.sweep.kept import kept_by
from detector.sweep.plot import draw_order, draw_sweep
from detector.sweep.results import Result, read_results, write_results
from detector.sweep.table import markdown_table
from detector.visualise import assignment
from pseudo_iou_ops import (
    presets,
)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_drawn_like_it_trains(
    config: Config,
    annotations: Annotations,
    family: dict[str, dict[str, Any]],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """By its configuration alone or, if it reads predictions, by those of a checkpoint."""
    config = changed(config, {**family, "train": {"iterations": 5}})
    model = train(config, annotations, tmp_path, CPU)
    capfd.readouterr()
    by_config = ["--config", str(tmp_path / "config.yaml"), "--index", "1", "--levels", "3"]
    by_checkpoint = ["--checkpoint", str(tmp_path / "last.pt"), "--index", "1", "--levels", "3"]
    assert main(["assign-view", *by_checkpoint, "--out", str(tmp_path / "view.png")]) == 0
    shown, _ = capfd.readouterr()
    assert (tmp_path / "view.png").stat().st_size > 10_000
    sample = DetectionDataset(annotations, evaluation_transform(config.data))[(0, 1)]
    batch = collate([sample])
    predictions = model.eval()(batch.images)
    expected = model.assign(predictions.level_shapes, batch.targets, batch.sizes, predictions=predictions)
    assert int(expected.num_pos) > 0
    assert shown.startswith(f"{assignment.rule_title(config.assign.rule())}: {int(expected.num_pos)} positive points")

    status = main(["assign-view", *by_config, "--out", str(tmp_path / "view.png")])
    out, err = capfd.readouterr()
    if config.assign.reads_predictions:
        assert status == 2
        assert "--checkpoint: expected one, because a rule that is drawn reads predictions, got none" in err
    else:
        assert (status, out) == (0, shown)


def test_rules_are_drawn_by_the_predictions_of_any_network_for_its_own_points(
    config: Config, annotations: Annotations, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also of one trained by points: presets.tood has another offset, at which its distances would be wrong."""
    train(changed(config, {"train": {"iterations": 1}}), annotations, tmp_path, CPU)
    out, checkpoint = ["--out", str(tmp_path / "view.png")], ["--checkpoint", str(tmp_path / "last.pt")]
    shown = ["paper", "atss", "tood", "simota", "yolox", "rtmdet"]
    presets_of = ["--presets", *shown, "--levels", "3"]
    assert main(["assign-view", *checkpoint, *presets_of, *out]) == 0  # the drawn scene has the classes it knows
    drawn, _ = capfd.readouterr()
    assert [line.partition(":")[0] for line in drawn.splitlines()[1:-1]] == shown
    (tmp_path / "boxes.json").write_text("[[1, 2, 30, 40]]", encoding="utf-8")
    file = ["--image", str(annotations.files[0]), "--boxes", str(tmp_path / "boxes.json")]
    for network in ([], checkpoint):  # one advice, which does not change once it is followed
        assert main(["assign-view", *network, *presets_of, *file, *out]) == 2
        _, err = capfd.readouterr()
        assert "--boxes: expected rules that read no predictions, because the file names no classes, got tood, s" in err
        assert "rtmdet; --checkpoint with --index draws them" in err

    content = torch.load(tmp_path / "last.pt", weights_only=True)
    content["class_names"] = ["a", "b", "c", "d", "e"]
    torch.save(content, tmp_path / "last.pt")
    assert main(["assign-view", *checkpoint, *presets_of, *out]) == 2
    assert "--scene: expected --index, because the checkpoint does not know the classes" in capfd.readouterr().err
    assert main(["assign-view", *checkpoint, *presets_of, "--index", "0", *out]) == 1
    assert "data.train: its classes are not those of" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--presets", "atss", "--metrics", "none"], "--metrics, --thresholds, --presets: expected presets alone"),
        (["--assign.kind", "atss", "--metrics", "none"], "expected none with assign.kind atss, which has no metrics"),
        (["--presets", "papers"], "invalid choice 'papers'"),
        (["--out", "no_ending"], "--out no_ending: expected a picture, one of "),
        (["--levels"], "--levels: expected levels 3 to 7, got none"),
    ],
)
def test_columns_that_can_not_be_drawn(options: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["assign-view", *options]) == 2
    _, err = capfd.readouterr()
    assert message in err
    assert err.count("\n") == 1


def test_presets_of_every_family_side_by_side(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    names = ["paper", "atss", "pseudo_iou_atss"]
    assert main(["assign-view", "--presets", *names, "--levels", "3", "--out", str(tmp_path / "view.png")]) == 0
    out, _ = capfd.readouterr()
    assert [line.partition(":")[0] for line in out.splitlines()[:3]] == names


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        (
            ["--metrics", "none", "pseudo_iou"],
            [["every point inside a box"], ["Pseudo-IoU > 0.4"]],
        ),
        (["--config", "configs/families/atss.yaml"], [["ATSS by anchor IoU, 9 closest a level"]]),
        (
            ["--presets", "paper_baseline", "atss"],
            [["paper_baseline", "every point inside a box"], ["atss", "ATSS by anchor IoU, 9 closest a level"]],
        ),
    ],
)
def test_a_column_is_called_the_same_in_the_picture_and_in_the_text(
    options: list[str],
    lines: list[list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    titles: list[str] = []
    title_of = assignment._title
    monkeypatch.setattr(assignment, "_title", lambda column: titles.append(title_of(column)) or titles[-1])
    assert main(["assign-view", *options, "--levels", "3", "--out", str(tmp_path / "view.png")]) == 0
    out, _ = capfd.readouterr()
    assert [title.splitlines()[:-1] for title in titles] == lines
    assert [line.partition(":")[0] for line in out.splitlines()[:-1]] == [names[0] for names in lines]


def test_what_a_sweep_tells_of_a_family(config: Config, annotations: Annotations, tmp_path: Path) -> None:
    kept = kept_by(presets.atss, annotations, config.data)
    assert kept is not None
    assert 0 < kept.points < 1
    assert kept.boxes_without_positive < 0.5
    for rule in (presets.tood, presets.yolox, presets.rtmdet):
        assert kept_by(rule, annotations, config.data) is None
    results = [Result(name, 0, 40.0, 1.5, 150, 61.5, "", "", {"AP": 9.0}) for name in ("points", "fcos", "atss")]
    results.append(Result("tood", 0, None, None, 150, 61.5, "", "", {"AP": 9.5}))
    sweep = Sweep("title", ("AP",), (Cell("points"), Cell("fcos"), Cell("atss"), Cell("tood")))
    write_results(tmp_path / "results.csv", results, sweep.metrics)
    assert read_results(tmp_path / "results.csv") == results
    row = markdown_table(sweep, results).splitlines()[-1]
    assert row == "| tood | 9.5 | 1 | reads predictions | reads predictions |"
    rules = [presets.paper, presets.fcos, presets.atss, presets.tood]
    draw_sweep(sweep, rules, results, tmp_path / "plot.png")
    draw_order(sweep, rules, results, tmp_path / "order.png")
    assert min((tmp_path / name).stat().st_size for name in ("plot.png", "order.png")) > 5_000


def test_atss_has_a_place_among_the_kept_shares(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    drawn: list[plot.Point] = []
    monkeypatch.setattr(plot, "_draw_over_kept", lambda axes, points: drawn.extend(points))
    rules = [presets.paper_baseline, presets.paper, presets.atss]
    results = [
        Result(name, 0, kept, 1.5, 150, 61.5, "", "", {"AP": 9.0})
        for name, kept in (("all", 100.0), ("paper", 40.0), ("atss", 8.0))
    ]
    sweep = Sweep("title", ("AP",), tuple(Cell(result.cell) for result in results))
    draw_sweep(sweep, rules, results, tmp_path / "plot.png")
    assert [(point.series, point.threshold, point.kept) for point in drawn] == [
        ("every inside point", None, 100.0),
        ("Pseudo-IoU", 0.4, 40.0),
        ("ATSS", None, 8.0),
    ]
