"""The command ``predict``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from ..config import Config
from ..distributed import is_main, process_group
from .options import Settings

if TYPE_CHECKING:
    from ..data import Annotations
    from ..model import Detections, Detector

PANEL_WIDTH = 6.5  # inches


@dataclass(frozen=True)
class PredictArguments:
    """Draw the detections of a checkpoint, and write them as COCO results."""

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
    """Write a picture per image, detections.json (COCO's results) and images.json (what its ids stand for)."""
    from ..evaluation.coco import coco_categories, coco_images, detect_all, to_coco_results
    from ..runtime import write_json

    with process_group():
        model, annotations = _restore(arguments)
        found = detect_all(model, annotations)
        if not is_main():
            return
    out = arguments.out or arguments.checkpoint.parent / "predictions"
    out.mkdir(parents=True, exist_ok=True)
    _draw(found, annotations, arguments, out)
    write_json(out / "detections.json", to_coco_results(found, annotations.image_ids, annotations.category_ids))
    listing = {"images": coco_images(annotations), "categories": coco_categories(annotations)}
    write_json(out / "images.json", listing)
    print(f"wrote {len(found)} pictures, detections.json and images.json to {out}")


def _restore(arguments: PredictArguments) -> tuple[Detector, Annotations]:
    """The network, and the images that are named or the first ones of the split."""
    from ..data.files import list_images
    from ..engine.checkpoint import load_checkpoint, restore_detector
    from ..runtime import choose_device, restore

    config, checkpoint = arguments.settings, arguments.checkpoint
    if not arguments.images:
        limited = dataclasses.replace(config, eval=dataclasses.replace(config.eval, limit=arguments.limit))
        return restore(limited, checkpoint, arguments.split)
    content = load_checkpoint(checkpoint)
    model = restore_detector(content, config, checkpoint).to(choose_device(config))
    names, ids = tuple(content["class_names"]), content["category_ids"]
    return model, list_images(arguments.images, names, ids, max_pixels=config.data.max_pixels)


def _draw(found: list[Detections], annotations: Annotations, arguments: PredictArguments, out: Path) -> None:
    from ..runtime import make_picture
    from ..visualise.detections import draw_detections

    names: set[str] = set()
    for index, detections in enumerate(found):
        picture = make_picture(annotations, index, detections, arguments.score, has_truth=not arguments.images)
        name = Path(annotations.files[index]).stem
        if name in names:  # the same name in two folders
            name = f"{name}-{index + 1}"
        names.add(name)
        draw_detections([picture], annotations.class_names, out / f"{name}.png", panel_width=PANEL_WIDTH)
