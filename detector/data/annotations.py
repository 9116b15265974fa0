"""The annotations of a data set, in flat tensors: loader processes copy no objects one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from .images import LARGEST_IMAGE, Size, decode, read_image_size
from .values import shown

# Told of each problem that a reader finds; if it returns, the reader goes on without the broken record.
Report = Callable[[UserError], None]

IMAGE_ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

LONGEST_NAME = 1024


class Remark(NamedTuple):
    """Something in the files that is read, but not as it is written; the data check warns of it."""

    kind: str
    """What remarks of a kind have in common."""
    message: str
    """One line that begins with the file."""


@dataclass(frozen=True)
class Annotations:
    """N images and M boxes; image i owns the boxes ``offsets[i]:offsets[i + 1]``. Labels are 0..C-1."""

    class_names: tuple[str, ...]
    category_ids: Tensor
    """(C,) int64, the data set's own id of each class."""
    files: np.ndarray[Any, Any]
    """(N,) str, paths of the images."""
    image_ids: Tensor
    """(N,) int64."""
    sizes: Tensor
    """(N, 2) int64, height and width."""
    offsets: Tensor
    """(N+1,) int64."""
    boxes: Tensor
    """(M, 4) float64, x1 y1 x2 y2 in pixels."""
    areas: Tensor
    """(M,) float64, as annotated: of the object, which need not be its box."""
    labels: Tensor
    """(M,) int64."""
    ignore: Tensor
    """(M,) bool, crowd (COCO) or difficult (VOC)."""
    is_annotated: bool = True
    """False for images that are only listed, as those of a test server: they can be predicted on, not scored."""
    max_pixels: int = LARGEST_IMAGE
    """Of an image with more, nothing is decoded."""
    remarks: tuple[Remark, ...] = ()

    def __len__(self) -> int:
        return len(self.files)

    def rows(self, index: int) -> slice:
        """The rows of ``boxes`` that belong to an image."""
        return slice(int(self.offsets[index]), int(self.offsets[index + 1]))

    def read_image(self, index: int) -> Tensor:
        """(3, H, W) uint8 RGB, turned as the annotator saw it; raises UserError that names the file."""
        height, width = self.sizes[index].tolist()
        return decode(str(self.files[index]), (height, width), self.max_pixels).pixels

    def select(self, indices: Sequence[int]) -> Annotations:
        """The annotations of some images, in the order given."""
        rows = [torch.arange(self.rows(i).start, self.rows(i).stop) for i in indices]
        kept = torch.cat([*rows, torch.empty(0, dtype=torch.int64)])
        images = torch.as_tensor(list(indices), dtype=torch.int64)
        return replace(
            self,
            files=self.files[images.numpy()],
            image_ids=self.image_ids[images],
            sizes=self.sizes[images],
            offsets=torch.tensor([0, *(len(r) for r in rows)]).cumsum(0),
            boxes=self.boxes[kept],
            areas=self.areas[kept],
            labels=self.labels[kept],
            ignore=self.ignore[kept],
        )

    def without_empty(self) -> Annotations:
        """Only the images that hold a box to train on."""
        return self.select([i for i in range(len(self)) if bool((~self.ignore[self.rows(i)]).any())])


@dataclass
class AnnotationsBuilder:
    """Collects what a reader reads, image after image."""

    class_names: tuple[str, ...]
    category_ids: Sequence[int]
    files: list[str] = field(default_factory=list)
    image_ids: list[int] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    counts: list[int] = field(default_factory=lambda: [0])
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    ignore: list[bool] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    is_annotated: bool = True
    max_pixels: int = LARGEST_IMAGE

    def add_image(self, file: Path, image_id: int, height: int, width: int) -> None:
        """Begin the next image; the boxes added from here on are its own."""
        self.files.append(str(file))
        self.image_ids.append(image_id)
        self.sizes.append((height, width))
        self.counts.append(0)

    def add_box(self, box: tuple[float, float, float, float], area: float, label: int, ignore: bool) -> None:
        self.boxes.append(box)
        self.areas.append(area)
        self.labels.append(label)
        self.ignore.append(ignore)
        self.counts[-1] += 1

    def remark(self, kind: str, message: str) -> None:
        self.remarks.append(Remark(kind, message))

    def build(self) -> Annotations:
        return Annotations(
            class_names=self.class_names,
            category_ids=torch.tensor(self.category_ids, dtype=torch.int64),
            files=np.array(self.files, dtype=np.str_),
            image_ids=torch.tensor(self.image_ids, dtype=torch.int64),
            sizes=torch.tensor(self.sizes, dtype=torch.int64).reshape(-1, 2),
            offsets=torch.tensor(self.counts, dtype=torch.int64).cumsum(0),
            boxes=torch.tensor(self.boxes, dtype=torch.float64).reshape(-1, 4),
            areas=torch.tensor(self.areas, dtype=torch.float64),
            labels=torch.tensor(self.labels, dtype=torch.int64),
            ignore=torch.tensor(self.ignore, dtype=torch.bool),
            is_annotated=self.is_annotated,
            max_pixels=self.max_pixels,
            remarks=tuple(self.remarks),
        )


def raise_error(error: UserError) -> None:
    """The report of a reader that stops at the first problem."""
    raise error


def path_inside(folder: Path, name: str, source: Path) -> Path:
    """``folder / name``; UserError if the name leaves the folder. Symbolic links are the user's own: followed.

    Backslashes part folders, as Windows writes them, unless there is a file with backslashes in its name.
    """
    # Names of control characters or of any length would break the lines and the array that they are kept in.
    if not 0 < len(name) <= LONGEST_NAME or any(ord(c) < 32 or 0xD800 <= ord(c) <= 0xDFFF for c in name):
        raise UserError(f"{source}: expected a file name of 1 to {LONGEST_NAME} characters, got {shown(name)}")
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.is_absolute() or path.anchor or ".." in path.parts:
            raise UserError(f"{source}: file name {shown(name)} leaves the data folder")
    if "\\" in name and not (folder / name).exists():
        name = name.replace("\\", "/")
    return folder / name


def size_from_image(image: Path, where: str, max_pixels: int) -> Size:
    """The size that annotations do not give; raises UserError that begins with ``where``."""
    try:
        return read_image_size(str(image), max_pixels)
    except UserError as error:
        raise UserError(f"{where}: no height and width, and the image that has them can not be read: {error}") from None


def is_hidden(name: str) -> bool:
    """Whether a file or folder is passed over where a folder is searched: hidden, or what macOS adds to archives."""
    return name.startswith(".") or name == "__MACOSX"
