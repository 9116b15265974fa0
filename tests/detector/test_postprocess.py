"""From predictions to detections."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from detector_samples import crowded, one_map, points_of
from torch import Tensor

from detector.config import PostprocessConfig
from detector.model.head import Predictions
from detector.model.nms import _in_float32, _settled, _suppressions, kept_by_class
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


def test_boxes_outside_of_the_image_are_no_detections() -> None:
    """A point of the padding predicts them: clipped to the image they have no area."""
    assert len(run_postprocess(only(5, 1, 0.75), size=(6, 32)).boxes) == 0
    assert len(run_postprocess(only(5, 1, 0.75), size=(32, 6)).boxes) == 0
    assert len(run_postprocess(only(5, 1, 0.75), size=(7, 7)).boxes) == 1


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


def kept_by_definition(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> list[bool]:
    """Greedy suppression, box by box, as it is written in the textbooks; in float32, as all of it is computed."""
    kept = [False] * len(scores)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    for row in sorted(range(len(scores)), key=lambda row: (-float(scores[row]), row)):
        others = torch.tensor([other for other in range(len(scores)) if kept[other] and labels[other] == labels[row]])
        kept[row] = True
        if len(others):
            sides = torch.minimum(boxes[others, 2:], boxes[row, 2:]) - torch.maximum(boxes[others, :2], boxes[row, :2])
            common = sides.clamp(min=0).prod(1)
            kept[row] = not bool((common / (areas[others] + areas[row] - common) > threshold).any())
    return kept


FORMS = {
    "by class": kept_by_class,
    "on a GPU": lambda boxes, *rest: _settled(_suppressions(boxes, *rest)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("classes", [1, 3, 80, 1203])
def test_suppression_is_exact_for_any_number_of_classes(classes: int, form: str) -> None:
    boxes, scores, labels = crowded(classes)
    kept = FORMS[form](boxes, scores, labels, 0.5)
    assert kept.tolist() == kept_by_definition(boxes, scores, labels, 0.5)
    assert 0 < int(kept.sum()) < len(kept)


@pytest.mark.parametrize("form", FORMS)
def test_suppression_at_its_borders(form: str) -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 5], [3, 3, 3, 3], [3, 3, 3, 3]])
    scores, labels = torch.tensor([0.5, 0.9, 0.9, 0.8, 0.7]), torch.tensor([0, 0, 1, 2, 2])
    suppress = FORMS[form]
    assert suppress(boxes, scores, labels, 0.5).tolist() == [True] * 5  # an overlap of 0.5, and boxes without area
    assert suppress(boxes, scores, labels, 0.4).tolist() == [False, True, True, True, True]
    same = boxes[:2].repeat(3, 1)[::2]
    assert suppress(same, torch.full((3,), 0.5), labels[:3] * 0, 0.9).tolist() == [True, False, False]  # the first
    none = torch.zeros(0)
    assert suppress(none.view(0, 4), none, none.long(), 0.5).tolist() == []


def test_a_threshold_that_float32_does_not_hold_is_not_rounded_up() -> None:
    assert _in_float32(0.5) == 0.5
    assert _in_float32(0.6) < 0.6 < _in_float32(0.6) + 1e-7
    assert _in_float32(0.1) < 0.1


@pytest.mark.gpu
@pytest.mark.parametrize("classes", [1, 80, 1203])
def test_suppression_on_a_gpu_is_the_cpus(classes: int) -> None:
    samples = crowded(classes, count=2000)
    on_gpu = kept_by_class(*(tensor.cuda() for tensor in samples), 0.5)
    assert torch.equal(on_gpu.cpu(), kept_by_class(*samples, 0.5))
