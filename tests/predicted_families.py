"""The families of `assign_top_k` that read predictions, as far as the suites treat them alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
from dynamic_k_oracles import brute_force_dynamic_k
from dynamic_k_samples import (
    PRESETS,
    RULES,
    SOFT_LABELS,
    every_sim_ota,
    sim_ota_calls,
    sim_ota_inputs,
    sim_ota_registration_inputs,
    soft_label_calls,
    soft_label_inputs,
    soft_label_registration_inputs,
    with_objectness,
)
from task_aligned_oracles import brute_force_task_aligned
from task_aligned_samples import PRESETS as TASK_ALIGNED_PRESETS
from task_aligned_samples import RULES as TASK_ALIGNED_RULES
from task_aligned_samples import (
    PredictedSample,
    every_task_aligned,
    task_aligned_calls,
    task_aligned_inputs,
    task_aligned_registration_inputs,
    with_predictions,
)

from pseudo_iou_ops import presets


class Family(NamedTuple):
    """Its op, its calls, and what they are checked against."""

    op: str
    oracle: Callable[..., Any]
    rules: Sequence[Any]
    presets: Sequence[Any]
    every: Callable[[], Any]
    inputs: Callable[[], Sequence[PredictedSample]]
    registration_inputs: Callable[[], Sequence[PredictedSample]]
    calls: Callable[[], Any]
    with_predictions: Callable[..., PredictedSample] = with_predictions
    score_kinds: tuple[str, str] = ("logits", "probabilities")


TASK_ALIGNED = Family(
    "assign_task_aligned",
    brute_force_task_aligned,
    TASK_ALIGNED_RULES,
    tuple(TASK_ALIGNED_PRESETS.values()),
    every_task_aligned,
    task_aligned_inputs,
    task_aligned_registration_inputs,
    task_aligned_calls,
)
SIM_OTA = Family(
    "assign_sim_ota",
    brute_force_dynamic_k,
    RULES,
    tuple(PRESETS.values()),
    every_sim_ota,
    sim_ota_inputs,
    sim_ota_registration_inputs,
    sim_ota_calls,
    with_objectness,
)
SOFT_LABEL = Family(
    "assign_soft_label",
    brute_force_dynamic_k,
    SOFT_LABELS,
    (presets.rtmdet,),
    lambda: 4 * SOFT_LABELS,
    soft_label_inputs,
    soft_label_registration_inputs,
    soft_label_calls,
    score_kinds=("logits", "logits"),
)

FAMILIES = {"task_aligned": TASK_ALIGNED, "sim_ota": SIM_OTA, "soft_label": SOFT_LABEL}
EVERY_FAMILY = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())


def of_every_family(values: Callable[[Family], Sequence[Any]]) -> list[Any]:
    """Parameters: each family with each of its values."""
    return [
        pytest.param(family, value, id=f"{name}-{value}")
        for name, family in FAMILIES.items()
        for value in values(family)
    ]
