"""The command ``eval``."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from ..config import Config
from ..distributed import is_main, process_group
from .options import Settings

if TYPE_CHECKING:
    from ..evaluation.coco import Evaluation


@dataclass(frozen=True)
class EvalArguments:
    """Score a checkpoint on a split, by COCO's average precision and, on VOC data, by VOC's."""

    checkpoint: Path = tyro.MISSING
    """A last.pt; its configuration is used, and overridden by the options below."""
    split: Literal["val", "train"] = "val"
    out: Path | None = None
    """Folder of eval.json, detections.json and VOC's precision_recall.png; the checkpoint's if not given."""
    settings: Settings = field(default_factory=Config)


def run(arguments: EvalArguments) -> Evaluation | None:
    """Print the figures, and write them with the detections.

    None on processes other than the main one, and of images without annotations, whose detections alone are written.
    """
    from ..evaluation.coco import to_coco_results
    from ..evaluation.detect import detect_all
    from ..evaluation.score import class_table, score_detections
    from ..runtime import restore, write_json
    from ..visualise.curves import draw_curves

    config, checkpoint = arguments.settings, arguments.checkpoint
    out = arguments.out or checkpoint.parent
    with process_group():
        model, annotations = restore(config, checkpoint, arguments.split)
        model.use_feature_cache()
        if is_main():
            out.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        found = detect_all(model, annotations)
        if not is_main():
            return None
    detected = time.monotonic()
    if not annotations.is_annotated:
        file = out / "detections.json"
        write_json(file, to_coco_results(found, annotations.image_ids, annotations.category_ids))
        print(f"data.{arguments.split} has no annotations to score; wrote {file}, with its image ids, for a server")
        return None
    # What took longest is written first: a fault in what follows does not cost it.
    evaluation, voc = score_detections(
        found, annotations, config, keep=lambda results: write_json(out / "detections.json", results)
    )
    seconds = {"inference": detected - started, "evaluation": time.monotonic() - detected}
    print(evaluation.summary)
    print(class_table(evaluation))
    print(f"inference {seconds['inference']:.1f} s, evaluation {seconds['evaluation']:.1f} s")
    write_json(out / "eval.json", _report(arguments, len(annotations), evaluation, seconds))
    if voc is not None:
        draw_curves(voc, out / "precision_recall.png")
    print(f"wrote {out / 'eval.json'} and {out / 'detections.json'}")
    return evaluation


def _report(arguments: EvalArguments, images: int, evaluation: Evaluation, seconds: dict[str, float]) -> dict[str, Any]:
    """What eval.json holds: the figures, and all that they depend on."""
    config = arguments.settings
    return {
        "checkpoint": str(arguments.checkpoint),
        "split": arguments.split,
        "images": images,
        "stats": evaluation.stats,
        "per_class": evaluation.per_class,
        "seconds": seconds,
        "protocol": {
            **dataclasses.asdict(config.postprocess),
            **dataclasses.asdict(config.eval),
            "short_side": config.data.eval_short_side,
            "max_side": config.data.max_side,
        },
    }
