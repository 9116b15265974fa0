"""The head: the order of its outputs and the unit of its distances."""

from __future__ import annotations

import pytest
import torch
from detector_samples import CLASSES, CPU, changed
from torch import nn

from detector.config import Config
from detector.data.loader import Batch
from detector.engine.train import build_model
from detector.model.backbone import STRIDES
from detector.model.head import SMALLEST_DISTANCE
from pseudo_iou_ops import level_points


def test_predictions_are_in_the_order_of_the_op(config: Config, batch: Batch) -> None:
    model = build_model(config, CLASSES, CPU).eval()
    with torch.no_grad():
        predictions = model(batch.images)
    points = level_points(predictions.level_shapes, STRIDES)
    assert predictions.level_shapes == ((8, 8), (4, 4), (2, 2), (1, 1), (1, 1))
    assert predictions.class_logits.shape == (4, len(points), CLASSES)
    assert predictions.ltrb.shape == (4, len(points), 4)
    assert bool((predictions.ltrb > 0).all())
    assert predictions.centerness_logits is None


def test_points_lie_where_their_features_look(config: Config) -> None:
    """A head that copies a feature shows that the flattened order is row-major."""
    model = build_model(config, CLASSES, CPU)
    feature = torch.zeros(1, 16, 8, 8)
    feature[0, :, 2, 5] = 1.0
    model.head.class_branch = nn.Identity()
    with torch.no_grad():
        model.head.class_output.weight.zero_()[:, :, 1, 1] = 1.0
        features = [feature] + [torch.zeros(1, 16, n, n) for n in (4, 2, 1, 1)]
        logits = model.head(features).class_logits
    best = int(logits[0, :, 0].argmax())
    assert level_points([(8, 8)], [8])[best].tolist() == [5.5 * 8, 2.5 * 8]


def test_the_relu_head_gives_distances_that_keep_an_area(config: Config) -> None:
    relu = changed(config, {"model": {"box_activation": "relu"}})
    head = build_model(relu, CLASSES, CPU).head
    scaled = torch.tensor([-2.0, 0.0, 0.5, 3.0])
    assert head._distances(scaled).tolist() == pytest.approx([SMALLEST_DISTANCE, SMALLEST_DISTANCE, 0.5, 3.0])
    exponential = build_model(config, CLASSES, CPU).head
    assert exponential._distances(scaled).tolist() == pytest.approx(scaled.exp().tolist())
