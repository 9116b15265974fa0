"""VOC's mean average precision: published figures, cases by hand, and a brute-force reading of the kit's rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.data import Annotations
from detector.data.annotations import AnnotationsBuilder
from detector.evaluation.voc import FALSE_POSITIVE, NEITHER, evaluate_voc, match
from detector.model import Detections

FIXTURES = Path(__file__).parents[1] / "data" / "eval_fixtures"

Box = tuple[float, float, float, float]


def some_annotations(classes: tuple[str, ...], images: list[list[tuple[Box, int, bool]]]) -> Annotations:
    """Images of 100 x 100 pixels from (box, label, ignore) each."""
    builder = AnnotationsBuilder(classes, range(1, len(classes) + 1))
    for number, boxes in enumerate(images, start=1):
        builder.add_image(Path(f"{number}.jpg"), number, 100, 100)
        for box, label, ignore in boxes:
            builder.add_box(box, 1.0, label, ignore)
    return builder.build()


def some_detections(*rows: tuple[Box, float, int]) -> Detections:
    """From (box, score, label) each, put best first."""
    ordered = sorted(rows, key=lambda row: -row[1])
    boxes = torch.tensor([box for box, _, _ in ordered], dtype=torch.float64).reshape(-1, 4)
    scores = torch.tensor([score for _, score, _ in ordered], dtype=torch.float64)
    return Detections(boxes, scores, torch.tensor([label for _, _, label in ordered], dtype=torch.int64))


def read_fixture(truth: Path, found: Path, has_sides: bool) -> tuple[list[Detections], Annotations]:
    """Text files with a line per box: class, score for detections, x1 y1, and x2 y2 or width height."""

    def lines(file: Path) -> list[list[str]]:
        return [line.split() for line in file.read_text().splitlines() if line.strip()]

    def box(words: list[str]) -> Box:
        x1, y1, x2, y2 = map(float, words)
        return (x1, y1, x1 + x2, y1 + y2) if has_sides else (x1, y1, x2, y2)

    files = sorted(truth.glob("*.txt"))
    classes = tuple(sorted({words[0] for file in files for words in lines(file)}))
    images = [[(box(words[1:]), classes.index(words[0]), False) for words in lines(file)] for file in files]
    detections = [
        some_detections(
            *(
                (box(words[2:]), float(words[1]), classes.index(words[0]))
                for words in lines(found / file.name)
                if words[0] in classes
            )
        )
        for file in files
    ]
    return detections, some_annotations(classes, images)


def ten_digits(figure: float) -> str:
    """Cut, not rounded, as the published figures are."""
    return f"{figure:.16f}"[:12]


@pytest.mark.parametrize(
    ("iou_threshold", "area", "eleven_points"),
    [
        (0.1, "0.3371980676", "0.3333333333"),
        (0.3, "0.2456866804", "0.2683982683"),
        (0.5, "0.0222222222", "0.0303030303"),
        (0.75, "0.0000000000", "0.0000000000"),
    ],
)
def test_published_figures_of_one_class(iou_threshold: float, area: str, eleven_points: str) -> None:
    folder = FIXTURES / "padilla_voc"
    evaluation = evaluate_voc(*read_fixture(folder / "gts", folder / "dets", has_sides=True), iou_threshold)
    assert ten_digits(evaluation.map) == area
    assert ten_digits(evaluation.map11) == eleven_points


def test_figures_of_one_class_without_inclusive_pixels() -> None:
    folder = FIXTURES / "padilla_voc"
    found, annotations = read_fixture(folder / "gts", folder / "dets", has_sides=True)
    areas = [evaluate_voc(found, annotations, iou, inclusive_pixels=False).map for iou in (0.1, 0.3, 0.5, 0.75)]
    assert [f"{area:.10f}" for area in areas] == ["0.2801328502", "0.2253968254", "0.0222222222", "0.0000000000"]


def test_published_figures_of_thirty_classes() -> None:
    folder = FIXTURES / "cartucho_map"
    found, annotations = read_fixture(folder / "ground-truth", folder / "detection-results", has_sides=False)
    evaluation = evaluate_voc(found, annotations)
    assert len(evaluation.per_class) == 30
    assert f"{100 * evaluation.map:.2f}" == "31.05"
    assert f"{100 * evaluation.map:.4f}" == "31.0477"
    assert f"{100 * evaluation.map11:.4f}" == "31.6965"
    assert f"{100 * evaluate_voc(found, annotations, inclusive_pixels=False).map:.4f}" == "31.0297"


def test_a_box_is_found_once_and_difficult_ones_count_neither_way() -> None:
    boxes = torch.tensor([[0.0, 0, 9, 9], [50, 50, 59, 59], [0, 0, 9, 9]])
    found = some_detections(
        ((0, 0, 9, 9), 0.9, 0),
        ((0, 0, 9, 8), 0.8, 0),
        ((50, 50, 59, 59), 0.7, 0),
        ((50, 50, 59, 58), 0.6, 0),
        ((20, 20, 29, 29), 0.5, 0),
        ((0, 0, 9, 9), 0.4, 1),
    )
    matched = match(found, boxes, torch.tensor([0, 0, 1]), torch.tensor([False, True, False]))
    assert matched.tolist() == [0, FALSE_POSITIVE, NEITHER, NEITHER, FALSE_POSITIVE, 2]
    nothing = match(found, boxes[:0], torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.bool))
    assert nothing.tolist() == [FALSE_POSITIVE] * 6


def test_the_inclusive_pixel_decides_at_the_threshold() -> None:
    found = some_detections(((0, 0, 9, 4), 0.9, 0))
    box, label, ignore = torch.tensor([[0.0, 0, 9, 9]]), torch.tensor([0]), torch.tensor([False])
    assert match(found, box, label, ignore, 0.5, inclusive_pixels=True).tolist() == [0]  # 50 of 100 pixels
    assert match(found, box, label, ignore, 0.5, inclusive_pixels=False).tolist() == [FALSE_POSITIVE]  # 36 of 81
    empty = torch.tensor([[3.0, 3, 3, 3]])
    assert match(some_detections(((3, 3, 3, 3), 0.9, 0)), empty, label, ignore, 0.5, False).tolist() == [FALSE_POSITIVE]


def test_perfect_absent_and_undefined() -> None:
    annotations = some_annotations(("a", "b", "c"), [[((0, 0, 9, 9), 0, False)], [((0, 0, 9, 9), 1, True)], []])
    nothing = some_detections()
    perfect = evaluate_voc([some_detections(((0, 0, 9, 9), 0.9, 0)), nothing, nothing], annotations)
    assert (perfect.map, perfect.map11) == (1.0, 1.0)  # b has a difficult box alone, c has none
    assert [perfect.per_class[name].ap for name in "abc"] == [1.0, -1.0, -1.0]
    absent = evaluate_voc([nothing] * 3, annotations)
    assert (absent.map, absent.map11) == (0.0, 0.0)
    undefined = evaluate_voc([nothing], some_annotations(("a",), [[]]))
    assert (undefined.map, undefined.map11) == (-1.0, -1.0)


def test_areas_of_a_curve_by_hand() -> None:
    """Right, wrong, right of three boxes: precision 1, 1/2, 2/3 at recall 1/3, 1/3, 2/3."""
    annotations = some_annotations(("a",), [[((20.0 * k, 0, 20.0 * k + 9, 9), 0, False) for k in range(3)]])
    found = some_detections(((0, 0, 9, 9), 0.9, 0), ((0, 80, 9, 89), 0.8, 0), ((20, 0, 29, 9), 0.7, 0))
    evaluation = evaluate_voc([found], annotations)
    assert evaluation.map == pytest.approx(1 / 3 + 1 / 3 * 2 / 3)
    assert evaluation.map11 == pytest.approx((4 * 1 + 3 * 2 / 3) / 11)
    assert evaluation.per_class["a"].precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3])


def brute_force(found: list[Detections], annotations: Annotations, iou_threshold: float) -> tuple[float, float]:
    """The kit's rules for one class, detection after detection over all images."""
    rows = [
        (float(score), image, box.tolist())
        for image, detections in enumerate(found)
        for box, score in zip(detections.boxes, detections.scores, strict=True)
    ]
    taken: set[int] = set()
    right: list[bool] = []
    for _, image, (x1, y1, x2, y2) in sorted(rows, key=lambda row: -row[0]):
        best, best_row = -1.0, -1
        for row in range(annotations.rows(image).start, annotations.rows(image).stop):
            a1, b1, a2, b2 = annotations.boxes[row].tolist()
            common = max(min(x2, a2) - max(x1, a1) + 1, 0) * max(min(y2, b2) - max(y1, b1) + 1, 0)
            union = (x2 - x1 + 1) * (y2 - y1 + 1) + (a2 - a1 + 1) * (b2 - b1 + 1) - common
            if common / union > best:
                best, best_row = common / union, row
        if best >= iou_threshold:
            if annotations.ignore[best_row]:
                continue
            right.append(best_row not in taken)
            taken.add(best_row)
        else:
            right.append(False)
    boxes = int((~annotations.ignore).sum())
    if boxes == 0:
        return -1.0, -1.0
    recalls = [sum(right[: k + 1]) / boxes for k in range(len(right))]
    precisions = [sum(right[: k + 1]) / (k + 1) for k in range(len(right))]

    def best_from(recall: float) -> float:
        return max((p for p, r in zip(precisions, recalls, strict=True) if r >= recall), default=0.0)

    area = sum(best_from(k / boxes) for k in range(1, boxes + 1)) / boxes
    return sum(best_from(k) for k in np.linspace(0, 1, 11)) / 11, area


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), iou_threshold=st.sampled_from([0.2, 0.5, 0.75]))
def test_equal_to_the_rules_taken_literally(seed: int, iou_threshold: float) -> None:
    random = np.random.default_rng(seed)

    def box() -> Box:
        x, y = random.integers(0, 12, 2).tolist()
        width, height = random.integers(0, 9, 2).tolist()
        return (x, y, x + width, y + height)

    images = [[(box(), 0, bool(random.random() < 0.3)) for _ in range(random.integers(0, 5))] for _ in range(3)]
    found = [
        some_detections(*((box(), float(random.random()), 0) for _ in range(random.integers(0, 9)))) for _ in images
    ]
    annotations = some_annotations(("a",), images)
    evaluation = evaluate_voc(found, annotations, iou_threshold)
    assert (evaluation.map11, evaluation.map) == pytest.approx(brute_force(found, annotations, iou_threshold))
