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
from pseudo_iou_ops.rule import Metric

from .config import Config, check_config
from .data import Annotations, Split, load_annotations
from .data.annotations import AnnotationsBuilder
from .data.loader import DetectionDataset, read_image
from .data.synthetic import draw_scene
from .data.transforms import evaluation_transform
from .engine.checkpoint import load_checkpoint, restore_detector
from .engine.train import CHECKPOINT, METRICS, total_steps, train
from .errors import UsageError, UserError
from .evaluation.coco import Evaluation, class_table, detect_all, evaluate, to_coco_results
from .model import Detections, Detector
from .model.backbone import STRIDES
from .visualise.assignment import Scene, draw_assignment
from .visualise.detections import Picture, draw_detections

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png")

# The best of the paper's Tables 1a and 2, FCOS's radius, and no threshold.
BEST_THRESHOLDS: dict[Metric, float] = {
    "pseudo_iou": 0.4,
    "centerness": 0.35,
    "scaled_box": 0.6,
    "center_radius": 1.5,
    "none": 0.4,
}
DEFAULT_SCENE = 3
SCENE_WIDTH, SCENE_HEIGHT, SCENE_OBJECTS, SCENE_SEED = 384, 256, 6, 0


def choose_device(config: Config) -> torch.device:
    """The configured device; raises UsageError if it is not there."""
    name = config.train.device
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"train.device: {name!r} is not available: {str(error).splitlines()[0]}") from None
    return device


def run_train(config: Config, out: Path, overwrite: bool) -> Detector:
    check_config(config)
    if not overwrite and any((out / name).exists() for name in (METRICS, CHECKPOINT)):
        raise UsageError(f"--out: {out} holds a run already; choose another folder or add --overwrite")
    device = choose_device(config)
    annotations = load_annotations(config.data, "train")
    print(
        f"{len(annotations)} images, {len(annotations.boxes)} boxes, {len(annotations.class_names)} classes; "
        f"{total_steps(config, len(annotations))} steps of {config.train.batch_size} images on {device}; "
        f"{config.assign.rule()}",
        flush=True,
    )
    started = time.monotonic()
    model = train(config, annotations, out, device)
    print(f"trained in {time.monotonic() - started:.0f} s; wrote {out / CHECKPOINT}")
    return model


def run_eval(config: Config, checkpoint: Path, split: Split, out: Path) -> Evaluation:
    check_config(config)
    model, annotations = _restore(config, checkpoint, split)
    evaluation, results = score(model, config, annotations)
    print(evaluation.summary)
    print(class_table(evaluation))
    out.mkdir(parents=True, exist_ok=True)
    report = {
        "checkpoint": str(checkpoint),
        "split": split,
        "images": len(annotations),
        "stats": evaluation.stats,
        "per_class": evaluation.per_class,
        "protocol": {
            **dataclasses.asdict(config.postprocess),
            "short_side": config.data.eval_short_side,
            "max_side": config.data.max_side,
        },
    }
    write_json(out / "eval.json", report)
    write_json(out / "detections.json", results)
    print(f"wrote {out / 'eval.json'} and {out / 'detections.json'}")
    return evaluation


def score(model: Detector, config: Config, annotations: Annotations) -> tuple[Evaluation, list[dict[str, Any]]]:
    """Detect on every image and score the results."""
    found = detect_all(model, config, annotations, next(model.parameters()).device)
    results = to_coco_results(found, annotations.image_ids, annotations.category_ids)
    return evaluate(results, annotations), results


def run_predict(
    config: Config,
    checkpoint: Path,
    images: Sequence[Path],
    split: Split,
    limit: int,
    score: float,
    out: Path,
) -> None:
    check_config(config)
    if images:
        content = load_checkpoint(checkpoint)
        model = restore_detector(content, config, checkpoint).to(choose_device(config))
        annotations = _list_images(images, tuple(content["class_names"]), content["category_ids"])
    else:
        limited = dataclasses.replace(config, eval=dataclasses.replace(config.eval, limit=limit))
        model, annotations = _restore(limited, checkpoint, split)
    found = detect_all(model, config, annotations, next(model.parameters()).device)
    out.mkdir(parents=True, exist_ok=True)
    names: set[str] = set()
    for index, detections in enumerate(found):
        picture = make_picture(annotations, index, detections, score, has_truth=not images)
        name = Path(annotations.files[index]).stem
        if name in names:  # the same name in two folders
            name = f"{name}-{index + 1}"
        names.add(name)
        draw_detections([picture], annotations.class_names, out / f"{name}.png")
    write_json(out / "detections.json", to_coco_results(found, annotations.image_ids, annotations.category_ids))
    print(f"wrote {len(found)} pictures and detections.json to {out}")


def make_picture(annotations: Annotations, index: int, found: Detections, score: float, has_truth: bool) -> Picture:
    """An image with its detections from a score on and, if there is one, its ground truth."""
    kept = found.scores >= score
    shown = Detections(*(tensor[kept] for tensor in found))
    rows = annotations.rows(index)
    truth = (annotations.boxes[rows], annotations.labels[rows]) if has_truth else None
    return Picture(read_image(str(annotations.files[index])), shown, truth)


def choose_rules(rule: AssignRule, metrics: Sequence[Metric], thresholds: Sequence[float]) -> list[AssignRule]:
    """One rule per metric, the other switches taken from ``rule``."""
    if not metrics or (thresholds and len(thresholds) != len(metrics)):
        raise UsageError(f"--thresholds: expected one per metric, {len(metrics)}, or none, got {len(thresholds)}")
    rules = []
    for position, metric in enumerate(metrics):
        own = metric == rule.metric
        threshold = rule.threshold if own else BEST_THRESHOLDS[metric]
        try:
            rules.append(
                dataclasses.replace(
                    rule,
                    metric=metric,
                    threshold=thresholds[position] if thresholds else threshold,
                    ignore_threshold=rule.ignore_threshold if own else None,
                    resolve=rule.resolve if metric not in ("center_radius", "none") else "min_area",
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


def _restore(config: Config, checkpoint: Path, split: Split) -> tuple[Detector, Annotations]:
    """The trained model on its device, and the images of a split that ``eval.limit`` leaves."""
    content = load_checkpoint(checkpoint)
    annotations = load_annotations(config.data, split)
    if list(annotations.class_names) != content["class_names"]:
        raise UserError(
            f"{checkpoint}: trained for the classes {', '.join(content['class_names'][:5])}...; "
            f"the data set has {', '.join(annotations.class_names[:5])}..."
        )
    if config.eval.limit is not None:
        annotations = annotations.select(range(min(config.eval.limit, len(annotations))))
    return restore_detector(content, config, checkpoint).to(choose_device(config)), annotations


def _list_images(paths: Sequence[Path], class_names: tuple[str, ...], category_ids: list[int]) -> Annotations:
    """Image files without annotations, those of folders in the order of their names; ids count from 1."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_ENDINGS)
        else:
            files.append(path)
    if not files:
        raise UserError(f"--images: no {', '.join(IMAGE_ENDINGS)} file in {', '.join(map(str, paths))}")
    builder = AnnotationsBuilder(class_names, category_ids)
    for number, file in enumerate(files, start=1):
        height, width = read_image(str(file)).shape[-2:]
        builder.add_image(file, number, height, width)
    return builder.build()


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
