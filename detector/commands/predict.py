"""The command ``predict``."""

from __future__ import annotations

import dataclasses
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
    listing: dict[str, Any] = {"images": coco_images(annotations), "categories": coco_categories(annotations)}
    if unreadable:
        listing["unreadable"] = unreadable
    write_json(out / "images.json", listing)
    _draw(found, annotations, arguments, out)
    print(f"wrote {len(found)} pictures, detections.json and images.json to {out}")
    if unreadable:
        total = len(found) + len(unreadable)
        raise UserError(f"{len(unreadable)} of {total} images can not be read: {first_few(unreadable)}")


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


def _draw(found: list[Detections], annotations: Annotations, arguments: PredictArguments, out: Path) -> None:
    from ..runtime import make_picture
    from ..visualise.detections import draw_detections

    names: set[str] = set()
    for index, detections in enumerate(found):
        picture = make_picture(annotations, index, detections, arguments.score, has_truth=not arguments.images)
        name = Path(annotations.files[index]).stem
        while name in names:  # the same name in two folders
            name = f"{name}-{index + 1}"
        names.add(name)
        draw_detections([picture], annotations.class_names, out / f"{name}.png", panel_width=PANEL_WIDTH)
