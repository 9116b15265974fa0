"""Image files without annotations, as a data set."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from .annotations import IMAGE_ENDINGS, Annotations, AnnotationsBuilder, Report, is_hidden, raise_error
from .images import LARGEST_IMAGE, read_image_size


def list_images(
    paths: Sequence[Path],
    class_names: tuple[str, ...],
    category_ids: Sequence[int],
    report: Report = raise_error,
    max_pixels: int = LARGEST_IMAGE,
) -> Annotations:
    """Image files without annotations; their ids count from 1, those that can not be read included.

    Args:
        paths: files, folders, whose images are taken by name, and patterns such as ``photos/**/*.jpg``. A file that
            occurs twice among them is taken once; hidden ones in a folder are not.
        class_names: what the labels of the detections stand for.
        category_ids: COCO's ids of the classes.
        report: told of each file that is missing or no image; if it returns, the file is left out.
        max_pixels: a larger image is not read.

    Raises:
        UserError: a file is missing or no image, or a folder or pattern has none.
    """
    builder = AnnotationsBuilder(class_names, category_ids, is_annotated=False, max_pixels=max_pixels)
    files = dict.fromkeys(file for path in paths for file in _files_of(path))
    for number, file in enumerate(files, start=1):
        try:
            height, width = read_image_size(str(file), max_pixels)
        except UserError as error:
            report(error)
        else:
            builder.add_image(file, number, height, width)
    return builder.build()


def _files_of(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if _is_image(file))
    elif not path.exists() and glob.has_magic(str(path)):
        files = [Path(name) for name in sorted(glob.glob(str(path), recursive=True)) if _is_image(Path(name))]
    else:
        return [path]
    if not files:
        raise UserError(f"--images: no image ({', '.join(IMAGE_ENDINGS)}) in {path}")
    return files


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_ENDINGS and file.is_file() and not is_hidden(file.name)
