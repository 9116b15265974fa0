"""What the commands do, once their options are parsed."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pseudo_iou_ops import AssignRule
from pseudo_iou_ops.rule import METRIC_TRAITS, Metric

from .config import Config, check_config
from .data import Annotations, Split, load_annotations
from .data.loader import DetectionDataset, read_image
from .data.synthetic import draw_scene
from .data.transforms import evaluation_transform
from .distributed import is_launched, is_main, local_rank
from .engine.checkpoint import load_checkpoint, restore_detector
from .errors import UsageError, UserError
from .evaluation.coco import Evaluation, detect_all
from .evaluation.score import class_table, score_detections
from .model import Detector
from .model.backbone import STRIDES
from .visualise.assignment import Scene, draw_assignment
from .visualise.curves import draw_curves

DEFAULT_SCENE = 3
SCENE_WIDTH, SCENE_HEIGHT, SCENE_OBJECTS, SCENE_SEED = 384, 256, 6, 0


def choose_device(config: Config) -> torch.device:
    """The configured device, of torchrun's processes each its own GPU; raises UsageError if it is not there."""
    name = config.train.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if is_launched() and name == "cuda":
        name = f"cuda:{local_rank()}"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"train.device: {name!r} is not available: {str(error).splitlines()[0]}") from None
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def run_eval(config: Config, checkpoint: Path, split: Split, out: Path) -> Evaluation | None:
    """Score a checkpoint and write the figures; None on processes other than the main one, which only detect."""
    check_config(config)
    model, annotations = restore(config, checkpoint, split)
    started = time.monotonic()
    found = detect_all(model, config, annotations, next(model.parameters()).device)
    if not is_main():
        return None
    detected = time.monotonic()
    evaluation, voc, results = score_detections(found, annotations, config)
    seconds = {"inference": detected - started, "evaluation": time.monotonic() - detected}
    print(evaluation.summary)
    print(class_table(evaluation))
    print(f"inference {seconds['inference']:.1f} s, evaluation {seconds['evaluation']:.1f} s")
    out.mkdir(parents=True, exist_ok=True)
    report = {
        "checkpoint": str(checkpoint),
        "split": split,
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


def score(model: Detector, config: Config, annotations: Annotations) -> Evaluation:
    """Detect on every image and score the results."""
    found = detect_all(model, config, annotations, next(model.parameters()).device)
    return score_detections(found, annotations, config)[0]


def choose_rules(rule: AssignRule, metrics: Sequence[Metric], thresholds: Sequence[float]) -> list[AssignRule]:
    """One rule per metric, the other switches taken from ``rule``."""
    if not metrics or (thresholds and len(thresholds) != len(metrics)):
        raise UsageError(f"--thresholds: expected one per metric, {len(metrics)}, or none, got {len(thresholds)}")
    rules = []
    for position, metric in enumerate(metrics):
        own, traits = metric == rule.metric, METRIC_TRAITS[metric]
        threshold = rule.threshold if own else traits.best_threshold
        try:
            rules.append(
                dataclasses.replace(
                    rule,
                    metric=metric,
                    threshold=thresholds[position] if thresholds else threshold,
                    ignore_threshold=rule.ignore_threshold if own else None,
                    resolve=rule.resolve if traits.value is not None else "min_area",
                )
            )
        except ValueError as error:
            raise UsageError(f"--metrics {metric}: {error}") from None
    return rules


def load_scene(
    config: Config, scene: int | None, index: int | None, split: Split, image: Path | None, boxes: Path | None
) -> Scene:
    """The drawn scene, the image of the data set, or the image file that the options choose."""
    if sum(chosen is not None for chosen in (scene, index, image)) > 1:
        raise UsageError("--scene, --index, --image: expected one of them")
    if (image is None) != (boxes is None):
        raise UsageError("--image and --boxes: expected both or neither")
    if image is not None and boxes is not None:
        return Scene(read_image(str(image)), _read_boxes(boxes), torch.zeros(0, 4))
    if index is not None:
        return _dataset_scene(config, index, split)
    drawn = draw_scene(SCENE_SEED, DEFAULT_SCENE if scene is None else scene, SCENE_WIDTH, SCENE_HEIGHT, SCENE_OBJECTS)
    pixels = torch.from_numpy(drawn.image).permute(2, 0, 1)
    return Scene(pixels, torch.from_numpy(drawn.boxes).float(), torch.zeros(0, 4))


def run_assign_view(scene: Scene, rules: Sequence[AssignRule], levels: Sequence[int], out: Path) -> None:
    shown = [level - 3 for level in levels]
    if not shown or not all(0 <= position < len(STRIDES) for position in shown):
        raise UsageError(f"--levels: expected levels 3 to {len(STRIDES) + 2}, got {' '.join(map(str, levels))}")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        assignments = draw_assignment(scene, rules, STRIDES, shown, out)
    except ValueError as error:  # an ending matplotlib does not write, or ranges that do not fit the levels
        raise UsageError(f"--out {out}: {error}") from None
    for rule, assignment in zip(rules, assignments, strict=True):
        unmatched = int((assignment.pos_per_box == 0).sum())
        name = rule.metric if rule.metric == "none" else f"{rule.metric} {rule.threshold:g}"
        print(
            f"{name}: {int(assignment.num_pos.sum())} positive points; "
            f"{unmatched} of {len(scene.boxes)} boxes without one"
        )
    print(f"wrote {out}")


def write_json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content), encoding="utf-8")


def restore(config: Config, checkpoint: Path, split: Split) -> tuple[Detector, Annotations]:
    """The trained model on its device, and the images of a split that ``eval.limit`` leaves."""
    content = load_checkpoint(checkpoint)
    annotations = evaluated_images(config, split)
    if list(annotations.class_names) != content["class_names"]:
        raise UserError(
            f"{checkpoint}: trained for the classes {', '.join(content['class_names'][:5])}...; "
            f"the data set has {', '.join(annotations.class_names[:5])}..."
        )
    return restore_detector(content, config, checkpoint).to(choose_device(config)), annotations


def evaluated_images(config: Config, split: Split) -> Annotations:
    """The images of a split that ``eval.limit`` leaves."""
    annotations = load_annotations(config.data, split)
    if config.eval.limit is None:
        return annotations
    return annotations.select(range(min(config.eval.limit, len(annotations))))


def _dataset_scene(config: Config, index: int, split: Split) -> Scene:
    annotations = load_annotations(config.data, split)
    if not 0 <= index < len(annotations):
        raise UsageError(f"--index: expected 0 to {len(annotations) - 1}, got {index}")
    sample = DetectionDataset(annotations, evaluation_transform(config.data))[(0, index)]
    ignore = sample.ignore if config.data.ignore_regions else torch.zeros_like(sample.ignore)
    return Scene(sample.image, sample.boxes[~sample.ignore], sample.boxes[ignore])


def _read_boxes(file: Path) -> Tensor:
    try:
        boxes = torch.tensor(json.loads(file.read_text(encoding="utf-8")), dtype=torch.float32)
        if boxes.numel() and boxes.ndim == 2 and boxes.shape[1] == 4:
            return boxes
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from None
    except (ValueError, TypeError, UnicodeDecodeError):
        pass
    raise UserError(f"{file}: expected a JSON list of boxes [x1, y1, x2, y2]")
