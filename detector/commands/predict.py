"""The command ``predict``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from ..config import Config
from ..distributed import is_main, process_group
from ..errors import UsageError, UserError, first_few, one_line
from .options import Settings

if TYPE_CHECKING:
    from ..data import Annotations
    from ..data.annotations import Report
    from ..model import Detections, Detector

PANEL_WIDTH = 6.5  # inches


@dataclass(frozen=True)
class PredictArguments:
    """Draw the detections of a checkpoint, and write them as COCO results.

    Images that can not be read are left out; they are named at the end, and the exit status is 1.
    """

    checkpoint: Path = tyro.MISSING
    """A last.pt; its configuration is used, and overridden by the options below."""
    images: tuple[Path, ...] = ()
    """Image files, folders and patterns; without any, the first images of a split beside their ground truth."""
    split: Literal["val", "train"] = "val"
    limit: int = 8
    """How many images of the split."""
    score: float = 0.3
    """Draw detections from this score on; the JSON holds all."""
    out: Path | None = None
    """Folder of what it writes; predictions/ beside the checkpoint if not given."""
    settings: Settings = field(default_factory=Config)


def run(arguments: PredictArguments) -> None:
    """Write a picture per image, detections.json (COCO's results) and images.json (what its ids stand for).

    Raises:
        UserError: images can not be read, told when the others are done; images.json lists them all.
    """
    from ..evaluation.coco import coco_categories, coco_images, to_coco_results
    from ..evaluation.detect import detect_readable
    from ..runtime import write_json

    if arguments.limit < 1:
        raise UsageError(f"--limit: expected at least 1, got {arguments.limit}")
    unreadable: list[str] = []
    with process_group():
        model, images = _restore(arguments, lambda error: unreadable.append(one_line(error)))
        found, annotations, _, damaged = detect_readable(model, images)
        if not is_main():
            return
    unreadable += damaged
    out = arguments.out or arguments.checkpoint.parent / "predictions"
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "detections.json", to_coco_results(found, annotations.image_ids, annotations.category_ids))
    pictures = _picture_names(annotations)
    images_drawn = [
        {**image, "picture": picture} for image, picture in zip(coco_images(annotations), pictures, strict=True)
    ]
    listing: dict[str, Any] = {"images": images_drawn, "categories": coco_categories(annotations)}
    if unreadable:
        listing["unreadable"] = unreadable
    write_json(out / "images.json", listing)
    _draw(found, annotations, arguments, [out / picture for picture in pictures])
    print(f"wrote {len(found)} pictures, detections.json and images.json to {out}")
    if unreadable:
        total = len(found) + len(unreadable)
        listed = f"all are in {out / 'images.json'}"
        raise UserError(f"{len(unreadable)} of {total} images can not be read: {first_few(unreadable)}; {listed}")


def _restore(arguments: PredictArguments, report: Report) -> tuple[Detector, Annotations]:
    """The network, and the images that are named or the first ones of the split."""
    from ..data.files import list_images
    from ..engine.checkpoint import load_checkpoint
    from ..runtime import restore, restore_model

    config, checkpoint = arguments.settings, arguments.checkpoint
    if not arguments.images:
        limited = dataclasses.replace(config, eval=dataclasses.replace(config.eval, limit=arguments.limit))
        return restore(limited, checkpoint, arguments.split)
    content = load_checkpoint(checkpoint)
    names, ids = tuple(content["class_names"]), content["category_ids"]
    images = list_images(arguments.images, names, ids, report, config.data.max_pixels)
    return restore_model(content, config, checkpoint), images


def _picture_names(annotations: Annotations) -> list[str]:
    """The file's name for each image and, where two folders have one of the same name, the image's id."""
    names: list[str] = []
    for file, image_id in zip(annotations.files.tolist(), annotations.image_ids.tolist(), strict=True):
        name = Path(file).stem
        while f"{name}.png" in names:
            name = f"{name}-{image_id}"
        names.append(f"{name}.png")
    return names


def _draw(
    found: list[Detections], annotations: Annotations, arguments: PredictArguments, pictures: Sequence[Path]
) -> None:
    from ..runtime import make_picture
    from ..visualise.detections import draw_detections

    for index, (detections, file) in enumerate(zip(found, pictures, strict=True)):
        picture = make_picture(annotations, index, detections, arguments.score, has_truth=not arguments.images)
        draw_detections([picture], annotations.class_names, file, panel_width=PANEL_WIDTH)
