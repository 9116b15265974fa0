"""The boxes of one image file: what is read, and what is refused with its place in the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from detector.data.box_file import read_box_file
from detector.errors import UserError

BOX_EXPECTED = "expected [x1, y1, x2, y2] with x1 < x2 and y1 < y2, in pixels"


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        ("[[4, 4, 60, 60], [60, 4, 4, 60]]", (f"box 2 of 2: {BOX_EXPECTED}", "got [60, 4, 4, 60]")),
        ("[[4, 4, 4, 60]]", (f"box 1 of 1: {BOX_EXPECTED}", "got [4, 4, 4, 60]")),
        ("[[4, 4, 1e9, 60]]", (f"box 1 of 1: {BOX_EXPECTED} up to 1e+07, got [4, 4, 1000000000.0, 60]",)),
        ("[[4, 4, NaN, 60]]", ("box 1 of 1: expected a number, got nan",)),
        ("[[4, 4, 60, Infinity]]", ("box 1 of 1: expected a number, got inf",)),
        ("[[4, 4, 60]]", (f"box 1 of 1: {BOX_EXPECTED}", "got [4, 4, 60]")),
        ("[4, 4, 60, 60]", (f"box 1 of 4: {BOX_EXPECTED}", "got 4")),
        (
            "[[4, 4, 60, 60], [96, 4, 120, 60]]",
            ("box 2 of 2: expected a box in the image, 96x64, got [96.0, 4.0, 120.0, 60.0]",),
        ),
        (
            "[[0.1, 0.1, 0.5, 1]]",
            ("expected boxes in pixels of the image, 96x64, got relative coordinates", "[0.1, 0.1, 0.5, 1.0]"),
        ),
        ('{"boxes": 1}', ("boxes.json: expected a JSON list of boxes [x1, y1, x2, y2], got {'boxes': 1}",)),
        ("[[4, 4,", ("boxes.json: not JSON",)),
    ],
)
def test_boxes_that_are_none_of_the_image_are_refused(content: str, messages: tuple[str, ...], tmp_path: Path) -> None:
    Image.new("RGB", (96, 64)).save(tmp_path / "photo.png")
    (tmp_path / "boxes.json").write_text(content)
    with pytest.raises(UserError) as raised:
        read_box_file(tmp_path / "photo.png", tmp_path / "boxes.json")
    text = str(raised.value)
    assert text.startswith(str(tmp_path / "boxes.json"))
    assert [message for message in messages if message not in text] == []


def test_the_first_pixel_of_a_tiny_image_is_a_box(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "photo.png")
    (tmp_path / "boxes.json").write_text("[[0, 0, 1, 1]]")
    assert read_box_file(tmp_path / "photo.png", tmp_path / "boxes.json").boxes.tolist() == [[0, 0, 1, 1]]


def test_an_empty_list_is_an_image_without_boxes(tmp_path: Path) -> None:
    Image.new("RGB", (96, 64)).save(tmp_path / "photo.png")
    (tmp_path / "boxes.json").write_text("[]")
    annotations = read_box_file(tmp_path / "photo.png", tmp_path / "boxes.json")
    assert (len(annotations), annotations.boxes.shape) == (1, (0, 4))
