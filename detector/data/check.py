"""Finds what would break or spoil a training, and says in which file."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ..config import DataConfig
from ..errors import UserError
from ..places import find
from ..progress import Progress
from . import Split, load_annotations
from .annotations import Annotations, shown
from .classes import with_classes_of
from .coco import Record, category_ids_of, read_json
from .loader import read_image, read_image_size
from .voc import annotation_file, read_list

MOST_THREADS = 16
SPLITS: tuple[Split, ...] = ("train", "val")


@dataclass(frozen=True)
class Problem:
    """An error stops a training or teaches it something wrong; a warning is worth a look."""

    severity: Literal["error", "warning"]
    kind: str
    """What the problems of a kind have in common."""
    message: str
    """One line that begins with the file."""


@dataclass(frozen=True)
class SplitCounts:
    """What a split holds, broken records left out."""

    images: int
    boxes: int
    """Boxes to train on."""
    ignored: int
    """Crowd and difficult boxes."""
    empty: int
    """Images without a box to train on."""
    per_class: dict[str, int]


@dataclass(frozen=True)
class DataReport:
    """All that :func:`check_data` found."""

    splits: dict[Split, SplitCounts]
    problems: list[Problem]

    def count(self, severity: Literal["error", "warning"]) -> int:
        return sum(problem.severity == severity for problem in self.problems)


def check_data(config: DataConfig, decode: bool = True) -> DataReport:
    """Read both splits to the end, whatever is broken, and look at every box and image.

    Args:
        config: the data set.
        decode: decode every image, which finds truncated ones; otherwise only their heads are read.

    Raises:
        UserError: the folder is missing, or the configuration names no annotation file or no class.
    """
    counts: dict[Split, SplitCounts] = {}
    problems: list[Problem] = []
    files: dict[Split, set[str]] = {}
    class_names: tuple[str, ...] | None = None
    for split in SPLITS:
        annotations = _read(config, split, problems)
        if annotations is None:
            continue
        counts[split] = _count(annotations)
        files[split] = set(annotations.files.tolist())
        problems += [*_check_boxes(annotations), *_check_images(annotations, decode)]
        problems += _check_classes(annotations, split)
        if class_names is not None:
            problems += _check_agreement(annotations, class_names)
        class_names = annotations.class_names
        problems += _check_coco(config, split) if config.format == "coco" else ()
    for file in sorted(files.get("train", set()) & files.get("val", set())):
        problems.append(Problem("warning", "image in both train and val", file))
    if config.format == "voc":
        problems += _check_unlisted(config)
    return DataReport(counts, problems)


def _read(config: DataConfig, split: Split, problems: list[Problem]) -> Annotations | None:
    """A split without its broken records; None if nothing is left of it."""
    errors: list[UserError] = []
    try:
        annotations = load_annotations(config, split, errors.append)
    except UserError as error:
        if not errors:  # the configuration itself is wrong
            raise
        errors.append(error)
        annotations = None
    problems += [Problem("error", "annotation that can not be used", str(error)) for error in errors]
    return annotations


def _count(annotations: Annotations) -> SplitCounts:
    of_class = torch.bincount(annotations.labels[~annotations.ignore], minlength=len(annotations.class_names))
    return SplitCounts(
        images=len(annotations),
        boxes=int((~annotations.ignore).sum()),
        ignored=int(annotations.ignore.sum()),
        empty=int((_boxes_per_image(annotations) == 0).sum()),
        per_class=dict(zip(annotations.class_names, of_class.tolist(), strict=True)),
    )


def _check_boxes(annotations: Annotations) -> Iterator[Problem]:
    x1, y1, x2, y2 = annotations.boxes.unbind(1)
    owners = torch.repeat_interleave(torch.arange(len(annotations)), annotations.offsets.diff())
    height, width = annotations.sizes[owners].unbind(1)
    outside = (x2 <= 0) | (y2 <= 0) | (x1 >= width) | (y1 >= height)
    # One pixel is the difference between the ways to count; COCO's own boxes overstep by parts of it.
    over = ~outside & ((x1 < -1) | (y1 < -1) | (x2 > width + 1) | (y2 > height + 1))
    tiny = (x2 - x1 <= 1) | (y2 - y1 <= 1)
    yield from _box_problems(annotations, owners, outside, "error", "box outside its image")
    yield from _box_problems(annotations, owners, over, "warning", "box that reaches over the border of its image")
    yield from _box_problems(annotations, owners, tiny, "warning", "box of at most a pixel in width or height")
    yield from _box_problems(annotations, owners, _is_repeated(annotations, owners), "warning", "box that occurs twice")
    for index in (_boxes_per_image(annotations) == 0).nonzero().flatten().tolist():
        yield Problem("warning", "image without a box to train on", str(annotations.files[index]))


def _box_problems(
    annotations: Annotations, owners: Tensor, rows: Tensor, severity: Literal["error", "warning"], kind: str
) -> Iterator[Problem]:
    for row in rows.nonzero().flatten().tolist():
        index = int(owners[row])
        height, width = annotations.sizes[index].tolist()
        box = " ".join(f"{value:g}" for value in annotations.boxes[row].tolist())
        name = annotations.class_names[annotations.labels[row]]
        yield Problem(severity, kind, f"{annotations.files[index]}: {name} {box} (x1 y1 x2 y2) in {width}x{height}")


def _is_repeated(annotations: Annotations, owners: Tensor) -> Tensor:
    """(M,) bool: an earlier row has the same image, class and box."""
    keys = torch.cat((owners[:, None], annotations.labels[:, None], annotations.boxes), dim=1)
    _, group = keys.unique(dim=0, return_inverse=True)
    first = torch.full((len(keys),), len(keys)).scatter_reduce(0, group, torch.arange(len(keys)), "amin")
    return first[group] != torch.arange(len(keys))


def _check_images(annotations: Annotations, decode: bool) -> list[Problem]:
    files = annotations.files.tolist()
    progress = Progress(len(files), unit="image")
    problems = []
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as threads:
        found = threads.map(
            lambda file, size: _check_image(file, tuple(size), decode), files, annotations.sizes.tolist()
        )
        for problem in found:
            progress.advance()
            if problem is not None:
                problems.append(problem)
    progress.close()
    return problems


def _check_image(file: str, size: tuple[int, ...], decode: bool) -> Problem | None:
    if not os.path.isfile(file):
        return Problem("error", "image that is missing", file)
    try:
        height, width = read_image(file).shape[-2:] if decode else read_image_size(file)
    except UserError as error:
        return Problem("error", "image that can not be read", str(error))
    if (height, width) == size:
        return None
    message = f"{file}: {width}x{height}, annotated as {size[1]}x{size[0]}"
    if (width, height) == size:
        message += "; the sides are swapped: EXIF rotation, which is not applied here?"
    return Problem("error", "image of another size than annotated (width x height)", message)


def _check_classes(annotations: Annotations, split: Split) -> Iterator[Problem]:
    for name, boxes in _count(annotations).per_class.items():
        if boxes == 0:
            yield Problem("warning", f"class without a box in {split}", shown(name))


def _check_agreement(annotations: Annotations, class_names: Sequence[str]) -> Iterator[Problem]:
    try:
        with_classes_of(annotations, class_names, "data.val", "data.train")
    except UserError as error:
        yield Problem("error", "classes of val that train does not have", str(error))


def _check_coco(config: DataConfig, split: Split) -> Iterator[Problem]:
    """What the reader has no need to look at: annotation ids and parent categories."""
    chosen = config.train if split == "train" else config.val
    for file in (find(config.root) / name for name in chosen.annotations):
        try:
            content = read_json(file)
            ids = category_ids_of(content["categories"], file)
        except UserError:  # told when the file was read
            continue
        yield from _check_annotation_ids(content["annotations"], file)
        yield from _check_parents(content, ids, config.classes, file)


def _check_annotation_ids(annotations: Sequence[Record], file: Path) -> Iterator[Problem]:
    times = Counter(shown(annotation["id"]) for annotation in annotations if "id" in annotation)
    for number, count in times.items():
        if count > 1:
            yield Problem("warning", "annotation id that occurs twice", f"{file}: annotation {number}: {count} times")


def _check_parents(
    content: dict[str, list[Record]], ids: dict[str, int], classes: Sequence[str], file: Path
) -> Iterator[Problem]:
    """Exports of some tools list the parent of the classes as a class of its own."""
    used = {shown(annotation.get("category_id")) for annotation in content["annotations"]}
    for name, number in ids.items():
        is_parent = any(c.get("supercategory") == name and c["name"] != name for c in content["categories"])
        is_kept = not classes or name in classes
        if is_parent and is_kept and shown(number) not in used:
            message = f"{file}: {shown(name)} has no box; name the other classes in data.classes to leave it out"
            yield Problem("warning", "category that is only the parent of others", message)


def _check_unlisted(config: DataConfig) -> Iterator[Problem]:
    """Annotation files that neither split lists."""
    listed: set[Path] = set()
    for image_list in (find(config.root) / name for name in (*config.train.annotations, *config.val.annotations)):
        with contextlib.suppress(UserError):  # told when the list was read
            for name in read_list(image_list):
                with contextlib.suppress(UserError):
                    listed.add(annotation_file(image_list, name))
    for folder in sorted({file.parent for file in listed}):
        for file in sorted(folder.glob("*.xml")):
            if file not in listed:
                yield Problem("warning", "annotation file that no list names", str(file))


def _boxes_per_image(annotations: Annotations) -> Tensor:
    """(N,) int64, boxes to train on."""
    kept = torch.cat((torch.zeros(1, dtype=torch.int64), (~annotations.ignore).cumsum(0)))
    return kept[annotations.offsets].diff()


def by_kind(problems: Iterable[Problem]) -> dict[tuple[str, str], list[str]]:
    """The messages of each severity and kind, errors first."""
    groups: dict[tuple[str, str], list[str]] = {}
    for problem in sorted(problems, key=lambda problem: problem.severity):
        groups.setdefault((problem.severity, problem.kind), []).append(problem.message)
    return groups
