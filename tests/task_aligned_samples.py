"""The calls of `assign_top_k` with a `TaskAligned` that the suites share."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from samples import Sample, assign_calls, registration_inputs, sample_inputs
from torch import Tensor

from pseudo_iou_ops import TaskAligned, presets
from pseudo_iou_ops.top_k_rules import CANDIDATES, OVERLAPS, TASK_ALIGNED_AMONG

CLASSES = 4
PRESETS = {"tood": presets.tood, "pp_yoloe": presets.pp_yoloe, "yolov8": presets.yolov8}
LAYOUTS = ("dense", "points", "maps", "channels_last")
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)

RULES = (
    *PRESETS.values(),
    replace(presets.yolov8, keep=1),
    TaskAligned(k=1, alpha=2.0, beta=1),
    TaskAligned(k=32, alpha=0.7, beta=2, among="all", keep=3),
    TaskAligned(k=3, alpha=0.0, beta=8, inside_margin=4.0, candidates="all", among="holders", iou="ciou"),
)


@dataclass(frozen=True, eq=False)
class PredictedSample(Sample):
    """A call with what a head predicts."""

    pred_boxes: Any = None
    scores: Any = None
    box_format: str = "xyxy"
    score_kind: str = "logits"

    def kwargs(self) -> dict[str, Any]:
        names = ("pred_boxes", "scores", "box_format", "score_kind")
        return {**super().kwargs(), **{name: getattr(self, name) for name in names}}


def every_task_aligned() -> Iterator[TaskAligned]:
    """Every combination of the switches, with typical numbers."""
    for iou, candidates, among, keep, min_side in itertools.product(
        OVERLAPS, CANDIDATES, TASK_ALIGNED_AMONG, (None, 2), (0.0, 24.0)
    ):
        for alpha, beta in ((0.5, 6), (1.0, 3)):
            yield TaskAligned(
                5, alpha, beta, iou, candidates, inside_margin=0.01, min_side=min_side, among=among, keep=keep
            )


def with_predictions(
    sample: Sample,
    rule: TaskAligned,
    seed: int = 0,
    layout: str = "dense",
    dtype: torch.dtype = torch.float32,
    box_format: str = "xyxy",
    score_kind: str = "logits",
    classes: int = CLASSES,
) -> PredictedSample:
    """Boxes near those of the image at each point, on a coarse grid so that they tie, and some that are none."""
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.stack(
        [_near(sample, image, box_format, generator) for image in range(sample.num_images)]
    ) if sample.num_images else torch.zeros(0, sample.num_points, 4)  # fmt: skip
    _make_odd(boxes, (math.nan, math.inf, -1e30), generator)
    scores = odd_scores((sample.num_images, sample.num_points, classes), score_kind, generator)
    fields = {name: getattr(sample, name) for name in Sample.__dataclass_fields__}
    fields |= {"rule": rule, "labels": sample.labels % max(classes, 1)}
    return PredictedSample(
        **fields,
        pred_boxes=laid_out(boxes.to(dtype), sample.level_shapes, layout),
        scores=laid_out(scores.to(dtype), sample.level_shapes, layout),
        box_format=box_format,
        score_kind=score_kind,
    )


def odd_scores(shape: Sequence[int], score_kind: str, generator: torch.Generator) -> Tensor:
    """Scores on a coarse grid so that they tie, and some that are no numbers or no probabilities."""
    scores = torch.randn(*shape, generator=generator).mul(2).round() / 2
    if score_kind == "probabilities":
        scores = scores / 4 + 0.5  # some below 0 and above 1
    _make_odd(scores, (math.nan, math.inf, -math.inf), generator)
    return scores


def _make_odd(values: Tensor, odd: tuple[float, ...], generator: torch.Generator) -> None:
    where = torch.rand(values.shape, generator=generator) < 0.02
    choice = torch.randint(len(odd), values.shape, generator=generator)
    values[where] = torch.tensor(odd)[choice[where]]


def _near(sample: Sample, image: int, box_format: str, generator: torch.Generator) -> Tensor:
    points = sample.num_points
    if box_format == "ltrb":
        return torch.randint(-1, 9, (points, 4), generator=generator) * 4.0
    own = sample.boxes.float().nan_to_num(0, 64, 0).clamp(-200, 200)
    targets = (
        own[torch.randint(max(len(own), 1), (points,), generator=generator)] if len(own) else torch.zeros(points, 4)
    )
    return targets + torch.randint(-2, 3, (points, 4), generator=generator) * 4.0


def laid_out(values: Tensor, shapes: Sequence[tuple[int, int]], layout: str) -> Tensor | list[Tensor]:
    """(B, P, C) values as a head may leave them."""
    if layout == "dense":
        return values
    levels = values.split([height * width for height, width in shapes], dim=1)
    if layout == "points":
        return list(levels)
    maps = [level.transpose(1, 2).unflatten(2, shape) for level, shape in zip(levels, shapes, strict=True)]
    if layout == "maps":
        return [level.contiguous() for level in maps]
    return [level.contiguous(memory_format=torch.channels_last) for level in maps]


def _varied(samples: Sequence[Sample]) -> list[PredictedSample]:
    """Each sample under one of the rules, layouts, dtypes, formats and kinds."""
    ways = zip(
        itertools.cycle(RULES),
        itertools.cycle(LAYOUTS),
        itertools.cycle((*DTYPES, torch.float32)),
        itertools.cycle(("xyxy", "xyxy", "ltrb")),
        itertools.cycle(("logits", "logits", "logits", "probabilities", "logits")),
        strict=False,
    )
    return [
        with_predictions(sample, rule, seed, layout, dtype, box_format, score_kind)
        for seed, (sample, (rule, layout, dtype, box_format, score_kind)) in enumerate(zip(samples, ways, strict=False))
    ]


def task_aligned_inputs() -> list[PredictedSample]:
    """The named cases of `samples` with predictions."""
    return _varied([s for s in sample_inputs() if not s.name.startswith("rule_") and s.num_pairs < 200_000])


def task_aligned_registration_inputs() -> list[PredictedSample]:
    """The cases with different signatures, for checks that cost seconds a call."""
    return _varied(registration_inputs())


def task_aligned_calls() -> Any:
    """Strategy of small calls under any rule, with predictions that tie or are none."""
    from hypothesis import strategies as st

    rules = st.builds(
        TaskAligned,
        k=st.sampled_from((1, 2, 3, 13, 32)),
        alpha=st.sampled_from((0.0, 0.5, 1.0, 2.0, 0.7)),
        beta=st.integers(0, 8),
        iou=st.sampled_from(OVERLAPS),
        candidates=st.sampled_from(CANDIDATES),
        inside_margin=st.sampled_from((0.0, 0.01, 4.0)),
        min_side=st.sampled_from((0.0, 16.0, 40.0)),
        among=st.sampled_from(TASK_ALIGNED_AMONG),
        keep=st.sampled_from((None, None, 1, 3)),
        eps=st.sampled_from((1e-9, 1e-7)),
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
        score_kind=st.sampled_from(("logits", "probabilities")),
    )
