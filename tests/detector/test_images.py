"""From files to pixels: modes, EXIF orientations, frames and sizes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, TiffImagePlugin
from torchvision.transforms import v2

from detector.config import DataConfig
from detector.data.annotations import Annotations, AnnotationsBuilder
from detector.data.check import check_data
from detector.data.files import list_images
from detector.data.images import ORIENTATION, decode, read_head, read_image, read_image_size
from detector.data.layout import find_data
from detector.data.loader import DetectionDataset
from detector.data.problems import by_kind
from detector.data.transforms import evaluation_transform
from detector.errors import UserError

# Where each orientation of EXIF says that the stored image's corners are shown: the upright image as an index into
# the stored one, written out from the standard's own words ("the 0th row is the visual right side", ...).
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a[::-1].transpose(1, 0, 2),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: a[:, ::-1].transpose(1, 0, 2),
}


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save_turned(file: Path, pixels: np.ndarray, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"lossless": True} if file.suffix == ".webp" else {}
    Image.fromarray(pixels).save(file, exif=exif, **options)


def as_array(image: torch.Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).numpy()


def one_image(file: Path, height: int, width: int) -> Annotations:
    builder = AnnotationsBuilder(("cat",), [1])
    builder.add_image(file, 1, height, width)
    builder.add_box((1, 2, 5, 7), 20.0, 0, False)
    return builder.build()


@pytest.mark.parametrize("ending", [".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(orientation: int, ending: str, tmp_path: Path) -> None:
    """Upright where nothing else is known, and where the annotated size is that of the upright image."""
    file, stored = tmp_path / f"x{ending}", picture(6, 9)
    save_turned(file, stored, orientation)
    expected = UPRIGHT[orientation](stored)
    height, width = expected.shape[:2]
    assert np.array_equal(as_array(read_image(str(file))), expected)
    assert read_image_size(str(file)) == (height, width)
    assert read_head(str(file)).orientation == orientation
    assert list_images([file], ("cat",), [1]).sizes.tolist() == [[height, width]]
    annotations = one_image(file, height, width)
    assert np.array_equal(as_array(annotations.read_image(0)), expected)
    sample = DetectionDataset(annotations, v2.Identity())[(0, 0)]
    assert np.array_equal(as_array(sample.image), expected)
    assert sample.original_size == (height, width)


@pytest.mark.parametrize("ending", [".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(5, 9))
def test_the_annotator_saw_the_stored_image(orientation: int, ending: str, tmp_path: Path) -> None:
    file, stored = tmp_path / f"x{ending}", picture(6, 9)
    save_turned(file, stored, orientation)
    assert np.array_equal(as_array(one_image(file, 6, 9).read_image(0)), stored)
    with pytest.raises(UserError, match=r"expected height x width 6x8 as annotated, got 9x6"):
        DetectionDataset(one_image(file, 6, 8), v2.Identity())[(0, 0)]


@pytest.mark.parametrize("orientation", range(2, 9))
def test_of_a_square_image_exif_decides(orientation: int, tmp_path: Path) -> None:
    save_turned(tmp_path / "x.png", picture(8, 8), orientation)
    assert np.array_equal(
        as_array(one_image(tmp_path / "x.png", 8, 8).read_image(0)), UPRIGHT[orientation](picture(8, 8))
    )


def test_an_orientation_that_is_none_or_broken(tmp_path: Path) -> None:
    save_turned(tmp_path / "x.png", picture(6, 9), 77)
    assert np.array_equal(as_array(read_image(str(tmp_path / "x.png"))), picture(6, 9))
    Image.fromarray(picture(6, 9)).save(tmp_path / "y.png", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert np.array_equal(as_array(read_image(str(tmp_path / "y.png"))), picture(6, 9))


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_gray_of_16_bits_keeps_its_contrast(ending: str, dtype: str, tmp_path: Path) -> None:
    values = np.arange(0, 65536, 257, dtype=dtype).reshape(16, 16)
    mode = "I;16" if dtype == "<u2" else "I;16B"
    Image.frombuffer(mode, (16, 16), values.tobytes(), "raw", mode, 0, 1).save(tmp_path / f"x{ending}")
    read = as_array(read_image(str(tmp_path / f"x{ending}")))
    assert np.array_equal(read, np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2))
    near = (values.astype(np.int64) + np.where(values < 65535, 128, 0)).astype(dtype)  # rounds to the same value
    Image.frombuffer(mode, (16, 16), near.tobytes(), "raw", mode, 0, 1).save(tmp_path / f"x{ending}")
    assert np.array_equal(as_array(read_image(str(tmp_path / f"x{ending}"))), read)


def test_gray_of_16_bits_whose_zero_is_white(tmp_path: Path) -> None:
    values = np.array([[0, 257, 65535]], dtype="<u2")
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[262] = 0
    Image.frombuffer("I;16", (3, 1), values.tobytes(), "raw", "I;16", 0, 1).save(tmp_path / "x.tif", tiffinfo=tags)
    assert read_image(str(tmp_path / "x.tif"))[0].tolist() == [[255, 254, 0]]


def test_gray_of_16_bits_as_portable_graymap(tmp_path: Path) -> None:
    """Pillow opens it in mode I, with 65535 as white."""
    (tmp_path / "x.pgm").write_bytes(b"P5 3 1 65535\n" + np.array([0, 32896, 65535], dtype=">u2").tobytes())
    assert read_image(str(tmp_path / "x.pgm"))[0].tolist() == [[0, 128, 255]]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_gray_of_32_bits_is_refused_in_one_line(mode: str, tmp_path: Path) -> None:
    Image.new(mode, (4, 3), 1).save(tmp_path / "x.tif")
    message = rf"x\.tif: not a readable image: gray of 32 bits \(mode {mode}\) has no known white; save it with 8 or 16"
    with pytest.raises(UserError, match=message):
        read_image(str(tmp_path / "x.tif"))


@pytest.mark.parametrize(
    ("mode", "colour", "ending", "expected"),
    [
        ("1", 1, ".png", [255, 255, 255]),
        ("L", 77, ".png", [77, 77, 77]),
        ("LA", (77, 255), ".png", [77, 77, 77]),
        ("LA", (77, 0), ".png", [255, 255, 255]),
        ("RGB", (1, 2, 3), ".png", [1, 2, 3]),
        ("RGBA", (10, 20, 30, 255), ".png", [10, 20, 30]),
        ("RGBA", (10, 20, 30, 0), ".png", [255, 255, 255]),
        ("RGBA", (0, 100, 255, 51), ".png", [204, 224, 255]),  # a fifth of the colour, the rest white
        ("CMYK", (0, 255, 255, 0), ".tif", [255, 0, 0]),
        ("YCbCr", (128, 128, 128), ".tif", [128, 128, 128]),
        ("LAB", (255, 128, 128), ".tif", [255, 255, 255]),
    ],
)
def test_modes(mode: str, colour: tuple[int, ...], ending: str, expected: list[int], tmp_path: Path) -> None:
    Image.new(mode, (4, 3), colour).save(tmp_path / f"x{ending}")
    assert Image.open(tmp_path / f"x{ending}").mode == mode
    decoded = decode(str(tmp_path / f"x{ending}"), None)
    assert decoded.pixels.shape == (3, 3, 4)
    assert decoded.pixels[:, 1, 1].tolist() == pytest.approx(expected, abs=1)
    assert decoded.is_transparent == (mode in ("LA", "RGBA") and colour[-1] < 255)


@pytest.mark.parametrize("mode", ["HSV", "La", "RGBa", "RGBX", "PA"])
def test_modes_that_no_file_format_keeps(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoders of other versions may give them."""
    colours = {
        "HSV": (0, 255, 255),
        "La": (51, 51),
        "RGBa": (51, 0, 0, 51),
        "RGBX": (255, 0, 0, 9),
        "PA": (0, 0),
    }
    image = Image.new(mode, (4, 3), colours[mode])
    monkeypatch.setattr(Image, "open", lambda file: image)
    expected = {"HSV": [255, 0, 0], "La": [255] * 3, "RGBa": [255, 204, 204], "RGBX": [255, 0, 0], "PA": [255] * 3}
    assert read_image("x.gif")[:, 1, 1].tolist() == pytest.approx(expected[mode], abs=1)


