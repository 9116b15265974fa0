"""False positives at equal recall."""

from __future__ import annotations

from pathlib import Path

import torch

from detector.data import Annotations
from detector.data.annotations import AnnotationsBuilder
from detector.evaluation.recall import recall_curve, recall_table
from detector.model import Detections

LEFT, RIGHT, NOWHERE = (0.0, 0.0, 10.0, 10.0), (50.0, 0.0, 60.0, 10.0), (80.0, 80.0, 90.0, 90.0)


def two_images() -> Annotations:
    """Two boxes to find in the first image, one and a box to ignore in the second."""
    builder = AnnotationsBuilder(("a", "b"), (1, 2))
    for number, boxes in enumerate(([(LEFT, False), (RIGHT, False)], [(LEFT, False), (RIGHT, True)]), start=1):
        builder.add_image(Path(f"{number}.jpg"), number, 100, 100)
        for box, ignore in boxes:
            builder.add_box(box, 100.0, 0, ignore)
    return builder.build()


def detections(*rows: tuple[tuple[float, ...], float, int]) -> Detections:
    boxes, scores, labels = zip(*rows, strict=True)
    return Detections(torch.tensor(boxes), torch.tensor(scores), torch.tensor(labels))


FOUND = [
    detections((LEFT, 0.9, 0), (NOWHERE, 0.8, 0), (LEFT, 0.5, 0)),  # right, in vain, found already
    detections((RIGHT, 0.85, 0), (LEFT, 0.7, 1), (LEFT, 0.6, 0)),  # to ignore, another class, right
]


def test_the_curve_goes_through_all_images_by_score() -> None:
    curve = recall_curve(FOUND, two_images())
    assert curve.recall.tolist() == [1 / 3, 1 / 3, 1 / 3, 1 / 3, 2 / 3, 2 / 3]
    assert curve.false_positives.tolist() == [0, 0, 1, 2, 2, 3]
    assert [curve.false_positives_at(recall) for recall in (0.1, 0.5, 0.9)] == [0, 2, None]


def test_the_table_has_a_dash_where_a_recall_is_not_reached() -> None:
    nothing = [Detections(torch.empty(0, 4), torch.empty(0), torch.empty(0, dtype=torch.int64))] * 2
    curves = [recall_curve(found, two_images()) for found in (FOUND, nothing)]
    assert recall_table(("one", "none"), curves, (0.25, 0.6, 0.9)).splitlines() == [
        "| recall | one | none |",
        "| --- | --- | --- |",
        "| 0.25 | 0 | - |",
        "| 0.6 | 2 | - |",
        "| 0.9 | - | - |",
    ]
