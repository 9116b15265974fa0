"""From predictions to detections."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from detector_samples import one_map, points_of

from detector.config import PostprocessConfig
from detector.model.head import Predictions
from detector.model.postprocess import detections, rescaled
from pseudo_iou_ops import level_points


def only(point: int, label: int, score: float, shape: tuple[int, int] = (4, 4)) -> Predictions:
    """One confident point on a level of stride 8, whose box reaches 6 pixels to each side."""
    count = shape[0] * shape[1]
    logits = torch.full((1, count, 2), -10.0)
    logits[0, point, label] = math.log(score / (1 - score))
    return Predictions(one_map(logits, shape), one_map(torch.full((1, count, 4), 6.0), shape), None)


def run_postprocess(predictions: Predictions, size: tuple[int, int] = (32, 32), **options: Any) -> Any:
    points = level_points(predictions.level_shapes, [8])
    return detections(predictions, points, torch.tensor([size]), PostprocessConfig(**options))[0]


def test_detections_are_decoded_and_clipped() -> None:
    found = run_postprocess(only(5, 1, 0.75))
    assert found.boxes.tolist() == [[6, 6, 18, 18]]
    assert found.labels.tolist() == [1]
    assert found.scores.tolist() == pytest.approx([0.75])
    assert run_postprocess(only(5, 1, 0.75), size=(10, 14)).boxes.tolist() == [[6, 6, 14, 10]]
    assert len(run_postprocess(only(5, 1, 0.04)).boxes) == 0


def test_suppression_is_per_class_and_limited() -> None:
    predictions = only(5, 1, 0.75)
    points_of(predictions.class_maps)[0, 5, 0] = 1.0  # same box, other class: kept
    points_of(predictions.class_maps)[0, 6, 1] = 0.5
    # Nearly the same box: suppressed.
    points_of(predictions.ltrb_maps)[0, 6] = torch.tensor([14.0, 6.0, -2.0 + 1e-3, 6.0])
    found = run_postprocess(predictions)
    assert found.labels.tolist() == [1, 0]
    assert len(run_postprocess(predictions, detections_per_image=1).boxes) == 1
    assert len(run_postprocess(predictions, candidates_per_level=1).boxes) == 1


def test_centerness_multiplies_scores_but_not_the_threshold() -> None:
    predictions = only(5, 1, 0.75)._replace(centerness_maps=(torch.full((1, 1, 4, 4), -math.log(19.0)),))
    assert run_postprocess(predictions).scores.tolist() == pytest.approx([0.75 * 0.05])


def test_detections_are_scaled_back_to_the_file() -> None:
    found = rescaled(run_postprocess(only(5, 1, 0.75)), torch.tensor([32, 32]), torch.tensor([64, 16]))
    assert found.boxes.tolist() == [[3, 12, 9, 36]]