def test_palettes(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 100, 50, 9, 8, 7])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "opaque.png")
    assert read_image(str(tmp_path / "opaque.png")).flatten(1).T.tolist() == [[200, 100, 50], [9, 8, 7]]
    image.save(tmp_path / "clear.png", transparency=1)
    assert read_image(str(tmp_path / "clear.png")).flatten(1).T.tolist() == [[200, 100, 50], [255, 255, 255]]
    Image.new("RGB", (2, 1), (5, 6, 7)).save(tmp_path / "key.png", transparency=(5, 6, 7))  # one colour is transparent
    assert read_image(str(tmp_path / "key.png"))[:, 0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("ending", [".gif", ".tif", ".png", ".webp"])
def test_of_several_frames_the_first_is_read(ending: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if ending == ".webp" else {}
    frames[0].save(tmp_path / f"x{ending}", save_all=True, append_images=frames[1:], **options)
    assert read_image(str(tmp_path / f"x{ending}"))[:, 4, 4].tolist() == [255, 0, 0]
    assert read_head(str(tmp_path / f"x{ending}")).has_more_frames
    frames[0].save(tmp_path / f"one{ending}")
    assert not read_head(str(tmp_path / f"one{ending}")).has_more_frames


def test_the_second_image_of_a_camera_file_is_no_frame(tmp_path: Path) -> None:
    """MPO holds a preview beside the photo, and has the ending of JPEG."""
    photo = Image.fromarray(picture(16, 24))
    photo.save(tmp_path / "x.jpg", format="MPO", save_all=True, append_images=[Image.new("RGB", (24, 16))])
    assert Image.open(tmp_path / "x.jpg").format == "MPO"
    assert not read_head(str(tmp_path / "x.jpg")).has_more_frames


def test_an_image_of_more_pixels_than_allowed(tmp_path: Path) -> None:
    Image.new("L", (40, 30), 7).save(tmp_path / "x.png")
    message = r"x\.png: image of 40x30 exceeds data\.max_pixels, 1199; set it to 1200 if you trust the file, or cut"
    for read in (read_image, read_image_size):
        assert read(str(tmp_path / "x.png"), 1200) is not None
        with pytest.raises(UserError, match=message):
            read(str(tmp_path / "x.png"), 1199)
    with pytest.raises(UserError, match=message):
        list_images([tmp_path / "x.png"], ("cat",), [1], max_pixels=1199)
    with pytest.raises(UserError, match=message):
        replace(one_image(tmp_path / "x.png", 30, 40), max_pixels=1199).read_image(0)


def test_more_pixels_than_pillow_allows(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    Image.new("1", (15_000, 12_000)).save(tmp_path / "x.png")
    assert read_image_size(str(tmp_path / "x.png"), 15_000 * 12_000) == (12_000, 15_000)
    with pytest.raises(UserError, match=r"exceeds data\.max_pixels"):
        read_image_size(str(tmp_path / "x.png"))
    assert not list(recwarn)


def test_files_that_can_not_be_read_may_be_passed_over(tmp_path: Path) -> None:
    Image.new("RGB", (5, 4)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no image")
    Image.new("RGB", (7, 6)).save(tmp_path / "c.png")
    (tmp_path / "._a.png").write_text("as macOS leaves it on other systems' disks")
    problems: list[UserError] = []
    listed = list_images([tmp_path, tmp_path / "a.png"], ("cat",), [1], report=problems.append)
    assert [Path(file).name for file in listed.files] == ["a.png", "c.png"]
    assert not listed.is_annotated
    assert len(problems) == 1
    assert "b.png: not a readable image" in str(problems[0])


@pytest.mark.parametrize(("height", "width"), [(1, 1600), (1600, 1), (3, 4000)])
def test_thin_images_keep_a_pixel(height: int, width: int, tmp_path: Path) -> None:
    Image.fromarray(picture(height, width)).save(tmp_path / "x.png")
    config = DataConfig(eval_short_side=64, max_side=128)
    sample = DetectionDataset(one_image(tmp_path / "x.png", height, width), evaluation_transform(config))[(0, 0)]
    assert min(sample.image.shape[-2:]) == 1
    assert max(sample.image.shape[-2:]) == 128


def test_the_data_check_tells_what_is_read(tmp_path: Path) -> None:
    """Orientations 2 to 8, frames, one colour, transparency: each with its file."""
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
    images = []
    for orientation in range(1, 9):
        save_turned(tmp_path / f"train/{orientation}.png", picture(6, 9 + orientation), orientation)
        images.append((f"{orientation}.png", *UPRIGHT[orientation](picture(6, 9 + orientation)).shape[:2]))
    save_turned(tmp_path / "train/stored.png", picture(7, 9), 6)
    images.append(("stored.png", 7, 9))
    Image.new("RGB", (9, 7), (1, 2, 3)).save(tmp_path / "train/plain.png")
    frames = [Image.fromarray(picture(7, width)) for width in (9, 9)]
    frames[0].save(tmp_path / "train/frames.tif", save_all=True, append_images=[frames[1].rotate(180)])
    clear = np.dstack((picture(7, 9), np.full((7, 9), 100, dtype=np.uint8)))
    Image.fromarray(clear).save(tmp_path / "train/clear.png")
    images += [(name, 7, 9) for name in ("plain.png", "frames.tif", "clear.png")]
    Image.fromarray(picture(8, 8)).save(tmp_path / "val/x.png")
    (tmp_path / "annotations").mkdir()
    for split, listed in (("train", images), ("val", [("x.png", 8, 8)])):
        records = [
            {"id": k, "file_name": name, "height": height, "width": width}
            for k, (name, height, width) in enumerate(listed)
        ]
        boxes = [{"id": k, "image_id": k, "category_id": 1, "bbox": [1, 1, 3, 4]} for k in range(len(listed))]
        content = {"images": records, "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}
        (tmp_path / f"annotations/instances_{split}.json").write_text(json.dumps(content))
    found = {kind: texts for (_, kind), texts in by_kind(check_data(find_data(tmp_path)).problems).items()}
    train = tmp_path / "train"
    assert found == {
        "image with an EXIF orientation": [
            *(f"{train / str(k)}.png: orientation {k}, applied" for k in range(2, 9)),
            f"{train / 'stored.png'}: orientation 6, not applied: annotated as it is stored, 9x7",
        ],
        "image with several frames or pages, of which the first is read": [str(train / "frames.tif")],
        "image of a single colour": [f"{train / 'plain.png'}: red, green, blue 1 2 3"],
        "image with transparent pixels, which are read on white": [str(train / "clear.png")],
    }
    heads = {kind for _, kind in by_kind(check_data(find_data(tmp_path), decode=False).problems)}
    assert heads == {
        "image with an EXIF orientation",
        "image with several frames or pages, of which the first is read",
    }
