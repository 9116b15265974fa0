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
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

import detector.engine.train as engine
from detector.cli import main
from detector.config import Config, LossConfig, OptimConfig, check_config, config_from_dict, config_to_yaml
from detector.data import Annotations
from detector.data.loader import Batch
from detector.engine.checkpoint import TrainingState, load_checkpoint
from detector.engine.optim import build_optimizer
from detector.engine.resume import Resumed
from detector.engine.step import train_step
from detector.engine.train import build_model, train
from detector.errors import UsageError
from detector.model.backbone import STRIDES
from detector.model.head import Predictions
from detector.model.losses import detection_losses, giou_loss
from detector.runtime import score
from detector.sweep import Cell, Sweep
from detector.sweep.kept import kept_by
from detector.sweep.plot import draw_sweep
from detector.sweep.results import Result
from pseudo_iou_ops import (
    BACKGROUND,
    IGNORED,
    Assigner,
    Assignment,
    AssignRule,
    PointPredictions,
    TopKAssignment,
    assign,
    level_points,
    presets,
)


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
def test_soft_targets_weigh_classes_and_boxes(implementation: Any) -> None:
    predictions, target, labels, quality = soft_example()
    zero = torch.zeros(1, 4)
    counts = torch.tensor([2]), torch.tensor([1, 1])
    assignment = TopKAssignment(labels, labels, target, zero, quality, *counts)
    config = LossConfig(implementation, box="giou")
    losses = detection_losses(predictions, assignment, config, quality)
    logits = predictions.class_logits[0, [0, 1, 3]]  # the ignored point is left out
    soft = torch.tensor([[0.0, 0.75], [0.0, 0.0], [0.5, 0.0]])
    errors = binary_cross_entropy_with_logits(logits, soft, reduction="none")
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
    family: dict[str, dict[str, Any]], config: Config, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(config_to_yaml(changed(config, family)), encoding="utf-8")
    options = ["--config", str(file), "--index", "1", "--levels", "3", "--out", str(tmp_path / "view.png")]
    assert main(["assign-view", *options]) == 0
    out, _ = capfd.readouterr()
    assert re.match(r"atss: [1-9]\d* positive points", out)
    assert (tmp_path / "view.png").stat().st_size > 10_000


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
    assert 0 < kept.points < 1
    assert kept.boxes_without_positive < 0.5
    results = [Result(name, 0, 40.0, 1.5, 150, 61.5, "", "", {"AP": 9.0}) for name in ("points", "fcos", "atss")]
    sweep = Sweep("title", ("AP",), (Cell("points"), Cell("fcos"), Cell("atss")))
    draw_sweep(sweep, [presets.paper, presets.fcos, presets.atss], results, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5_000


class OwnAssigner(nn.Module):
    """Somebody's own task-aligned assigner, in plain torch: the three best points inside each box, by score and IoU."""

    strides, offset, needs_predictions = STRIDES, 0.5, True

    def forward(
        self,
        level_shapes: Any,
        boxes: Tensor,
        labels: Tensor,
        offsets: Tensor,
        *,
        predictions: PointPredictions,
        **_: Any,
    ) -> TopKAssignment:
        points = level_points(level_shapes, self.strides)
        scores, ltrb = (
            torch.cat([level.detach().flatten(2) for level in maps], dim=2).transpose(1, 2)
            for maps in (predictions.scores, predictions.boxes)
        )
        inside = assign(boxes, labels, offsets, level_shapes, self.strides, AssignRule(metric="none"))
        matched, score = torch.full_like(inside.matched, BACKGROUND), torch.zeros(inside.matched.shape)
        for row, (box, label) in enumerate(zip(boxes, labels, strict=True)):
            image = int(torch.searchsorted(offsets, row, right=True)) - 1
            target = torch.cat((points - box[:2], box[2:] - points), dim=1)
            smaller, larger = torch.minimum(target, ltrb[image]), torch.maximum(target, ltrb[image])
            overlap = (smaller[:, 0] + smaller[:, 2]) * (smaller[:, 1] + smaller[:, 3])
            union = (larger[:, 0] + larger[:, 2]) * (larger[:, 1] + larger[:, 3])
            value = scores[image, :, label].sigmoid() * overlap / union * (target.amin(1) > 0)
            best = value.topk(3).indices[value.topk(3).values > 0]
            matched[image, best], score[image, best] = row, (overlap / union)[best]
        is_positive = matched >= 0
        rows = boxes[matched.clamp(min=0)]
        targets = torch.cat((points - rows[..., :2], rows[..., 2:] - points), dim=-1) * is_positive[..., None]
        classes = torch.where(is_positive, labels[matched.clamp(min=0)], matched)
        counts = torch.bincount(matched[is_positive], minlength=len(boxes))
        return TopKAssignment(matched, classes, targets, score, score, is_positive.sum(1), counts)


def test_an_assigner_of_ones_own_reads_the_predictions_and_trains(config: Config, batch: Batch) -> None:
    """The head's maps reach it as they lie, and its soft scores weigh the losses."""
    torch.manual_seed(0)
    model = build_model(config, CLASSES, CPU)
    own: Assigner = OwnAssigner()
    assert isinstance(own, Assigner)
    model.assigner = own
    with pytest.raises((TypeError, AttributeError)):
        model.assign(((8, 8), (4, 4), (2, 2), (1, 1), (1, 1)), batch.targets, batch.sizes)
    state = TrainingState(model, build_optimizer(model))
    losses = []
    for _ in range(30):
        terms, assignment, _ = train_step(state, batch)
        losses.append(float(torch.stack(list(terms.values())).sum().detach()))
        assert isinstance(assignment, TopKAssignment)
        assert int(assignment.num_pos.sum()) > 0
    assert losses[-1] < 0.7 * losses[0]
