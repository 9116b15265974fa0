"""The calls of `assign_top_k` with a `SimOta` or a `SoftLabel` that the suites share."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from samples import Sample, assign_calls, registration_inputs, sample_inputs
from task_aligned_samples import DTYPES, LAYOUTS, PredictedSample, laid_out, odd_scores, with_predictions
from torch import Tensor

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


# Radii so large that the distance costs no more than rounding does.
ROUNDED_SIM_OTA = SimOta(radius=30.0, region="center")
ROUNDED_SOFT_LABEL = SoftLabel(radius=10.5, top_ious=10)


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


def decided_by_rounding(rule: SimOta | SoftLabel) -> Iterator[PredictedSample]:
    """Calls whose result depends on the order in which a cost, or a count, is added up."""
    random = torch.Generator().manual_seed(0)
    # The points of an image have the same classes, each in an order of its own: only rounding tells their costs apart.
    order = torch.rand(6, 64, 37, generator=random).argsort(dim=2)
    classes = torch.randn(6, 1, 37, generator=random).expand(6, 64, 37).gather(2, order)
    own = torch.full((6, 64, 1), 3.7)
    box = torch.tensor([0.0, 0.0, 64.0, 64.0])
    predicted = torch.tensor([0.0, 0.0, 64.0, 32.0]).expand(6, 64, 4)
    yield _one_box_an_image("costs", box, predicted, torch.cat((own, classes), dim=2), (8, 8), rule)
    # Overlaps of whole percents that add up to 3, or to a little less.
    percents = torch.zeros(40, 16)
    percents[:, :9] = torch.randint(20, 36, (40, 9), generator=random).float()
    percents[:, 9] = 300 - percents.sum(dim=1)
    box, zero = torch.tensor([0.0, 0.0, 100.0, 32.0]), torch.zeros(40, 16)
    predicted = torch.stack((zero, zero, percents, torch.full((40, 16), 32.0)), dim=2)
    yield _one_box_an_image("counts", box, predicted, torch.randn(40, 16, 5, generator=random), (4, 4), rule)


def _one_box_an_image(
    name: str, box: Tensor, predicted: Tensor, scores: Tensor, shape: tuple[int, int], rule: SimOta | SoftLabel
) -> PredictedSample:
    images = len(predicted)
    boxes, labels, offsets = box.expand(images, 4), torch.zeros(images, dtype=torch.int64), torch.arange(images + 1)
    kind = ObjectnessSample if isinstance(rule, SimOta) else PredictedSample
    return kind(
        f"{name}_by_rounding", boxes, labels, offsets, (shape,), (8.0,), rule, pred_boxes=predicted, scores=scores
    )


def soft_label_inputs() -> list[PredictedSample]:
    """The named cases of `samples` with predictions."""
    return [*_varied_soft(_small_inputs()), *decided_by_rounding(ROUNDED_SOFT_LABEL)]


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


def sim_ota_inputs() -> list[PredictedSample]:
    """The named cases of `samples` with predictions."""
    return [*_varied(_small_inputs()), *decided_by_rounding(ROUNDED_SIM_OTA)]


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
