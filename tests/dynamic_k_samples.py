"""The calls of `assign_top_k` with a `SimOta` or a `SoftLabel` that the suites share."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from samples import Sample, assign_calls, registration_inputs, sample_inputs
from task_aligned_samples import DTYPES, LAYOUTS, PredictedSample, laid_out, odd_scores, with_predictions

from pseudo_iou_ops import SimOta, SoftLabel, presets
from pseudo_iou_ops.top_k_rules import REGIONS

PRESETS = {"simota": presets.simota, "yolox": presets.yolox}

RULES = (
    *PRESETS.values(),
    SimOta(radius=0.6, top_ious=1, cls_weight=2.0),
    SimOta(radius=4.0, top_ious=32, iou_weight=0.0, region="center"),
    SimOta(top_ious=5, cls_weight=0.0, eps=0.5),
)

SOFT_LABELS = (
    presets.rtmdet,
    SoftLabel(radius=0.0, top_ious=1),
    SoftLabel(radius=50.0, top_ious=32, iou_weight=0.0),
    SoftLabel(radius=1.5, top_ious=4, eps=0.5),
)


@dataclass(frozen=True, eq=False)
class ObjectnessSample(PredictedSample):
    """A call with the scores of any object, or without."""

    objectness: Any = None

    def kwargs(self) -> dict[str, Any]:
        return {**super().kwargs(), "objectness": self.objectness}


def every_sim_ota() -> Iterator[SimOta]:
    """Every combination of the switches, with typical numbers."""
    for region, radius, top_ious, iou_weight, cls_weight in itertools.product(
        REGIONS, (0.6, 2.5), (1, 10), (0.0, 3.0), (0.0, 1.0)
    ):
        yield SimOta(radius, region, top_ious, iou_weight, cls_weight)


def with_objectness(
    sample: Sample,
    rule: SimOta,
    seed: int = 0,
    layout: str = "dense",
    dtype: torch.dtype = torch.float32,
    box_format: str = "xyxy",
    score_kind: str = "logits",
    classes: int = 11,
    objectness: str | None = "dense",
) -> ObjectnessSample:
    """The predictions of `with_predictions`, and objectness in a layout and the dtype of the boxes."""
    predicted = with_predictions(sample, rule, seed, layout, dtype, box_format, score_kind, classes)
    scores = None
    if objectness is not None:
        generator = torch.Generator().manual_seed(seed + 1)
        scores = odd_scores((sample.num_images, sample.num_points, 1), score_kind, generator).to(dtype)
        scores = scores[..., 0] if objectness == "dense" else laid_out(scores, sample.level_shapes, objectness)
    own = {field.name: getattr(predicted, field.name) for field in fields(predicted)}
    return ObjectnessSample(**own, objectness=scores)


def predicted(sample: Sample, rule: SimOta | SoftLabel, seed: int = 0, **ways: Any) -> PredictedSample:
    """The predictions that a rule reads."""
    if isinstance(rule, SimOta):
        return with_objectness(sample, rule, seed, **ways)
    return with_predictions(sample, rule, seed, **ways)


def _varied(samples: Sequence[Sample]) -> list[ObjectnessSample]:
    """Each sample under one of the rules, layouts, dtypes, formats and kinds, with objectness or without."""
    ways = zip(
        itertools.cycle(RULES),
        itertools.cycle(LAYOUTS),
        itertools.cycle((*DTYPES, torch.float32, torch.float32)),
        itertools.cycle(("xyxy", "xyxy", "ltrb")),
        itertools.cycle(("logits", "logits", "logits", "probabilities")),
        itertools.cycle((11, 4, 300, 8, 17, 0, 1)),  # runs of 256, sums of 8
        itertools.cycle((*LAYOUTS, None)),
        strict=False,
    )
    return [
        with_objectness(sample, way[0], seed, *way[1:])
        for seed, (sample, way) in enumerate(zip(samples, ways, strict=False))
    ]


def _small_inputs() -> list[Sample]:
    """Those whose references do not take seconds, and that differ for these rules."""
    samples = sample_inputs()
    return [s for s in samples if not s.name.startswith("rule_") and s.num_pairs < 200_000 and s.num_images < 100]


def _varied_soft(samples: Sequence[Sample]) -> list[PredictedSample]:
    ways = zip(
        itertools.cycle(SOFT_LABELS),
        itertools.cycle((*LAYOUTS, "dense")),
        itertools.cycle((*DTYPES, torch.float32, torch.float32)),
        itertools.cycle(("xyxy", "xyxy", "ltrb")),
        itertools.cycle((11, 4, 300, 8, 17, 0, 1)),
        strict=False,
    )
    return [
        with_predictions(sample, rule, seed, layout, dtype, box_format, classes=classes)
        for seed, (sample, (rule, layout, dtype, box_format, classes)) in enumerate(zip(samples, ways, strict=False))
    ]


def soft_label_inputs() -> list[PredictedSample]:
    """The named cases of `samples` with predictions."""
    return _varied_soft(_small_inputs())


def soft_label_registration_inputs() -> list[PredictedSample]:
    """The cases with different signatures, for checks that cost seconds a call."""
    return _varied_soft(registration_inputs())


def soft_label_calls() -> Any:
    """Strategy of small calls under any rule, with predictions that tie or are none."""
    from hypothesis import strategies as st

    rules = st.builds(
        SoftLabel,
        radius=st.sampled_from((3.0, 0.0, 0.5, 40.0, 1e8)),
        top_ious=st.sampled_from((1, 2, 13, 32)),
        iou_weight=st.sampled_from((3.0, 0.0, 0.3, 1e38)),
        eps=st.sampled_from((1e-7, 0.5, 1e-45)),
        offset=st.sampled_from((0.5, 0.0)),
    )
    return st.builds(
        with_predictions,
        assign_calls(),
        rules,
        seed=st.integers(0, 2**20),
        layout=st.sampled_from(LAYOUTS),
        dtype=st.sampled_from(DTYPES),
        box_format=st.sampled_from(("xyxy", "ltrb")),
        score_kind=st.just("logits"),
        classes=st.sampled_from((4, 8, 11, 1, 0)),
    )


def sim_ota_inputs() -> list[ObjectnessSample]:
    """The named cases of `samples` with predictions."""
    return _varied(_small_inputs())


def sim_ota_registration_inputs() -> list[ObjectnessSample]:
    """The cases with different signatures, for checks that cost seconds a call."""
    return _varied(registration_inputs())


def sim_ota_calls() -> Any:
    """Strategy of small calls under any rule, with predictions that tie or are none."""
    from hypothesis import strategies as st

    rules = st.builds(
        SimOta,
        radius=st.sampled_from((2.5, 1.5, 0.5, 1e-3, 1e30)),
        region=st.sampled_from(REGIONS),
        top_ious=st.sampled_from((1, 2, 10, 32)),
        iou_weight=st.sampled_from((3.0, 0.0, 0.3, 1e38)),
        cls_weight=st.sampled_from((1.0, 0.0, 7.0)),
        eps=st.sampled_from((1e-7, 1e-8, 0.5, 1e-45)),
        offset=st.sampled_from((0.5, 0.0)),
    )
    return st.builds(
        with_objectness,
        assign_calls(),
        rules,
        seed=st.integers(0, 2**20),
        layout=st.sampled_from(LAYOUTS),
        dtype=st.sampled_from(DTYPES),
        box_format=st.sampled_from(("xyxy", "ltrb")),
        score_kind=st.sampled_from(("logits", "probabilities")),
        classes=st.sampled_from((4, 8, 11, 1, 0)),
        objectness=st.sampled_from((*LAYOUTS, None)),
    )
