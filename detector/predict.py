"""The command ``predict``."""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Sequence
from pathlib import Path

from .commands import choose_device, restore, write_json
from .config import Config, check_config
from .data import Annotations, Split
from .data.annotations import IMAGE_ENDINGS, AnnotationsBuilder
from .data.loader import read_image, read_image_size
from .distributed import is_main
from .engine.checkpoint import load_checkpoint, restore_detector
from .errors import UserError
from .evaluation.coco import coco_categories, coco_images, detect_all, to_coco_results
from .model import Detections
from .visualise.detections import Picture, draw_detections

PANEL_WIDTH = 6.5  # inches


def run_predict(
    config: Config,
    checkpoint: Path,
    images: Sequence[Path],
    split: Split,
    limit: int,
    score: float,
    out: Path,
) -> None:
    """Write a picture per image, detections.json (COCO's results) and images.json (what its ids stand for)."""
    check_config(config)
    if images:
        content = load_checkpoint(checkpoint)
        model = restore_detector(content, config, checkpoint).to(choose_device(config))
        annotations = list_images(images, tuple(content["class_names"]), content["category_ids"])
    else:
        limited = dataclasses.replace(config, eval=dataclasses.replace(config.eval, limit=limit))
        model, annotations = restore(limited, checkpoint, split)
    found = detect_all(model, annotations)
    if not is_main():
        return
    out.mkdir(parents=True, exist_ok=True)
    names: set[str] = set()
    for index, detections in enumerate(found):
        picture = make_picture(annotations, index, detections, score, has_truth=not images)
        name = Path(annotations.files[index]).stem
        if name in names:  # the same name in two folders
            name = f"{name}-{index + 1}"
        names.add(name)
        draw_detections([picture], annotations.class_names, out / f"{name}.png", panel_width=PANEL_WIDTH)
    write_json(out / "detections.json", to_coco_results(found, annotations.image_ids, annotations.category_ids))
    listing = {"images": coco_images(annotations), "categories": coco_categories(annotations)}
    write_json(out / "images.json", listing)
    print(f"wrote {len(found)} pictures, detections.json and images.json to {out}")


def make_picture(annotations: Annotations, index: int, found: Detections, score: float, has_truth: bool) -> Picture:
    """An image with its detections from a score on and, if there is one, its ground truth."""
    kept = found.scores >= score
    shown = Detections(*(tensor[kept] for tensor in found))
    rows = annotations.rows(index)
    truth = (annotations.boxes[rows], annotations.labels[rows]) if has_truth else None
    return Picture(read_image(str(annotations.files[index])), shown, truth)


def list_images(paths: Sequence[Path], class_names: tuple[str, ...], category_ids: Sequence[int]) -> Annotations:
    """Image files without annotations; their ids count from 1.

    Args:
        paths: files, folders, whose images are taken by name, and patterns such as ``photos/**/*.jpg``.
        class_names: what the labels of the detections stand for.
        category_ids: COCO's ids of the classes.

    Raises:
        UserError: a file is missing or no image, or there is none.
    """
    builder = AnnotationsBuilder(class_names, category_ids)
    for number, file in enumerate((file for path in paths for file in _files_of(path)), start=1):
        height, width = read_image_size(str(file))
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
    return file.suffix.lower() in IMAGE_ENDINGS and file.is_file()
