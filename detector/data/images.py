"""From an image file to upright RGB pixels: the one place where files are decoded.

Whatever reads an image (training, evaluation, prediction, export's check, pictures, the data check) reads it here,
so that all see the same pixels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import UserError

Array = np.ndarray[Any, Any]
Size = tuple[int, int]
"""Height and width in pixels."""

# A small file can hold an image that fills the memory. Pillow refuses one of more pixels, unless told otherwise.
LARGEST_IMAGE = 178_956_970
# Pillow's guard is one number for the whole process; ``data.max_pixels`` is looked at before anything is decoded.
Image.MAX_IMAGE_PIXELS = None

ORIENTATION = 0x0112  # the tag of EXIF
FIRST_TURNED = 5  # orientations from here on swap the sides
TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
TO_STORED = {**TO_UPRIGHT, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # tags of TIFF


class Head(NamedTuple):
    """What the head of an image file says."""

    size: Size
    """As a viewer shows the image, EXIF orientation applied."""
    orientation: int
    """EXIF's, 1 to 8; 1 is upright, and so is what says nothing."""
    has_more_frames: bool
    """Whether it is an animation or has pages; the first one is read."""

    def is_stored(self, annotated: Size) -> bool:
        """Whether the annotated size says that the annotator saw the image as stored, not upright."""
        return self.orientation >= FIRST_TURNED and annotated != self.size and annotated == self.size[::-1]


class Decoded(NamedTuple):
    """An image as it is read."""

    pixels: Tensor
    """(3, H, W) uint8 RGB."""
    head: Head
    is_transparent: bool
    """Whether it has transparent pixels, which are read on white."""


def read_image(file: str, max_pixels: int = LARGEST_IMAGE) -> Tensor:
    """(3, H, W) uint8 RGB, upright; see :func:`decode`."""
    return decode(file, None, max_pixels).pixels


def read_image_size(file: str, max_pixels: int = LARGEST_IMAGE) -> Size:
    """Height and width of the upright image, from the head of the file alone; raises UserError that names the file."""
    return read_head(file, max_pixels).size


def read_head(file: str, max_pixels: int = LARGEST_IMAGE) -> Head:
    """What the head of the file says; raises UserError that names the file."""
    with _opened(file, max_pixels) as image:
        return _head_of(image)


def decode(file: str, annotated: Size | None, max_pixels: int = LARGEST_IMAGE) -> Decoded:
    """Decode the first frame of an image file to 8-bit RGB.

    EXIF orientation is applied, unless the annotated size has the sides of the stored image: then the annotator saw
    that one. Gray of 16 bits is scaled from 0..65535 to 0..255. Transparent pixels are read on white, as viewers
    show them.

    Args:
        file: its path.
        annotated: height and width in the annotations; None if there are none.
        max_pixels: of a larger image, nothing is decoded.

    Raises:
        UserError: names the file, which is missing, broken, too large, or holds numbers of no known white.
    """
    with _opened(file, max_pixels) as image:
        head = _head_of(image)
        stored_format = image.format
        rgb, is_transparent = _to_rgb(image)
    is_turned = stored_format == "TIFF"  # Pillow itself turns these, and no others
    if annotated is not None and head.is_stored(annotated):
        turn = TO_STORED[head.orientation] if is_turned else None
    else:
        turn = None if is_turned else TO_UPRIGHT.get(head.orientation)
    if turn is not None:
        rgb = rgb.transpose(turn)
    return Decoded(torch.from_numpy(np.array(rgb)).permute(2, 0, 1), head, is_transparent)


@contextlib.contextmanager
def _opened(file: str, max_pixels: int) -> Iterator[Image.Image]:
    try:
        with Image.open(file) as image:
            pixels = image.width * image.height
            if pixels > max_pixels:
                raise UserError(
                    f"{file}: image of {image.width}x{image.height} exceeds data.max_pixels, {max_pixels}; "
                    f"set it to {pixels} if you trust the file, or cut the image into tiles"
                )
            yield image
    except UserError:
        raise
    except Exception as error:  # decoders raise errors of many kinds for broken content
        reason = getattr(error, "strerror", None) or str(error)  # a system's error names the file once more
        raise UserError(f"{file}: not a readable image: {' '.join(reason.split())}") from None


def _head_of(image: Image.Image) -> Head:
    """To be called before the pixels are loaded: then Pillow forgets the orientation of what it turned."""
    orientation = _orientation(image)
    size = (image.height, image.width)
    if orientation >= FIRST_TURNED and image.format != "TIFF":
        size = size[::-1]
    # The second frame of MPO, the format of many cameras, is a preview or the other eye's view.
    has_more_frames = bool(getattr(image, "is_animated", False)) and image.format != "MPO"
    return Head(size, orientation, has_more_frames)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # of a broken EXIF block; viewers show the image as stored
        return 1
    return value if isinstance(value, int) and value in TO_UPRIGHT else 1


def _to_rgb(image: Image.Image) -> tuple[Image.Image, bool]:
    """The image in mode RGB, as stored, and whether it has transparent pixels."""
    if image.mode == "RGB" and "transparency" not in image.info:  # as it nearly always is: no copy is made
        image.load()
        return image, False
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_gray_of(image)).convert("RGB"), False
    if not image.has_transparency_data:
        return image.convert("RGB"), False
    with_alpha = image.convert("LA") if image.mode == "La" else image
    with_alpha = with_alpha.convert("RGBA")
    lowest, _ = with_alpha.getchannel("A").getextrema()
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, with_alpha).convert("RGB"), lowest < 255  # type: ignore[operator]


def _gray_of(image: Image.Image) -> Array:
    """(H, W) uint8 from gray of more than 8 bits, black and white in their places, to the nearest value."""
    image.load()
    tags: Any = getattr(image, "tag_v2", {})
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        raise ValueError(f"gray of 32 bits (mode {image.mode}) has no known white; save it with 8 or 16 bits a channel")
    bits = int(np.ravel(tags.get(BITS_PER_SAMPLE, 16))[0]) if image.format == "TIFF" else 16
    white = 2**bits - 1
    values = np.asarray(image).astype(np.int64).clip(0, white)
    gray = (values * 255 + white // 2) // white
    is_inverted = tags.get(PHOTOMETRIC) == WHITE_IS_ZERO and image.format == "TIFF"
    gray = 255 - gray if is_inverted else gray
    return np.asarray(gray, dtype=np.uint8)
