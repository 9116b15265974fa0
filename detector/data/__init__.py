"""Data sets, read into one :class:`Annotations` whatever their format."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ..config import DataConfig
from ..errors import UserError
from ..places import VARIABLE, find
from .annotations import Annotations, Report, raise_error
from .coco import read_coco
from .synthetic import default_cache, ensure_synthetic
from .voc import read_voc

Split = Literal["train", "val"]

__all__ = ["Annotations", "Split", "load_annotations"]


def load_annotations(config: DataConfig, split: Split, report: Report = raise_error) -> Annotations:
    """Read a split of the configured data set; raises UserError if it is missing or, by default, broken.

    ``report`` is told of each problem in the files; if it returns, the broken records are left out.
    """
    if config.format == "synthetic":
        folder = ensure_synthetic(config.synthetic, Path(config.root) if config.root else default_cache())
        return _checked(read_coco([folder / f"{split}.json"], folder, config.classes, report), split)
    root = find(config.root)
    if not config.root or not root.is_dir():
        raise UserError(
            f"data.root: no folder {config.root!r}; give the data set's folder with --data.root, or the folder that "
            f"holds it with the environment variable {VARIABLE}"
        )
    chosen = config.train if split == "train" else config.val
    files = [root / name for name in chosen.annotations]
    if not files:
        raise UserError(f"data.{split}.annotations: expected at least one file, got none")
    if config.format == "voc":
        return _checked(read_voc(files, config.classes, report, config.max_pixels), split)
    return _checked(read_coco(files, root / chosen.images, config.classes, report, config.max_pixels), split)


def _checked(annotations: Annotations, split: Split) -> Annotations:
    if len(annotations) == 0:
        raise UserError(f"data.{split}: the annotation files list no image")
    if split == "train" and not annotations.is_annotated:
        raise UserError("data.train: expected COCO files with the list 'annotations', to train on; they have none")
    return annotations
