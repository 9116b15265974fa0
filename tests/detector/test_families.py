"""The families of assigners in the detector: each learns, goes on bit for bit, and refuses what is not its own."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from detector_samples import CLASSES, CPU, FAMILIES, changed
from torch import Tensor, nn

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
from detector.runtime import score
from pseudo_iou_ops import (
    BACKGROUND,
    Assigner,
    AssignRule,
    PointPredictions,
    TopKAssignment,
    assign,
    level_points,
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


def test_every_command_takes_a_family_that_reads_predictions(
    config: Config, annotations: Annotations, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """In mixed precision, across the end of the first iterations: tried, trained, gone on with, scored and exported."""
    assign = {"kind": "task_aligned", "initial_iterations": 2}
    config = changed(config, {"assign": assign, "train": {"iterations": 2, "amp": "bf16", "eval_every": 2}})
    (tmp_path / "tood.yaml").write_text(config_to_yaml(config), encoding="utf-8")
    run, file = ["--config", str(tmp_path / "tood.yaml"), "--out", str(tmp_path / "run")], tmp_path / "run" / "last.pt"
    longer = ["--resume", "--train.iterations", "4"]
    commands = [
        ["train", *run, "--dry-run"],
        ["train", *run],
        ["train", *run, *longer, "--dry-run"],
        ["train", *run, *longer],
        ["eval", "--checkpoint", str(file)],
        ["export", "--checkpoint", str(file), "--format", "torch", "--no-nms", "--check", str(annotations.files[0])],
    ]
    commands[-1] += ["--data.eval-short-side", "160", "--data.max-side", "160"]  # a program takes no smaller ones
    for command in commands:
        assert main(command) == 0
    out, _ = capfd.readouterr()
    assert re.search(r"Atss\(.*\) for 2 steps, then TaskAligned\(", out)
    assert len(re.findall(r"assignment: [1-9]\d* positive points", out)) == 2
    assert load_checkpoint(file)["step"] == 4
    assert "on 1 images boxes differ by up to" in out


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"assign": {"kind": "atss", "threshold": 0.5}},
            "assign.threshold: expected no value with assign.kind atss, which does not read it, got 0.5",
        ),
        (
            {"assign": {"kind": "atss", "preset": "paper_baseline"}},
            "assign.preset: expected no value with assign.kind atss, which does not read it, got 'paper_baseline'",
        ),
        (
            {"assign": {"atss": {"preset": "pp_yoloe_atss"}}},
            "assign.atss.preset: expected no value with assign.kind points, which does not read it, got 'pp_y",
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
        (
            {"assign": {"kind": "atss", "task_aligned": {"alpha": 0.5}}},
            "assign.task_aligned.alpha: expected no value with assign.kind atss, which does not read it, got 0.5",
        ),
        (
            {"assign": {"kind": "task_aligned", "atss": {"k": 5}}},
            "assign.atss.k: expected no value with assign.kind task_aligned, which does not read it, got 5",
        ),
        (
            {"assign": {"kind": "task_aligned", "initial_iterations": 9, "atss": {"k": 50}}},
            r"assign.atss.k: expected an integer in \[1, 32\], got 50",
        ),
        (
            {"assign": {"kind": "task_aligned", "task_aligned": {"beta": 9}}},
            r"assign.task_aligned.beta: expected an integer in \[0, 8\], got 9",
        ),
        (
            {"assign": {"kind": "sim_ota", "soft_label": {"radius": 2.0}}},
            "assign.soft_label.radius: expected no value with assign.kind sim_ota, which does not read it, got 2",
        ),
        (
            {"assign": {"kind": "sim_ota", "sim_ota": {"region": "box"}}},
            "assign.sim_ota.region: expected 'box_or_center' or 'center', got 'box'",
        ),
        (
            {"assign": {"kind": "soft_label", "soft_label": {"top_ious": 33}}},
            r"assign.soft_label.top_ious: expected an integer in \[1, 32\], got 33",
        ),
        (
            {"assign": {"kind": "soft_label", "soft_label": {"preset": "yolox"}}},
            "assign.soft_label.preset: expected 'rtmdet', got 'yolox'",
        ),
        (
            {"assign": {"initial_iterations": 9}},
            "assign.initial_iterations: expected 0 with assign.kind points, which reads no predictions, got 9",
        ),
        ({"assign": {"initial_iterations": -1}}, "assign.initial_iterations: expected at least 0, got -1"),
        (
            {"loss": {"quality_beta": 2.0}},
            "loss.quality_beta: expected 0 with assign.kind points, which gives no soft targets, got 2",
        ),
        (
            {"assign": {"kind": "task_aligned"}, "model": {"centerness": True}},
            "model.centerness: expected False with assign.kind task_aligned, whose class scores learn .*, got True",
        ),
        (
            {"assign": {"kind": "task_aligned"}, "loss": {"weight_boxes_by_centerness": True}},
            "loss.weight_boxes_by_centerness: expected False with assign.kind task_aligned, .*, got True",
        ),
        ({"assign": {"kind": "hungarian"}}, "assign.kind: expected 'points'.* got 'hungarian'"),
    ],
)
def test_what_belongs_to_another_family_is_refused_in_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        check_config(config_from_dict(values, source="file"))
    assert "\n" not in str(caught.value)


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
