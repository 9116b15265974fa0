"""The families of assigners in the detector: each learns, goes on bit for bit, and refuses what is not its own."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from detector_samples import CLASSES, CPU, FAMILIES, changed, one_map
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

import detector.engine.train as engine
from detector.cli import main
from detector.config import Config, LossConfig, OptimConfig, check_config, config_from_dict
from detector.data import Annotations
from detector.data.loader import Batch
from detector.engine.checkpoint import load_checkpoint
from detector.engine.resume import Resumed
from detector.engine.train import build_model, train
from detector.errors import UsageError
from detector.model.backbone import STRIDES
from detector.model.head import Predictions
from detector.model.losses import detection_losses, giou_loss
from detector.runtime import score
from detector.sweep import Cell, Sweep
from detector.sweep.kept import kept_by
from detector.sweep.plot import draw_sweep
from detector.sweep.results import Result, read_results, write_results
from detector.sweep.table import markdown_table
from pseudo_iou_ops import BACKGROUND, IGNORED, Assignment, TopKAssignment, make_assigner, presets


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_learns_what_it_is_shown(
    config: Config, annotations: Annotations, family: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """Sixteen scenes in forty steps: the loss falls, and the detections of these scenes are better than by chance."""
    config = dataclasses.replace(
        changed(config, family),
        data=dataclasses.replace(config.data, flip=0.0),
        optim=OptimConfig(optimizer="adamw", lr=0.003, warmup_iterations=0, clip_grad_norm=10.0),
        loss=LossConfig(box="giou", box_weight=2.0),
        train=dataclasses.replace(config.train, iterations=40, batch_size=8, log_every=10),
    )
    torch.manual_seed(config.train.seed)
    before = score(build_model(config, CLASSES, CPU), annotations)
    after = score(train(config, annotations, tmp_path, CPU), annotations)
    assert before is not None
    assert after is not None
    assert after.stats["AP"] > before.stats["AP"] + 0.05
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < 0.75 * rows[0]["loss"]
    assert rows[-1]["num_pos"] > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_that_broke_off_goes_on_bit_for_bit(
    config: Config,
    annotations: Annotations,
    family: dict[str, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With an average of the weights, which is evaluated; two steps after the checkpoint it crashes."""
    settings = dataclasses.replace(config.train, iterations=6, batch_size=2, save_every=3, ema=0.9)
    config = dataclasses.replace(changed(config, family), train=settings)
    train(config, annotations, tmp_path / "unbroken", CPU)

    class Crash(Exception):
        pass

    real, steps = engine.train_step, iter(range(5))

    def crashing(*arguments: Any) -> Any:
        if next(steps) == 4:
            raise Crash
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "train_step", crashing)
        with pytest.raises(Crash):
            train(config, annotations, tmp_path / "broken", CPU)
    file = tmp_path / "broken" / "last.pt"
    resumed = Resumed(file, load_checkpoint(file))
    assert resumed.content["step"] == 3
    train(config, annotations, tmp_path / "broken", CPU, resumed)
    whole, found = load_checkpoint(tmp_path / "unbroken" / "last.pt"), load_checkpoint(file)
    for part in ("model", "average"):
        assert whole[part].keys() == found[part].keys()
        assert all(torch.equal(value, found[part][name]) for name, value in whole[part].items())


