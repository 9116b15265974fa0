"""The calls of `assign_top_k` that the suites share: those of `samples` under rules of its own, and a few more."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from samples import Sample, assign_calls, pack, registration_inputs, sample_inputs

from pseudo_iou_ops import Atss, presets
from pseudo_iou_ops.top_k_rules import AMONG, ATSS_METRICS

PRESETS = {"atss": presets.atss, "pp_yoloe_atss": presets.pp_yoloe_atss, "pseudo_iou_atss": presets.pseudo_iou_atss}

RULES = (
    *PRESETS.values(),
    Atss(k=1),
    Atss(k=32, among="all"),
    Atss(k=3, metric="pseudo_iou", inside_margin=4.0),
    Atss(k=9, metric="product", among="all", anchor_scale=1.5, inclusive=False),
)


def every_atss() -> Iterator[Atss]:
    """Every combination of the switches, with typical numbers."""
    for k, metric, inclusive, margin, among in itertools.product(
        (1, 2, 9, 32), ATSS_METRICS, (True, False), (0.0, 4.0), AMONG
    ):
        yield Atss(k=k, metric=metric, inclusive=inclusive, inside_margin=margin, among=among, anchor_scale=3.0)


def atss_inputs() -> list[Sample]:
    """The named cases of `samples`, each under one of the rules, and grids on which distances tie."""
    # Those of `samples` that begin with rule_ differ in the other family's switches alone.
    shared = [sample for sample in sample_inputs() if not sample.name.startswith("rule_")]
    cases = [replace(sample, rule=rule) for sample, rule in zip(shared, itertools.cycle(RULES))]
    return [*cases, *_ties(), *_clamped_ranks()]


def atss_registration_inputs() -> list[Sample]:
    """The cases with different signatures, for checks that cost seconds a call."""
    return [
        replace(sample, rule=rule) for sample, rule in zip(registration_inputs(), itertools.cycle(RULES), strict=False)
    ]


def atss_calls() -> Any:
    """Strategy of small calls full of ties, borders and odd values under any rule."""
    from hypothesis import strategies as st

    rules = st.builds(
        Atss,
        k=st.sampled_from((1, 2, 3, 5, 9, 16, 32)),
        metric=st.sampled_from(ATSS_METRICS),
        anchor_scale=st.sampled_from((8.0, 5.0, 1.5, 1e-30, 1e30)),
        inclusive=st.booleans(),
        inside_margin=st.sampled_from((0.0, 0.01, 1.0, 4.0)),
        among=st.sampled_from(AMONG),
        offset=st.sampled_from((0.5, 0.0)),
    )
    return st.builds(lambda sample, rule: replace(sample, rule=rule), assign_calls(), rules)


def _ties() -> list[Sample]:
    """Boxes about a point, an edge and a corner of a cell, where four or eight points are equally far."""
    boxes = [[4, 4, 44, 44], [8, 4, 48, 44], [8, 8, 48, 48], [8, 8, 48, 48], [0, 0, 72, 72], [-8, -8, 16, 16]]
    return [
        pack(f"ties_of_{rule.k}_{rule.metric}", [boxes, boxes[::-1]], level_shapes=((9, 9), (5, 5)), strides=(8, 16),
             rule=rule)
        for rule in RULES
    ]  # fmt: skip


def _clamped_ranks() -> list[Sample]:
    """Levels with fewer rows or columns than k, alone and by padding, and boxes whose center lies outside."""
    boxes = [[-90, -90, 300, 20], [30, 2, 60, 9], [500, -40, 900, 100], [0, 0, 20, 4]]
    shapes = ((1, 40), (40, 1), (2, 3), (33, 34))
    sample = pack("narrow_levels", [boxes, boxes], level_shapes=shapes, strides=(8, 8, 16, 2), rule=Atss(k=32))
    sizes = torch.tensor([[17.0, 23.0], [1.0, 300.0]])
    return [sample, replace(sample, name="narrow_levels_padded", valid_sizes=sizes, rule=Atss(k=32, among="all"))]
