"""Recognises a data set's folder: VOC's and COCO's layouts, as they are downloaded or exported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..config import DataConfig, SplitConfig
from ..errors import UserError
from .annotations import is_hidden, path_inside
from .coco import read_json
from .voc_files import annotation_file, class_name_of, read_list, read_xml

LOOKED_FOR = 20  # images of a file that are looked for in a folder
EXPECTED = "expected VOC's Annotations, JPEGImages and ImageSets/Main, or COCO's annotations/*.json"
# What tools call the splits, in the names of lists, by lower case.
SPLIT_OF = {"train": "train", "val": "val", "valid": "val", "validation": "val", "trainval": "trainval", "test": "test"}


def find_data(folder: Path) -> DataConfig:
    """The data section of a configuration for a folder.

    VOC: the folder, or each of its folders (``VOC2007``, ``VOC2012``), with ``Annotations`` and ``ImageSets/Main``;
    with the lists ``trainval`` and ``test``, trained and validated on those, otherwise on ``train`` and ``val``.
    Lists may also be called ``Train`` or ``Validation``. The classes are those that occur, by name.

    COCO: JSON files with "train" and "val" in their names, in ``annotations``, in the folder or in its folders.

    Hidden files and folders are passed over, and so is what macOS adds to an archive.

    Raises:
        UserError: the folder is of neither layout, or no annotation file can be read.
    """
    if folder.is_file():
        raise UserError(f"{folder}: expected a folder in VOC's or COCO's layout, or a .yaml configuration, got a file")
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    roots = [root for root in (folder, *_folders(folder)) if (root / "Annotations").is_dir()]
    if roots:
        return _find_voc(folder, roots)
    files = _first_found(folder, ("annotations/instances*.json", "annotations/*.json", "*.json", "*/*.json"))
    if not files:
        raise UserError(f"{folder}: {EXPECTED}")
    return _find_coco(folder, files)


def _find_voc(folder: Path, roots: Sequence[Path]) -> DataConfig:
    lists: dict[str, list[Path]] = {split: [] for split in SPLIT_OF.values()}
    for file in (file for root in roots for file in _found(root, "ImageSets/Main/*.txt")):
        split = SPLIT_OF.get(file.stem.lower())
        if split is not None:
            lists[split].append(file)
    is_devkit = lists["trainval"] and lists["test"]
    train, val = (lists["trainval"], lists["test"]) if is_devkit else (lists["train"], lists["val"])
    if not train or not val:
        raise UserError(
            f"{folder}: expected lists of image names, one a line, ImageSets/Main/train.txt and val.txt "
            f"or trainval.txt and test.txt, beside Annotations"
        )
    return DataConfig(
        format="voc",
        root=str(folder),
        train=SplitConfig(_relative(train, folder)),
        val=SplitConfig(_relative(val, folder)),
        classes=_classes_of([*train, *val]),
    )


def _classes_of(lists: Sequence[Path]) -> tuple[str, ...]:
    """The classes that occur; if none does, raises the first error that was met on the way."""
    found: set[str] = set()
    first: UserError | None = None
    for image_list in lists:
        try:
            lines = read_list(image_list)
        except UserError as error:
            first = first or error
            continue
        for names in lines:
            try:
                _, file = annotation_file(image_list, names)
                found.update(class_name_of(item) for item in read_xml(file).iter("object"))
            except UserError as error:  # told when the file is checked, if there is anything to check
                first = first or error
    if not found:
        raise first or UserError(f"{lists[0]}: expected images with objects, got none in any list")
    return tuple(sorted(found))


def _find_coco(folder: Path, files: Sequence[Path]) -> DataConfig:
    splits = {}
    for split in ("train", "val"):
        own = [file for file in files if split in "/".join(file.relative_to(folder).parts[-2:]).lower()]
        if not own:
            raise UserError(
                f"{folder}: expected a file with {split!r} in its name, got {', '.join(_relative(files, folder))}"
            )
        splits[split] = SplitConfig(_relative(own, folder), _image_folder(folder, own[0]))
    return DataConfig(format="coco", root=str(folder), train=splits["train"], val=splits["val"])


def _image_folder(folder: Path, file: Path) -> str:
    """The folder that holds most of the images a file names, such as ``train2017`` for ``instances_train2017.json``."""
    names = [str(image.get("file_name", "")) for image in read_json(file).images[:LOOKED_FOR]]
    split = file.stem.rsplit("_", 1)[-1]
    beside = file.parent.relative_to(folder).as_posix()
    candidates = [name for name in (split, f"images/{split}", "images", beside, ".") if (folder / name).is_dir()]
    return max(candidates, key=lambda candidate: sum(_is_there(folder / candidate, name, file) for name in names))


def _is_there(folder: Path, name: str, source: Path) -> bool:
    try:
        return path_inside(folder, name, source).is_file()
    except UserError:  # told when the file is checked
        return False


def _first_found(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return next((files for pattern in patterns if (files := _found(folder, pattern))), [])


def _found(folder: Path, pattern: str) -> list[Path]:
    return sorted(file for file in folder.glob(pattern) if not any(map(is_hidden, file.relative_to(folder).parts)))


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name))


def _relative(files: Sequence[Path], folder: Path) -> tuple[str, ...]:
    return tuple(file.relative_to(folder).as_posix() for file in files)
