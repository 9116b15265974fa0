"""COCO's average precision: conversion, guards, and what perfect and absent detections score."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import pytest
import torch

from detector.config import Config, EvalConfig
from detector.data import Annotations
from detector.data.coco import read_coco
from detector.engine.train import build_model
from detector.errors import UserError
from detector.evaluation.coco import STAT_NAMES, Backend, Result, evaluate, to_coco_results
from detector.evaluation.detect import detect_all
from detector.evaluation.score import class_table, score_detections
from detector.model import Detections

FIXTURES = Path(__file__).parents[1] / "data" / "eval_fixtures"
BACKENDS: tuple[Backend, Backend] = ("pycocotools", "hotcoco")


def perfect(annotations: Annotations) -> list[Detections]:
    """The ground truth as detections."""
    found = []
    for index in range(len(annotations)):
        rows = annotations.rows(index)
        boxes = annotations.boxes[rows].float()
        found.append(Detections(boxes, torch.full((len(boxes),), 0.9), annotations.labels[rows]))
    return found


def without_boxes(annotations: Annotations) -> Annotations:
    """The same images, without boxes."""
    return dataclasses.replace(
        annotations,
        offsets=torch.zeros_like(annotations.offsets),
        boxes=annotations.boxes[:0],
        areas=annotations.areas[:0],
        labels=annotations.labels[:0],
        ignore=annotations.ignore[:0],
    )


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
    figures = [figure for row in evaluation.per_class.values() for figure in row.values()]
    assert all(figure in (-1.0, pytest.approx(1.0)) for figure in figures)
    assert class_table(evaluation).splitlines()[0].split() == ["class", "AP", "AP50"]


def test_no_detections_score_zero(annotations: Annotations) -> None:
    evaluation = evaluate([], annotations)
    assert evaluation.stats == dict.fromkeys(STAT_NAMES, 0.0)
    assert evaluation.summary == "no detections: every figure is 0"
    assert len(class_table(evaluation).splitlines()) == 6


def test_a_split_without_boxes_has_no_figures(annotations: Annotations) -> None:
    empty = without_boxes(annotations)
    found = [Detections(torch.tensor([[1.0, 2.0, 11.0, 7.0]]), torch.tensor([0.5]), torch.tensor([2]))]
    evaluation = evaluate(to_coco_results(found, empty.image_ids[:1], empty.category_ids), empty)
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
    found = detect_all(model, annotations)
    assert len(found) == len(annotations)
    assert model.training
    assert all(len(detections.boxes) == 0 for detections in found)  # untrained scores are about 0.01


def sample_results(name: str) -> tuple[list[Result], Annotations]:
    """The detections and the ground truth of a folder of fixtures."""
    folder = FIXTURES / name
    if name == "padilla_coco":
        content = json.loads((folder / "dets.json").read_text())["annotations"]
        keys = ("image_id", "category_id", "bbox", "score")
        return [{key: row[key] for key in keys} for row in content], read_coco([folder / "gts.json"], folder)
    content = json.loads((folder / "instances_val2014_fakebbox100_results.json").read_text())
    return content, read_coco([folder / "instances_val2014_100.json"], folder)


PUBLISHED = {
    "cocoapi_100": (
        *(0.5045806987249628, 0.6969727247299577, 0.5729816669904824),
        *(0.5856257209410443, 0.5193996948036719, 0.5013978986347466),
        *(0.38681277964578054, 0.5936795762842003, 0.595352982877607),
        *(0.6398109626113442, 0.5664205978994309, 0.5642905982905982),
    ),
    "padilla_coco": (
        *(0.503647, 0.696973, 0.571667, 0.593252, 0.557991, 0.489363),
        *(0.386813, 0.593680, 0.595353, 0.654764, 0.603130, 0.553744),
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_figures(name: str) -> None:
    """pycocotools on the files themselves; here they went through the reader."""
    stats = evaluate(*sample_results(name)).stats
    digits = 1e-14 if name == "cocoapi_100" else 5.1e-7  # as many as are printed
    assert tuple(stats) == STAT_NAMES
    assert list(stats.values()) == pytest.approx(PUBLISHED[name], abs=digits)


def test_figures_are_those_of_pycocotools_own_summary() -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    folder = FIXTURES / "cocoapi_100"
    truth = COCO(folder / "instances_val2014_100.json")
    found = truth.loadRes(str(folder / "instances_val2014_fakebbox100_results.json"))
    evaluator = COCOeval(truth, found, "bbox")
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    assert list(evaluate(*sample_results("cocoapi_100")).stats.values()) == evaluator.stats.tolist()


@pytest.mark.parametrize("max_detections", [11, 100, 300])
@pytest.mark.parametrize("name", PUBLISHED)
def test_both_backends_agree_to_the_last_digit(name: str, max_detections: int) -> None:
    pytest.importorskip("hotcoco", reason="the optional backend hotcoco is not installed")
    results, annotations = sample_results(name)
    one, other = (evaluate(results, annotations, backend, max_detections) for backend in BACKENDS)
    assert one == other
    assert f"AR{max_detections}" in one.stats
    assert one.stats["AP"] > 0.5  # pycocotools' own summary has -1 for other limits than 100


@pytest.mark.parametrize("case", ["crowd", "no box", "few images", "nothing found"])
def test_both_backends_agree_on_odd_data(case: str, annotations: Annotations) -> None:
    pytest.importorskip("hotcoco", reason="the optional backend hotcoco is not installed")
    generator = torch.Generator().manual_seed(0)
    found = [
        Detections(
            detections.boxes + torch.randn(detections.boxes.shape, generator=generator),
            torch.rand(len(detections.boxes), generator=generator),
            detections.labels,
        )
        for detections in perfect(annotations)
    ]
    results = to_coco_results(found, annotations.image_ids, annotations.category_ids)
    if case == "crowd":
        annotations = dataclasses.replace(annotations, ignore=torch.arange(len(annotations.boxes)) % 3 == 0)
    elif case == "no box":
        annotations = without_boxes(annotations)
    elif case == "few images":
        annotations = annotations.select([3, 1])
        results = [result for result in results if result["image_id"] in annotations.image_ids]
    else:
        results = []
    one, other = (evaluate(results, annotations, backend) for backend in BACKENDS)
    assert one == other


def test_results_of_unknown_images_and_categories(annotations: Annotations) -> None:
    result = {"image_id": 1, "category_id": 1, "bbox": [1.0, 2.0, 3.0, 4.0], "score": 0.5}
    with pytest.raises(UserError, match=r"results: image_id 99 is not in the data set; 1 are unknown"):
        evaluate([result, {**result, "image_id": 99}], annotations)
    with pytest.raises(UserError, match=r"results: category_id 7 is not in the data set"):
        evaluate([{**result, "category_id": 7}], annotations)


def test_a_backend_that_is_not_installed(annotations: Annotations, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hotcoco", None)
    result = {"image_id": 1, "category_id": 1, "bbox": [1.0, 2.0, 3.0, 4.0], "score": 0.5}
    with pytest.raises(UserError, match=r"eval\.backend: hotcoco is not installed; pip install hotcoco"):
        evaluate([result], annotations, "hotcoco")


def test_voc_figures_join_where_the_protocol_asks_for_them(config: Config, annotations: Annotations) -> None:
    found = perfect(annotations)
    results: list[Result] = []
    evaluation, voc = score_detections(found, annotations, config, results.extend)
    assert voc is None
    assert len(results) == len(annotations.boxes)
    for changed in (
        dataclasses.replace(config, eval=EvalConfig(protocol="voc")),
        dataclasses.replace(config, data=dataclasses.replace(config.data, format="voc")),
    ):
        with_voc, voc = score_detections(found, annotations, changed)
        assert voc is not None
        assert with_voc.stats == {**evaluation.stats, "VOC07": pytest.approx(1), "VOC10": pytest.approx(1)}
        assert [line.split()[:2] for line in with_voc.summary.splitlines()[-2:]] == [
            ["VOC07", "100.0"],
            ["VOC10", "100.0"],
        ]
        assert class_table(with_voc).splitlines()[0].split() == ["class", "AP", "AP50", "VOC07", "VOC10"]
    assert (
        score_detections(found, annotations, dataclasses.replace(changed, eval=EvalConfig(protocol="coco")))[1] is None
    )
