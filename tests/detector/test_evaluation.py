"""COCO's average precision: conversion, guards, and what perfect and absent detections score."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from detector.config import Config
from detector.data import Annotations
from detector.data.coco import read_coco
from detector.engine.train import build_model
from detector.evaluation.coco import (
    STAT_NAMES,
    class_table,
    detect_all,
    evaluate,
    to_coco_results,
)
from detector.model import Detections

FIXTURES = Path(__file__).parents[3] / "shared" / "data" / "eval_fixtures"


def perfect(annotations: Annotations) -> list[Detections]:
    """The ground truth as detections."""
    found = []
    for index in range(len(annotations)):
        rows = annotations.rows(index)
        boxes = annotations.boxes[rows].float()
        found.append(Detections(boxes, torch.full((len(boxes),), 0.9), annotations.labels[rows]))
    return found


def test_results_are_in_coco_format(annotations: Annotations) -> None:
    found = [Detections(torch.tensor([[1.0, 2.0, 11.0, 7.0]]), torch.tensor([0.5]), torch.tensor([2]))]
    ids = torch.tensor([4, 9, 90])
    assert to_coco_results(found, torch.tensor([139]), ids) == [
        {"image_id": 139, "category_id": 90, "bbox": [1.0, 2.0, 10.0, 5.0], "score": 0.5}
    ]


def test_perfect_detections_score_one(annotations: Annotations) -> None:
    results = to_coco_results(perfect(annotations), annotations.image_ids, annotations.category_ids)
    evaluation = evaluate(results, annotations)
    assert evaluation.stats["AP"] == pytest.approx(1.0)
    assert len(evaluation.summary.splitlines()) == 12
    assert all(figure in (-1.0, pytest.approx(1.0)) for pair in evaluation.per_class.values() for figure in pair)
    assert class_table(evaluation).splitlines()[0].split() == ["class", "AP", "AP50"]


def test_no_detections_score_zero(annotations: Annotations) -> None:
    evaluation = evaluate([], annotations)
    assert evaluation.stats == dict.fromkeys(STAT_NAMES, 0.0)
    assert evaluation.summary == "no detections: every figure is 0"
    assert len(class_table(evaluation).splitlines()) == 6


def test_a_split_without_boxes_has_no_figures(annotations: Annotations) -> None:
    empty = dataclasses.replace(
        annotations.select([0]),
        offsets=torch.tensor([0, 0]),
        boxes=torch.zeros(0, 4, dtype=torch.float64),
        areas=torch.zeros(0, dtype=torch.float64),
        labels=torch.zeros(0, dtype=torch.int64),
        ignore=torch.zeros(0, dtype=torch.bool),
    )
    found = [Detections(torch.tensor([[1.0, 2.0, 11.0, 7.0]]), torch.tensor([0.5]), torch.tensor([2]))]
    evaluation = evaluate(to_coco_results(found, empty.image_ids, empty.category_ids), empty)
    assert evaluation.stats["AP"] == -1.0
    assert class_table(evaluation).splitlines()[1].split() == [annotations.class_names[0], "-", "-"]


def test_ignored_boxes_count_neither_way(annotations: Annotations) -> None:
    marked = dataclasses.replace(annotations, ignore=torch.arange(len(annotations.boxes)) % 2 == 0)
    kept = [
        Detections(*(values[~marked.ignore[marked.rows(index)]] for values in detections))
        for index, detections in enumerate(perfect(annotations))
    ]
    for found in (perfect(annotations), kept):
        results = to_coco_results(found, marked.image_ids, marked.category_ids)
        assert evaluate(results, marked).stats["AP"] == pytest.approx(1.0)


def test_detecting_leaves_the_mode_and_order(config: Config, annotations: Annotations) -> None:
    model = build_model(config, 5, torch.device("cpu")).train()
    found = detect_all(model, config, annotations, torch.device("cpu"))
    assert len(found) == len(annotations)
    assert model.training
    assert all(len(detections.boxes) == 0 for detections in found)  # untrained scores are about 0.01


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="../shared/data/eval_fixtures is not there")
def test_figures_of_the_coco_sample_results() -> None:
    """pycocotools on the files themselves; here they went through the reader."""
    folder = FIXTURES / "cocoapi_100"
    annotations = read_coco([folder / "instances_val2014_100.json"], folder)
    results = json.loads((folder / "instances_val2014_fakebbox100_results.json").read_text())
    stats = evaluate(results, annotations).stats
    assert stats["AP"] == pytest.approx(0.5045806987249628, abs=1e-9)
    assert stats["AP50"] == pytest.approx(0.6969727247299577, abs=1e-9)
    assert stats["ARl"] == pytest.approx(0.5642905982905982, abs=1e-9)
