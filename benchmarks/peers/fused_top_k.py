"""This library where boxes choose points: into an earlier result, a fresh one, and from the maps of a head."""

from __future__ import annotations

from typing import Any

from pseudo_iou_ops import Atss, SimOta, TopKAssignment, assign_top_k
from pseudo_iou_ops.top_k_rules import TopKRule

from ..predicted import PredictedBatch
from ..targets import with_counts_for
from .top_k_targets import TopKTargets


def assign(batch: PredictedBatch, rule: TopKRule) -> TopKTargets:
    return TopKTargets.of_assignment(_call(batch, rule))


def assign_maps(batch: PredictedBatch, rule: TopKRule) -> TopKTargets:
    return TopKTargets.of_assignment(_call(batch, rule, as_maps=True))


class AssignInto:
    """Keeps one result and writes every later call of the same shape into it, as a training loop would."""

    def __init__(self) -> None:
        self.kept: TopKAssignment | None = None

    def __call__(self, batch: PredictedBatch, rule: TopKRule) -> TopKTargets:
        return TopKTargets.of_assignment(self.assign_into(batch, rule))

    def assign_into(self, batch: PredictedBatch, rule: TopKRule) -> TopKAssignment:
        out = with_counts_for(self.kept, batch)
        result = _call(batch, rule, out=out)
        if out is None:
            self.kept = result
        return result


def _call(
    batch: PredictedBatch, rule: TopKRule, as_maps: bool = False, out: TopKAssignment | None = None
) -> TopKAssignment:
    """A head's logits as they are: no sigmoid is taken before."""
    predictions: dict[str, Any] = {}
    if not isinstance(rule, Atss):
        pred_boxes, scores, objectness = batch.maps if as_maps else (batch.pred_boxes, batch.logits, batch.objectness)
        predictions = {"pred_boxes": pred_boxes, "scores": scores}
        if isinstance(rule, SimOta):
            predictions["objectness"] = objectness
    shapes, strides = batch.pyramid.level_shapes, batch.pyramid.strides
    return assign_top_k(*batch.packed, shapes, strides, rule, out=out, **predictions)
