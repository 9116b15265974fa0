"""COCO's average precision, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..config import Config
from ..data import Annotations
from ..data.loader import evaluation_loader
from ..engine.progress import Progress
from ..model import Detections, Detector
from ..model.postprocess import rescaled

STAT_NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")

Result = dict[str, Any]


class Evaluation(NamedTuple):
    """``stats``: the twelve figures by name, -1 where undefined; ``per_class``: (AP, AP50) by class name."""

    stats: dict[str, float]
    per_class: dict[str, tuple[float, float]]
    summary: str


@torch.inference_mode()
def detect_all(model: Detector, config: Config, annotations: Annotations, device: torch.device) -> list[Detections]:
    """The detections of every image, in order, in pixels of the files, on the CPU."""
    was_training = model.training
    model.eval()
    found: list[Detections] = []
    loader = evaluation_loader(config, annotations)
    progress = Progress(len(loader), unit="batch")
    for batch in loader:
        images = batch.to(device).images
        for detections, size, original in zip(
            model.detect(images, batch.sizes), batch.sizes, batch.original_sizes, strict=True
        ):
            on_cpu = Detections(*(tensor.cpu() for tensor in detections))
            found.append(rescaled(on_cpu, size, original))
        progress.advance()
    progress.close()
    model.train(was_training)
    return found


def to_coco_results(found: list[Detections], image_ids: Tensor, category_ids: Tensor) -> list[Result]:
    """COCO's result format: boxes as x y width height, the data set's own category ids."""
    results: list[Result] = []
    for detections, image_id in zip(found, image_ids.tolist(), strict=True):
        corners = detections.boxes.double()
        boxes = torch.cat((corners[:, :2], corners[:, 2:] - corners[:, :2]), dim=1)
        categories = category_ids[detections.labels]
        for box, score, category in zip(boxes.tolist(), detections.scores.tolist(), categories.tolist(), strict=True):
            results.append({"image_id": image_id, "category_id": category, "bbox": box, "score": score})
    return results


def evaluate(results: list[Result], annotations: Annotations) -> Evaluation:
    """Score results against annotations; crowd and difficult boxes count neither way.

    No detection at all, on which pycocotools stops with an IndexError, scores 0.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if not results:
        zeros = dict.fromkeys(STAT_NAMES, 0.0)
        per_class = dict.fromkeys(annotations.class_names, (0.0, 0.0))
        return Evaluation(zeros, per_class, "no detections: every figure is 0")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = _ground_truth(annotations)
        truth.createIndex()
        # loadRes adds keys to the dicts it is given
        found = truth.loadRes([dict(result) for result in results])
        evaluator = COCOeval(truth, found, "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
    with contextlib.redirect_stdout(io.StringIO()) as summary:
        evaluator.summarize()
    stats = dict(zip(STAT_NAMES, evaluator.stats.tolist(), strict=True))
    return Evaluation(stats, _per_class(evaluator, annotations), summary.getvalue().rstrip())


def class_table(evaluation: Evaluation) -> str:
    """AP and AP50 per class as text, in percent; a dash where the split has no box of the class."""
    width = max(map(len, (*evaluation.per_class, "class")))
    lines = [f"{'class':<{width}}     AP   AP50"]
    for name, figures in evaluation.per_class.items():
        lines.append(f"{name:<{width}}  " + "  ".join(_percent(figure) for figure in figures))
    return "\n".join(lines)


def _percent(figure: float) -> str:
    return f"{100 * figure:5.1f}" if figure >= 0 else "    -"


def _ground_truth(annotations: Annotations) -> dict[str, Any]:
    images = [
        {"id": image_id, "height": height, "width": width}
        for image_id, (height, width) in zip(annotations.image_ids.tolist(), annotations.sizes.tolist(), strict=True)
    ]
    owners = torch.repeat_interleave(annotations.image_ids, annotations.offsets.diff())
    boxes = []
    for row, (x1, y1, x2, y2) in enumerate(annotations.boxes.tolist()):
        boxes.append(
            {
                "id": row + 1,  # pycocotools takes 0 for "no match"
                "image_id": int(owners[row]),
                "category_id": int(annotations.category_ids[annotations.labels[row]]),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": float(annotations.areas[row]),
                "iscrowd": int(annotations.ignore[row]),
            }
        )
    categories = [
        {"id": category_id, "name": name}
        for category_id, name in zip(annotations.category_ids.tolist(), annotations.class_names, strict=True)
    ]
    return {"info": {}, "images": images, "annotations": boxes, "categories": categories}


def _per_class(evaluator: Any, annotations: Annotations) -> dict[str, tuple[float, float]]:
    # (IoU thresholds, recalls, classes, areas, detections): all areas, 100 detections; -1 is "no box"
    precision = evaluator.eval["precision"][:, :, :, 0, -1]
    position = {category_id: k for k, category_id in enumerate(evaluator.params.catIds)}
    table = {}
    for name, category_id in zip(annotations.class_names, annotations.category_ids.tolist(), strict=True):
        values = precision[:, :, position[category_id]]
        table[name] = (_mean(values), _mean(values[0]))
    return table


def _mean(values: np.ndarray[Any, Any]) -> float:
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else -1.0
