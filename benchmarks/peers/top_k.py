"""Everything a user would pick to let boxes choose points, behind one call: ``contestant.call(batch, rule)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..predicted import PredictedBatch
from . import BASELINE, Assigner, fused_top_k, mmdetection_top_k, padded_pairs, padded_top_k, ultralytics_top_k
from .top_k_targets import TopKTargets

TASK_ALIGNED = ("tood", "pp_yoloe", "yolov8")
ATSS = ("atss", "pp_yoloe_atss", "pseudo_iou_atss")
DYNAMIC_K = ("simota", "yolox", "rtmdet")
EVERY = (*TASK_ALIGNED, *ATSS, *DYNAMIC_K)


def contestants() -> list[Assigner]:
    """A fresh set: the one that keeps its result starts without one. Ours come first: a run may be cut off."""
    return [*_ours(), *_padded(), *_mmdetection(), *_ultralytics()]


def _ours() -> list[Assigner]:
    return [
        # Written into an earlier result.
        Assigner(BASELINE, fused_top_k.AssignInto(), metrics=EVERY, is_capturable=True, is_ours=True),
        # A fresh result.
        Assigner("pseudo_iou_ops", fused_top_k.assign, metrics=EVERY, is_capturable=True, is_ours=True),
        # From channels-first maps, a fresh result.
        Assigner(
            "pseudo_iou_ops, maps",
            fused_top_k.assign_maps,
            metrics=(*TASK_ALIGNED, *DYNAMIC_K),
            other_metric="reads no predictions",
            is_capturable=True,
            is_ours=True,
        ),
    ]


def _padded() -> list[Assigner]:
    return [
        # One padded images x boxes x points table, given probabilities.
        Assigner(
            "padded",
            padded_top_k.assign,
            bytes_per_pair=60,
            seconds_per_pair=100e-9,
            pairs=padded_pairs,
            pairs_at_once=padded_pairs,
            exact_on=(),
            is_exact_if_equal=True,
            metrics=EVERY,
            is_capturable=True,
        ),
        # The same through torch.compile(dynamic=True).
        Assigner(
            "padded, torch.compile",
            padded_top_k.assign_compiled,
            bytes_per_pair=24,
            seconds_per_pair=50e-9,
            pairs=padded_pairs,
            pairs_at_once=padded_pairs,
            exact_on=(),
            is_exact_if_equal=True,
            metrics=EVERY,
            is_compiled=True,
        ),
    ]


def _triples(batch: PredictedBatch) -> int:
    """Points x boxes x classes."""
    return batch.num_boxes * batch.pyramid.num_points * batch.logits.shape[2]


def _triples_at_once(batch: PredictedBatch) -> int:
    return batch.most_boxes * batch.pyramid.num_points * batch.logits.shape[2]


def _as_shipped(name: str, call: Callable[..., TopKTargets], metric: str, **counted: Any) -> Assigner:
    """A project's own assigner. It knows one rule, and rounds otherwise."""
    return Assigner(
        name, call, metrics=(metric,), other_metric="another rule", exact_on=(), is_exact_if_equal=True, **counted
    )


def _mmdetection() -> list[Assigner]:
    if not mmdetection_top_k.is_there():
        return []
    # Image by image, boxes x points; the head's normalisation of the scores is not in its time.
    pairs: dict[str, Any] = {"bytes_per_pair": 60, "seconds_per_pair": 70e-9}
    # The same, boxes x points x classes.
    triples: dict[str, Any] = {
        "bytes_per_pair": 10,
        "seconds_per_pair": 5e-9,
        "pairs": _triples,
        "pairs_at_once": _triples_at_once,
    }
    own = mmdetection_top_k
    return [
        _as_shipped("mmdetection as shipped", own.assign_task_aligned, "tood", **pairs),
        _as_shipped("mmdetection ATSS as shipped", own.assign_atss, "atss", **pairs),
        _as_shipped("mmdetection SimOTA as shipped", own.assign_sim_ota, "simota", **triples),
        _as_shipped("mmdetection soft labels as shipped", own.assign_soft_label, "rtmdet", **triples),
    ]


def _ultralytics() -> list[Assigner]:
    if not ultralytics_top_k.is_there():
        return []
    return [
        # The whole batch, padded, given probabilities; makes the (B, P, C) table of scores, too.
        _as_shipped(
            "ultralytics, a black box",
            ultralytics_top_k.assign,
            "yolov8",
            bytes_per_pair=60,
            seconds_per_pair=40e-9,
            pairs=padded_pairs,
            pairs_at_once=padded_pairs,
        ),
    ]