def soft_example() -> tuple[Predictions, Tensor, Tensor, Tensor]:
    """One image, four points, two classes: positive of class 1, background, ignored, positive of class 0."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 4, 2, generator=generator)
    ltrb, target = (torch.rand(1, 4, 4, generator=generator) * 50 + 0.5 for _ in range(2))
    predictions = Predictions(one_map(logits), one_map(ltrb), None)
    return predictions, target, torch.tensor([[1, BACKGROUND, IGNORED, 0]]), torch.tensor([[0.75, 0.0, 0.0, 0.5]])


@pytest.mark.parametrize("implementation", ["fused", "torch"])
@pytest.mark.parametrize("beta", [0.0, 2.0])
def test_soft_targets_weigh_classes_and_boxes(implementation: Any, beta: float) -> None:
    predictions, target, labels, quality = soft_example()
    zero = torch.zeros(1, 4)
    counts = torch.tensor([2]), torch.tensor([1, 1])
    assignment = TopKAssignment(labels, labels, target, zero, quality, *counts)
    config = LossConfig(implementation, box="giou", quality_beta=beta)
    losses = detection_losses(predictions, assignment, config, quality)
    logits = predictions.class_logits[0, [0, 1, 3]]  # the ignored point is left out
    soft = torch.tensor([[0.0, 0.75], [0.0, 0.0], [0.5, 0.0]])
    errors = binary_cross_entropy_with_logits(logits, soft, reduction="none") * (soft - logits.sigmoid()).abs() ** beta
    torch.testing.assert_close(losses["class"], errors.sum() / 1.25)
    boxes = giou_loss(predictions.ltrb[0, [0, 3]], target[0, [0, 3]])
    torch.testing.assert_close(losses["box"], (0.75 * boxes[0] + 0.5 * boxes[1]) / 1.25)


@pytest.mark.parametrize("implementation", ["fused", "torch"])
def test_few_good_matches_do_not_make_a_batch_weigh_more(implementation: Any) -> None:
    predictions, target, labels, quality = soft_example()
    assignment = TopKAssignment(labels, labels, target, quality, quality, torch.tensor([2]), torch.tensor([1, 1]))
    config = LossConfig(implementation)
    whole = detection_losses(predictions, assignment, config, quality)["box"] * 1.25
    poor = detection_losses(predictions, assignment, config, quality / 100)["box"]  # a sum of 0.0125 divides as 1
    torch.testing.assert_close(poor, whole / 100)


def test_the_centerness_of_a_top_k_result_is_that_of_its_distances(config: Config, batch: Batch) -> None:
    """An assignment of points, given as boxes that chose, makes the same losses in every bit."""
    config = changed(config, {"model": {"centerness": True}, "loss": {"weight_boxes_by_centerness": True}})
    model = build_model(config, CLASSES, CPU)
    predictions = model(batch.images)
    points = model.assign(predictions.level_shapes, batch.targets, batch.sizes)
    assert isinstance(points, Assignment)
    zero = torch.zeros_like(points.centerness)
    chosen = TopKAssignment(points.matched, points.labels, points.ltrb, zero, zero, points.num_pos, points.pos_per_box)
    assert int(chosen.num_pos.sum()) > 0
    expected, given = model.losses(predictions, points), model.losses(predictions, chosen)
    assert expected.keys() == {"class", "box", "centerness"}
    assert all(torch.equal(given[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"assign": {"kind": "atss", "threshold": 0.5}},
            "assign.threshold: expected no value with assign.kind atss, which does not read it, got 0.5",
        ),
        (
            {"assign": {"atss": {"k": 5}}},
            "assign.atss.k: expected no value with assign.kind points, which does not read it, got 5",
        ),
        ({"assign": {"kind": "atss", "atss": {"k": 0}}}, r"assign.atss.k: expected an integer in \[1, 32\], got 0"),
        ({"assign": {"kind": "atss", "atss": {"kk": 0}}}, "assign.atss.kk: no such option"),
        (
            {"assign": {"kind": "atss", "atss": {"preset": "paper"}}},
            "assign.atss.preset: expected 'atss', .* got 'paper'",
        ),
        ({"assign": {"kind": "hungarian"}}, "assign.kind: expected 'points' .* got 'hungarian'"),
    ],
)
def test_what_belongs_to_another_family_is_refused_in_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        check_config(config_from_dict(values, source="file"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_drawn_like_it_trains(
    config: Config,
    annotations: Annotations,
    family: dict[str, dict[str, Any]],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """By its configuration alone or, if it reads predictions, with a checkpoint of it."""
    config = changed(config, {**family, "train": {"iterations": 1}})
    train(config, annotations, tmp_path, CPU)
    capfd.readouterr()
    by_config = ["assign-view", "--config", str(tmp_path / "config.yaml"), "--index", "1", "--levels", "3"]
    by_checkpoint = ["assign-view", "--checkpoint", str(tmp_path / "last.pt"), "--index", "1", "--levels", "3"]
    reads_predictions = make_assigner(STRIDES, config.assign.rule()).needs_predictions
    assert main([*by_config, "--out", str(tmp_path / "a.png")]) == (2 if reads_predictions else 0)
    out, err = capfd.readouterr()
    if reads_predictions:
        assert "--checkpoint: expected one, because a rule that is drawn reads predictions, got none" in err
    assert main([*by_checkpoint, "--out", str(tmp_path / "b.png")]) == 0
    shown, _ = capfd.readouterr()
    assert re.match(rf"{config.assign.kind}: [1-9]\d* positive points", shown)
    assert (tmp_path / "b.png").stat().st_size > 10_000
    if not reads_predictions:
        assert shown.replace("b.png", "a.png") == out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--presets", "atss", "--metrics", "none"], "--metrics, --thresholds, --presets: expected presets alone"),
        (["--assign.kind", "atss", "--metrics", "none"], "expected none with assign.kind atss, which has no metrics"),
        (["--presets", "papers"], "invalid choice 'papers'"),
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


def test_what_a_sweep_tells_of_a_family(config: Config, annotations: Annotations, tmp_path: Path) -> None:
    kept = kept_by(presets.atss, annotations, config.data)
    assert kept is not None
    assert 0 < kept.points < 1
    assert kept.boxes_without_positive < 0.5
    cells = (Cell("points"), Cell("atss"), Cell("reader"))
    results = [
        Result("points", 0, 40.0, 1.5, 150, 61.5, "", "", {"AP": 9.0}),
        Result("atss", 0, 100 * kept.points, 0.0, 150, 61.5, "", "", {"AP": 10.0}),
        Result("reader", 0, None, None, 150, 61.5, "", "", {"AP": 11.0}),
    ]
    write_results(tmp_path / "results.csv", results, ("AP",))
    assert read_results(tmp_path / "results.csv") == results
    sweep = Sweep("title", ("AP",), cells)
    assert (
        markdown_table(sweep, results).splitlines()[-1]
        == "| reader | 11.0 | 1 | needs predictions | needs predictions |"
    )
    draw_sweep(sweep, [presets.paper, presets.atss, presets.pseudo_iou_atss], results, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5_000
