"""The command ``eval``."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

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
    from ..evaluation.coco import detect_all, to_coco_results
    from ..evaluation.score import class_table, score_detections
    from ..runtime import restore, write_json
    from ..visualise.curves import draw_curves

    config, checkpoint = arguments.settings, arguments.checkpoint
    with process_group():
        model, annotations = restore(config, checkpoint, arguments.split)
        started = time.monotonic()
        found = detect_all(model, annotations)
        if not is_main():
            return None
    detected = time.monotonic()
    out = arguments.out or checkpoint.parent
    out.mkdir(parents=True, exist_ok=True)
    if not annotations.is_annotated:
        file = out / "detections.json"
        write_json(file, to_coco_results(found, annotations.image_ids, annotations.category_ids))
        print(f"data.{arguments.split} has no annotations to score; wrote {file}, with its image ids, for a server")
        return None
    evaluation, voc, results = score_detections(found, annotations, config)
    seconds = {"inference": detected - started, "evaluation": time.monotonic() - detected}
    print(evaluation.summary)
    print(class_table(evaluation))
    print(f"inference {seconds['inference']:.1f} s, evaluation {seconds['evaluation']:.1f} s")
    report = {
        "checkpoint": str(checkpoint),
        "split": arguments.split,
        "images": len(annotations),
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
    write_json(out / "eval.json", report)
    write_json(out / "detections.json", results)
    if voc is not None:
        draw_curves(voc, out / "precision_recall.png")
    print(f"wrote {out / 'eval.json'} and {out / 'detections.json'}")
    return evaluation
