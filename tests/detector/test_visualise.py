"""The pictures: that they are written, in the shape that their content asks for, whatever the classes are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from detector.data.loader import Batch
from detector.evaluation.voc import ClassCurve, VocEvaluation
from detector.model import Detections
from detector.model.backbone import STRIDES
from detector.visualise import fonts, palette
from detector.visualise.assignment import Scene, draw_assignment
from detector.visualise.comparison import Judged, Row, draw_comparison
from detector.visualise.curves import draw_curves
from detector.visualise.detections import Picture, draw_detections, draw_targets
from pseudo_iou_ops import IGNORED, AssignRule

NOT_A_FORMULA = r"$\frac$"  # matplotlib takes it for one, and fails on it, unless it is told otherwise
IMAGE = torch.zeros(3, 50, 60, dtype=torch.uint8)
BOX = torch.tensor([[1.0, 2, 30, 40]])


def found_box() -> Detections:
    return Detections(BOX, torch.tensor([0.5]), torch.tensor([0]))


def test_detections_beside_their_ground_truth(tmp_path: Path) -> None:
    alone, beside = tmp_path / "alone.png", tmp_path / "beside.png"
    draw_detections([Picture(IMAGE, found_box(), None)], (NOT_A_FORMULA,), alone)
    draw_detections([Picture(IMAGE, found_box(), (BOX, torch.tensor([0])))], (NOT_A_FORMULA,), beside)
    assert Image.open(beside).size == (2 * Image.open(alone).size[0], Image.open(alone).size[1])
    assert len(np.unique(np.array(Image.open(alone).convert("RGB")).reshape(-1, 3), axis=0)) > 2


def test_the_targets_of_a_batch(batch: Batch, tmp_path: Path) -> None:
    names = tuple("abcde")
    draw_targets(batch, names, tmp_path / "batch.png")
    assert min(Image.open(tmp_path / "batch.png").size) > 100


def test_a_name_that_no_font_can_write_is_told_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    monkeypatch.setattr(fonts, "_system_fonts", lambda: ())
    fonts._families.cache_clear()
    for name in ("a止", "a止", "止a"):
        draw_detections([Picture(IMAGE, found_box(), None)], (name,), tmp_path / "found.png")
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert (
        "class names: no font of this system has 止: pictures show boxes in their place; install Noto Sans CJK" in err
    )
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def pixels_of(name: str, file: Path) -> np.ndarray[Any, Any]:
    draw_detections([Picture(IMAGE, found_box(), None)], (name,), file)
    return np.array(Image.open(file).convert("RGB"))


def test_another_font_writes_what_matplotlibs_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A font of matplotlib's own stands in for the system's: its mathematical letters are not in DejaVu Sans."""
    import matplotlib

    file = Path(matplotlib.get_data_path()) / "fonts/ttf/STIXGeneral.ttf"
    fonts._families.cache_clear()
    monkeypatch.setattr(fonts, "_system_fonts", lambda: (fonts._read(str(file)),))
    has = fonts._read(str(file))
    own = fonts._read(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"))
    assert has is not None
    assert own is not None
    letter, *_ = sorted(c for c in has.characters - own.characters if c.isprintable())
    assert fonts.families_for([letter]) == ("STIXGeneral",)
    assert fonts.families_for(["cat", "Hund", "собака"]) == ()
    drawn = pixels_of(letter, tmp_path / "drawn.png")
    assert capfd.readouterr().err == ""
    fonts._families.cache_clear()
    monkeypatch.setattr(fonts, "_system_fonts", lambda: ())
    box = pixels_of(letter, tmp_path / "box.png")
    assert f"has {letter}: pictures show boxes" in capfd.readouterr().err
    assert drawn.shape != box.shape or (drawn != box).any()
    fonts._families.cache_clear()


def test_what_to_install_is_told_by_script() -> None:
    assert fonts._advice(frozenset("止血钳")).endswith("install Noto Sans CJK")
    assert fonts._advice(frozenset("กあ")).endswith("install Noto Sans CJK and Noto Sans Thai")


def test_a_file_that_is_no_font_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    assert fonts._read(str(tmp_path / "broken.ttf")) is None
    assert fonts._read(str(tmp_path / "nowhere.ttf")) is None


def test_curves_have_a_panel_a_class(tmp_path: Path) -> None:
    curve = ClassCurve(np.array([0.5, 1.0]), np.array([1.0, 0.5]), 0.75, 0.75)
    undefined = ClassCurve(np.empty(0), np.empty(0), -1.0, -1.0)
    classes = {NOT_A_FORMULA: curve, **dict.fromkeys("bcdefg", undefined)}
    draw_curves(VocEvaluation(0.75, 0.75, classes), tmp_path / "curves.png")
    width, height = Image.open(tmp_path / "curves.png").size
    assert width > height > 300


def test_a_comparison_has_a_line_an_image_and_a_panel_a_detector(tmp_path: Path) -> None:
    judged = Judged(found_box(), torch.tensor([True]), torch.tensor([True, False]))
    boxes = torch.cat((BOX, BOX + 5))
    row = Row(IMAGE, boxes, torch.tensor([0, 1]), torch.tensor([False, True]), [judged, judged])
    sizes = []
    for rows in ([row], [row, row]):
        draw_comparison(rows, ("one", NOT_A_FORMULA), (NOT_A_FORMULA, "b"), tmp_path / "comparison.png")
        sizes.append(Image.open(tmp_path / "comparison.png").size)
    assert sizes[0][0] == sizes[1][0]
    assert sizes[1][1] > 1.5 * sizes[0][1]


@pytest.mark.parametrize(
    "rule",
    [
        AssignRule(threshold=0.3, ignore_threshold=0.2),
        AssignRule(metric="centerness", normalize_by_stride=True),
        AssignRule(metric="scaled_box", threshold=0.5),
        AssignRule(metric="center_radius", threshold=1.5),
        AssignRule(metric="none"),
    ],
    ids=lambda rule: rule.metric,
)
def test_an_assignment_is_drawn_and_returned(rule: AssignRule, tmp_path: Path) -> None:
    scene = Scene(
        torch.zeros(3, 64, 96, dtype=torch.uint8),
        torch.tensor([[4.0, 4, 60, 60], [70, 3, 73, 6]]),
        torch.tensor([[60.0, 30, 96, 64]]),
        torch.tensor([0, 1]),
    )
    (result,) = draw_assignment(scene, [("rule", rule)], STRIDES, [0, 1], tmp_path / "view.png")
    assert int(result.pos_per_box[0]) > 0
    assert int(result.pos_per_box[1]) == 0  # no point lies in the small box
    assert bool((result.matched == IGNORED).any())
    width, height = Image.open(tmp_path / "view.png").size
    assert width > height > 300


def test_an_assignment_of_one_line_of_pixels_is_stretched(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """At its true shape, no panel had a height: its labels covered each other, and matplotlib warned."""
    boxes, labels = torch.tensor([[4.0, 0, 300, 1]]), torch.tensor([0])
    scene = Scene(torch.zeros(3, 1, 600, dtype=torch.uint8), boxes, torch.zeros(0, 4), labels)
    draw_assignment(scene, [("all", AssignRule(metric="none"))], STRIDES, [0, 1, 2], tmp_path / "view.png")
    assert [str(warning.message) for warning in recwarn] == []
    width, height = Image.open(tmp_path / "view.png").size
    assert height > width / 3
    pixels = np.array(Image.open(tmp_path / "view.png").convert("L"))
    assert (pixels == 0).sum(axis=0).max() > 100  # the image itself, which is black


def columns_of_a_caption(x: float, file: Path) -> np.ndarray[Any, Any]:
    """Those of the picture in which a caption is seen that begins at ``x`` of 600 pixels."""
    figure, axes = palette.pyplot().subplots(layout="constrained")
    palette.show_image(axes, np.ones((60, 600, 3)), 600, 60)
    palette.add_caption(axes, x, 30, "a class of a long name 0.95", palette.INK)
    palette.save(figure, file)
    return (np.array(Image.open(file).convert("L")) < 128).any(axis=0).nonzero()[0]


def test_a_caption_is_cut_at_no_side_of_the_image(tmp_path: Path) -> None:
    middle, left, right = (columns_of_a_caption(x, tmp_path / "caption.png") for x in (100, -20, 595))
    for columns in (left, right):
        assert abs(len(columns) - len(middle)) <= 3  # the margin about the text
    assert left[0] < middle[0] < right[0]


def test_a_thin_image_makes_a_picture_of_sound_size(tmp_path: Path) -> None:
    """A column of pixels would be a picture of gigabytes at the usual width."""
    nothing = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    for height, width in ((1600, 1), (1, 1600)):
        picture = Picture(torch.zeros(3, height, width, dtype=torch.uint8), nothing, None)
        draw_detections([picture], ("cat",), tmp_path / "x.png", panel_width=1.0)
        assert max(Image.open(tmp_path / "x.png").size) < 600
