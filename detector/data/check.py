"""Finds what would break or spoil a training, and says in which file."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..config import DataConfig
from ..errors import UserError
from ..places import find
from . import Split, load_annotations
from .annotations import Annotations, is_hidden
from .check_boxes import boxes_per_image, check_boxes
from .check_images import Looked, check_uniqueness, look_at_images
from .classes import with_classes_of
from .coco import CocoContent, category_ids_of, read_json
from .problems import (
    ANNOTATION_ID,
    NO_TRAIN_BOX,
    NO_VAL_BOX,
    NOT_ANNOTATED,
    ONLY_PARENT,
    OTHER_CLASSES,
    UNLISTED,
    UNUSABLE,
    Problem,
    Severity,
    problem,
)
from .values import shown
from .voc_files import annotation_file, read_list, root_of

SPLITS: tuple[Split, ...] = ("train", "val")


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

    def count(self, severity: Severity) -> int:
        return sum(found.severity == severity for found in self.problems)


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
    looks: list[Looked] = []
    class_names: tuple[str, ...] | None = None
    for split in SPLITS:
        annotations = _read(config, split, problems)
        if annotations is None:
            continue
        counts[split] = _count(annotations)
        looked = look_at_images(annotations, split, decode)
        problems += [problem(*remark) for remark in annotations.remarks]
        problems += [*check_boxes(annotations), *(found for look in looked for found in look.problems)]
        problems += _check_classes(annotations, split)
        if class_names is not None:
            problems += _check_agreement(annotations, class_names)
        class_names = annotations.class_names
        problems += _check_coco(config, split) if config.format == "coco" else ()
        looks += looked
    problems += check_uniqueness(looks)
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
    problems += [problem(UNUSABLE, str(error)) for error in errors]
    return annotations


def _count(annotations: Annotations) -> SplitCounts:
    of_class = torch.bincount(annotations.labels[~annotations.ignore], minlength=len(annotations.class_names))
    return SplitCounts(
        images=len(annotations),
        boxes=int((~annotations.ignore).sum()),
        ignored=int(annotations.ignore.sum()),
        empty=int((boxes_per_image(annotations) == 0).sum()),
        per_class=dict(zip(annotations.class_names, of_class.tolist(), strict=True)),
    )


def _check_classes(annotations: Annotations, split: Split) -> Iterator[Problem]:
    if not annotations.is_annotated:
        yield problem(NOT_ANNOTATED, f"data.{split}: {len(annotations)} images")
        return
    for name, boxes in _count(annotations).per_class.items():
        if boxes == 0:
            yield problem(NO_TRAIN_BOX if split == "train" else NO_VAL_BOX, shown(name))


def _check_agreement(annotations: Annotations, class_names: Sequence[str]) -> Iterator[Problem]:
    try:
        with_classes_of(annotations, class_names, "data.val", "data.train")
    except UserError as error:
        yield problem(OTHER_CLASSES, str(error))


def _check_coco(config: DataConfig, split: Split) -> Iterator[Problem]:
    """What the reader has no need to look at: annotation ids and parent categories."""
    chosen = config.train if split == "train" else config.val
    times: Counter[str] = Counter()
    last_of: dict[str, Path] = {}
    for file in (find(config.root) / name for name in chosen.annotations):
        try:
            content = read_json(file)
            ids = category_ids_of(content.categories, file)
        except UserError:  # told when the file was read
            continue
        own = [_text_of(annotation["id"]) for annotation in content.annotations if "id" in annotation]
        times.update(own)
        last_of.update(dict.fromkeys(own, file))
        yield from _check_parents(content, ids, config.classes, file)
    for number, count in times.items():
        if count > 1:
            yield problem(ANNOTATION_ID, f"{last_of[number]}: annotation {number}: {count} times")


def _check_parents(content: CocoContent, ids: dict[str, int], classes: Sequence[str], file: Path) -> Iterator[Problem]:
    """Exports of some tools list the parent of the classes as a class of its own."""
    used = {_text_of(annotation.get("category_id")) for annotation in content.annotations}
    for name, number in ids.items():
        is_parent = any(c.get("supercategory") == name and c["name"] != name for c in content.categories)
        is_kept = not classes or name in classes
        if is_parent and is_kept and content.is_annotated and str(number) not in used:
            yield problem(
                ONLY_PARENT,
                f"{file}: {shown(name)} has no box; name the other classes in data.classes to leave it out",
            )


def _text_of(number: object) -> str:
    """An id as a key that is the same for 7 and "7"."""
    return number.strip() if isinstance(number, str) and len(number) < 80 else shown(number)


def _check_unlisted(config: DataConfig) -> Iterator[Problem]:
    """Annotation files that neither split lists."""
    listed: set[Path] = set()
    folders: set[Path] = set()
    for image_list in (find(config.root) / name for name in (*config.train.annotations, *config.val.annotations)):
        folders.add(root_of(image_list) / "Annotations")
        with contextlib.suppress(UserError):  # told when the list was read
            for names in read_list(image_list):
                with contextlib.suppress(UserError):
                    listed.add(annotation_file(image_list, names)[1])
    for folder in sorted(folders):
        for file in sorted(folder.rglob("*.xml")):
            if file not in listed and not any(map(is_hidden, file.relative_to(folder).parts)):
                yield problem(UNLISTED, str(file))
