"""COCO's average precision, by pycocotools or hotcoco."""

from __future__ import annotations

import contextlib
import io
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..data import Annotations
from ..errors import UserError
from ..model import Detections

STAT_NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")

Backend = Literal["pycocotools", "hotcoco"]
Result = dict[str, Any]
Array = np.ndarray[Any, Any]


class Evaluation(NamedTuple):
    """Figures in [0, 1], -1 where the split has nothing to measure them on."""

    stats: dict[str, float]
    """The twelve figures of COCO by name, and VOC's if they are asked for."""
    per_class: dict[str, dict[str, float]]
    """By class name, then by figure: AP, AP50, ..."""
    summary: str
    """``stats`` as text, a line each with what it measures."""


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


def evaluate(
    results: list[Result],
    annotations: Annotations,
    backend: Backend = "pycocotools",
    max_detections: int = 100,
) -> Evaluation:
    """Score results against annotations; crowd and difficult boxes count neither way.

    Args:
        results: detections in COCO's format; none at all, on which pycocotools stops, score 0.
        annotations: the boxes to find.
        backend: the package that computes the figures; both give the same.
        max_detections: how many of an image count, the best; pycocotools' own summary knows 100 alone.

    Raises:
        UserError: a result is of an image or a category that the annotations do not list, or the package is
            not installed.
    """
    _check_ids(results, annotations)
    names = stat_names(max_detections)
    if not results:
        stats = dict.fromkeys(names, 0.0)
        per_class = {name: {"AP": 0.0, "AP50": 0.0} for name in annotations.class_names}
        return Evaluation(stats, per_class, "no detections: every figure is 0")
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = _evaluator(results, annotations, backend)
        evaluator.params.maxDets = [1, 10, max_detections]
        evaluator.evaluate()
        evaluator.accumulate()
    stats = dict(zip(names, _stats(evaluator.eval["precision"], evaluator.eval["recall"]), strict=True))
    return Evaluation(stats, _per_class(evaluator, annotations), _summary(stats, max_detections))


def percent(figure: float) -> str:
    """A figure in percent, five characters; a dash if it is undefined."""
    return f"{100 * figure:5.1f}" if figure >= 0 else "    -"


def stat_line(name: str, figure: float, measure: str) -> str:
    """A figure as a line of the summary."""
    return f"{name:<6}{percent(figure)}   {measure}"


def stat_names(max_detections: int = 100) -> tuple[str, ...]:
    """The twelve figures in COCO's order."""
    return (*STAT_NAMES[:8], f"AR{max_detections}", *STAT_NAMES[9:])


def _evaluator(results: list[Result], annotations: Annotations, backend: Backend) -> Any:
    """The backend's COCOeval; hotcoco's has the interface of pycocotools'."""
    # loadRes adds keys to the dicts that it is given.
    results = [dict(result) for result in results]
    if backend == "hotcoco":
        try:
            import hotcoco
        except ImportError:
            raise UserError("eval.backend: hotcoco is not installed; pip install hotcoco, or use pycocotools") from None
        truth = hotcoco.COCO(_ground_truth(annotations))
        return hotcoco.COCOeval(truth, truth.loadRes(results), "bbox")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO()
    truth.dataset = _ground_truth(annotations)
    truth.createIndex()
    return COCOeval(truth, truth.loadRes(results), "bbox")


def _check_ids(results: list[Result], annotations: Annotations) -> None:
    for name, known in (("image_id", annotations.image_ids), ("category_id", annotations.category_ids)):
        unknown = {result[name] for result in results} - set(known.tolist())
        if unknown:
            raise UserError(f"results: {name} {min(unknown)} is not in the data set; {len(unknown)} are unknown")


def _stats(precision: Array, recall: Array) -> list[float]:
    """The twelve figures from (IoU thresholds, recalls, classes, areas, limits) and the same without recalls.

    Areas are all, small, medium and large; limits 1, 10 and the largest number of detections; -1 is undefined.
    """
    whole, iou50, iou75 = precision[..., 0, -1], precision[0, ..., 0, -1], precision[5, ..., 0, -1]
    return [
        *map(_mean, (whole, iou50, iou75)),
        *(_mean(precision[..., area, -1]) for area in (1, 2, 3)),
        *(_mean(recall[..., 0, limit]) for limit in (0, 1, 2)),
        *(_mean(recall[..., area, -1]) for area in (1, 2, 3)),
    ]


def _summary(stats: dict[str, float], max_detections: int) -> str:
    """The twelve figures as lines of text, each with what it measures."""
    measures = [
        *(f"IoU {iou:<9}  area all     detections {max_detections}" for iou in ("0.50:0.95", "0.50", "0.75")),
        *(f"IoU 0.50:0.95  area {area:<6}  detections {max_detections}" for area in ("small", "medium", "large")),
        *(f"IoU 0.50:0.95  area all     detections {limit}" for limit in (1, 10, max_detections)),
        *(f"IoU 0.50:0.95  area {area:<6}  detections {max_detections}" for area in ("small", "medium", "large")),
    ]
    return "\n".join(
        stat_line(name, figure, measure) for (name, figure), measure in zip(stats.items(), measures, strict=True)
    )


def coco_images(annotations: Annotations) -> list[Result]:
    """The images as COCO lists them."""
    ids, sizes = annotations.image_ids.tolist(), annotations.sizes.tolist()
    return [
        {"id": image_id, "file_name": file, "height": height, "width": width}
        for image_id, file, (height, width) in zip(ids, annotations.files.tolist(), sizes, strict=True)
    ]


def coco_categories(annotations: Annotations) -> list[Result]:
    """The classes as COCO lists them."""
    return [
        {"id": category_id, "name": name}
        for category_id, name in zip(annotations.category_ids.tolist(), annotations.class_names, strict=True)
    ]


def _ground_truth(annotations: Annotations) -> dict[str, Any]:
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
    return {
        "info": {},
        "images": coco_images(annotations),
        "annotations": boxes,
        "categories": coco_categories(annotations),
    }


def _per_class(evaluator: Any, annotations: Annotations) -> dict[str, dict[str, float]]:
    # From (IoU thresholds, recalls, classes, areas, limits), all areas and the largest limit; -1 is "no box".
    precision = evaluator.eval["precision"][:, :, :, 0, -1]
    position = {category_id: k for k, category_id in enumerate(evaluator.params.catIds)}
    table = {}
    for name, category_id in zip(annotations.class_names, annotations.category_ids.tolist(), strict=True):
        values = precision[:, :, position[category_id]]
        table[name] = {"AP": _mean(values), "AP50": _mean(values[0])}
    return table


def _mean(values: Array) -> float:
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else -1.0
