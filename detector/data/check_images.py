"""The data check's look at the image files: at each of them, and at those that are the same."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ..errors import UserError
from ..progress import Progress
from .annotations import Annotations
from .images import Head, Size, decode, read_head
from .problems import (
    COPY,
    FRAMES,
    IN_BOTH,
    LISTED_TWICE,
    MISSING,
    ONE_COLOUR,
    OTHER_SIZE,
    TRANSPARENT,
    TURNED,
    UNREADABLE,
    Problem,
    problem,
)

MOST_THREADS = 16


class Looked(NamedTuple):
    """What is known of a file of a split."""

    file: str
    split: str
    problems: list[Problem]
    identity: tuple[int, int] | None = None
    """Device and inode, which links to a file share; None if it is missing."""
    bytes: int = 0


def look_at_images(annotations: Annotations, split: str, decoded: bool) -> list[Looked]:
    """Look at every image of a split; ``decoded`` decodes it, otherwise only its head is read."""
    files = annotations.files.tolist()
    progress = Progress(len(files), unit="image")
    found = []
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as threads:
        looks = threads.map(
            lambda file, size: _look(file, split, tuple(size), annotations.max_pixels, decoded),
            files,
            annotations.sizes.tolist(),
        )
        for look in looks:
            progress.advance()
            found.append(look)
    progress.close()
    return found


def check_uniqueness(looks: Sequence[Looked]) -> Iterator[Problem]:
    """Images that are listed twice or lie in two files with the same content, within a split and across them."""
    first_of: dict[tuple[int, int], Looked] = {}
    of_size: dict[int, list[Looked]] = {}
    for look in looks:
        if look.identity is None:
            continue
        first = first_of.setdefault(look.identity, look)
        if first is look:
            of_size.setdefault(look.bytes, []).append(look)
        elif first.split != look.split:
            yield problem(IN_BOTH, _same(look, first, "the file"))
        else:
            yield problem(LISTED_TWICE, _same(look, first, "the file"))
    for group in of_size.values():
        yield from _check_copies(group if len(group) > 1 else [])


def _check_copies(group: Sequence[Looked]) -> Iterator[Problem]:
    first_of: dict[bytes, Looked] = {}
    for look in group:
        try:
            content = hashlib.blake2b(Path(look.file).read_bytes()).digest()
        except OSError:  # told when the image was read
            continue
        first = first_of.setdefault(content, look)
        if first is not look:
            yield problem(COPY if first.split == look.split else IN_BOTH, _same(look, first, "a copy of"))


def _same(look: Looked, first: Looked, relation: str) -> str:
    return look.file if look.file == first.file else f"{look.file}: {relation} {first.file}"


def _look(file: str, split: str, size: Size, max_pixels: int, decoded: bool) -> Looked:
    try:
        status = os.stat(file)
    except (OSError, ValueError):
        return Looked(file, split, [problem(MISSING, file)])
    if not stat.S_ISREG(status.st_mode):
        return Looked(file, split, [problem(MISSING, file)])
    problems: list[Problem] = []
    try:
        if decoded:
            image = decode(file, size, max_pixels)
            head = image.head
            problems += _check_pixels(file, image.pixels, image.is_transparent)
        else:
            head = read_head(file, max_pixels)
        problems += _check_head(file, head, size)
    except UserError as error:
        problems.append(problem(UNREADABLE, str(error)))
    return Looked(file, split, problems, (status.st_dev, status.st_ino), status.st_size)


def _check_head(file: str, head: Head, annotated: Size) -> Iterator[Problem]:
    height, width = annotated
    is_stored = head.is_stored(annotated)
    if head.size != annotated and not is_stored:
        message = f"{file}: {head.size[1]}x{head.size[0]}, annotated as {width}x{height}"
        if head.size == (width, height):
            message += "; the sides are swapped, and the file holds no EXIF orientation that says so"
        yield problem(OTHER_SIZE, message)
    if head.orientation > 1:
        done = f"not applied: annotated as it is stored, {width}x{height}" if is_stored else "applied"
        yield problem(TURNED, f"{file}: orientation {head.orientation}, {done}")
    if head.has_more_frames:
        yield problem(FRAMES, file)


def _check_pixels(file: str, pixels: Tensor, is_transparent: bool) -> Iterator[Problem]:
    colour = pixels[:, :1, :1]
    # Nearly every image differs in its first row.
    if bool((pixels[:, :1] == colour).all()) and bool((pixels == colour).all()):
        values = " ".join(map(str, colour.flatten().tolist()))
        yield problem(ONE_COLOUR, f"{file}: red, green, blue {values}")
    if is_transparent:
        yield problem(TRANSPARENT, file)
