"""The figures of a data set's protocol, and their tables."""

from __future__ import annotations

from collections.abc import Callable

from ..config import Config
from ..data import Annotations
from ..model import Detections
from .coco import Evaluation, Result, evaluate, percent, stat_line, to_coco_results
from .voc import VocEvaluation, evaluate_voc


def score_detections(
    found: list[Detections],
    annotations: Annotations,
    config: Config,
    keep: Callable[[list[Result]], object] | None = None,
) -> tuple[Evaluation, VocEvaluation | None]:
    """COCO's figures and, if ``eval.protocol`` asks for them, VOC's.

    VOC's mean average precision joins the figures as VOC07 (11-point) and VOC10 (area). ``keep`` is called with the
    detections in COCO's format before they are scored.
    """
    results = to_coco_results(found, annotations.image_ids, annotations.category_ids)
    if keep is not None:
        keep(results)
    evaluation = evaluate(results, annotations, config.eval.backend, config.eval.max_detections)
    is_voc = config.eval.protocol == "voc" or (config.eval.protocol == "auto" and config.data.format == "voc")
    if not is_voc:
        return evaluation, None
    voc = evaluate_voc(found, annotations, inclusive_pixels=config.eval.voc_inclusive_pixels)
    return _with_voc(evaluation, voc), voc


def class_table(evaluation: Evaluation) -> str:
    """The figures per class as text, in percent; a dash where the split has no box of the class."""
    rows = evaluation.per_class
    columns = list(next(iter(rows.values()), {}))
    width = max(map(len, (*rows, "class")))
    lines = [f"{'class':<{width}}" + "".join(f"  {column:>5}" for column in columns)]
    for name, figures in rows.items():
        lines.append(f"{name:<{width}}" + "".join(f"  {percent(figures[column])}" for column in columns))
    return "\n".join(lines)


def _with_voc(evaluation: Evaluation, voc: VocEvaluation) -> Evaluation:
    lines = [
        stat_line("VOC07", voc.map11, "IoU 0.50       VOC's mAP, 11-point"),
        stat_line("VOC10", voc.map, "IoU 0.50       VOC's mAP, area"),
    ]
    per_class = {
        name: {**figures, "VOC07": voc.per_class[name].ap11, "VOC10": voc.per_class[name].ap}
        for name, figures in evaluation.per_class.items()
    }
    return Evaluation(
        stats={**evaluation.stats, "VOC07": voc.map11, "VOC10": voc.map},
        per_class=per_class,
        summary="\n".join((evaluation.summary, *lines)),
    )
