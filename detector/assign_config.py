"""The section ``assign`` of a configuration: a family of rules, a preset of it, and the switches that differ."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from pseudo_iou_ops import AssignRule, presets
from pseudo_iou_ops.rule import Metric, Order, RangeBounds, Resolve
from pseudo_iou_ops.top_k_rules import Among, AtssMetric, Candidates, Overlap, Region, TaskAlignedAmong, TopKRule

from .errors import UsageError

Preset = Literal["paper", "paper_baseline", "authors_code", "fcos", "torchvision_fcos", "detectron2_fcos"]
Kind = Literal["points", "atss", "task_aligned", "sim_ota", "soft_label"]
KINDS: tuple[Kind, ...] = get_args(Kind)
STATIC_KINDS: tuple[Kind, ...] = ("points", "atss")
"""Those that read no predictions."""

Rule = AssignRule | TopKRule
AtssPreset = Literal["atss", "pp_yoloe_atss", "pseudo_iou_atss"]
TaskAlignedPreset = Literal["tood", "pp_yoloe", "yolov8"]
SimOtaPreset = Literal["simota", "yolox"]
SoftLabelPreset = Literal["rtmdet"]
PresetName = Literal[Preset, AtssPreset, TaskAlignedPreset, SimOtaPreset, SoftLabelPreset]


@dataclass(frozen=True)
class AtssConfig:
    """Read with ``kind: atss``: statistics of each box's closest points give it a threshold of its own."""

    preset: AtssPreset = "atss"
    """Where the switches left at None take their values from."""
    k: int | None = None
    """Closest points of each level that are a box's candidates."""
    metric: AtssMetric | None = None
    """What a candidate is judged by."""
    anchor_scale: float | None = None
    """Side of a point's anchor in strides."""
    inclusive: bool | None = None
    """Whether a value equal to the box's threshold passes."""
    inside_margin: float | None = None
    """Pixels by which a positive point is farther inside than the border."""
    among: Among | None = None
    """Whether a point several boxes chose goes to the best of these, or of the image's."""
    offset: float | None = None
    """Where a point lies in its cell: 0.5 the middle, 0.0 the corner."""


@dataclass(frozen=True)
class TaskAlignedConfig:
    """Read with ``kind: task_aligned``: each box takes the points whose score and predicted box fit it best."""

    preset: TaskAlignedPreset = "tood"
    """Where the switches left at None take their values from."""
    k: int | None = None
    """Most points of a box."""
    alpha: float | None = None
    """Power of the score."""
    beta: int | None = None
    """Power of the overlap."""
    iou: Overlap | None = None
    """The overlap of a predicted box with the box."""
    candidates: Candidates | None = None
    """Whether points outside a box take places among its k, which are then lost."""
    inside_margin: float | None = None
    """Pixels by which a positive point is farther inside than the border."""
    min_side: float | None = None
    """Pixels that a shorter side of a box grows to before its points are looked for."""
    among: TaskAlignedAmong | None = None
    """Whether a point several boxes chose goes to the best of these, of those that hold it, or of the image's."""
    keep: int | None = None
    """Points that a box keeps of these, its best."""
    eps: float | None = None
    """Added to the divisor of the soft target."""
    offset: float | None = None
    """Where a point lies in its cell: 0.5 the middle, 0.0 the corner."""


@dataclass(frozen=True)
class SimOtaConfig:
    """Read with ``kind: sim_ota``: each box takes as many of its cheapest points as its overlaps add up to."""

    preset: SimOtaPreset = "simota"
    """Where the switches left at None take their values from."""
    radius: float | None = None
    """Of the center region, in strides."""
    region: Region | None = None
    """Whether points of the box count beside those of its center region."""
    top_ious: int | None = None
    """How many of the largest overlaps are added up."""
    iou_weight: float | None = None
    """Of the overlap's logarithm in the cost."""
    cls_weight: float | None = None
    """Of the classes' cross entropy in the cost."""
    eps: float | None = None
    """Added to the overlap under the logarithm."""
    offset: float | None = None
    """Where a point lies in its cell: 0.5 the middle, 0.0 the corner."""


@dataclass(frozen=True)
class SoftLabelConfig:
    """Read with ``kind: soft_label``: SimOTA's choice by costs of soft classes and of the distance from the center."""

    preset: SoftLabelPreset = "rtmdet"
    """Where the switches left at None take their values from."""
    radius: float | None = None
    """Distance from the center, in strides, at which it costs 1."""
    top_ious: int | None = None
    """How many of the largest overlaps are added up."""
    iou_weight: float | None = None
    """Of the overlap's logarithm in the cost."""
    eps: float | None = None
    """Added to the overlap under the logarithm."""
    offset: float | None = None
    """Where a point lies in its cell: 0.5 the middle, 0.0 the corner."""


@dataclass(frozen=True)
class AssignConfig:
    """Which family of rules assigns, a preset of pseudo_iou_ops, and the switches that differ from it."""

    kind: Kind = "points"
    """points choose a box, by the switches beside this one; in the other families boxes choose points."""
    preset: Preset = "paper"
    """Where the switches left at None take their values from; this and they are read with kind points."""
    metric: Metric | None = None
    """What a point inside a box is judged by."""
    threshold: float | None = None
    """Value of the metric that a positive point passes."""
    ignore_threshold: float | None = None
    """A looser value: a point between the two is ignored."""
    inclusive: bool | None = None
    """Whether a value equal to the threshold passes."""
    order: Order | None = None
    """Whether a point that fails in its box is offered to another box."""
    resolve: Resolve | None = None
    """Which of several boxes a point goes to."""
    regress_ranges: tuple[tuple[float, float], ...] | None = None
    """Per level, the range of the largest distance to a side, in pixels."""
    range_bounds: RangeBounds | None = None
    """Whether the ends of the ranges belong to them."""
    normalize_by_stride: bool | None = None
    """Divide the regression targets by the stride."""
    offset: float | None = None
    """Where a point lies in its cell: 0.5 the middle, 0.0 the corner."""
    initial_iterations: Annotated[int, Field(ge=0)] = 0
    """Begin with as many iterations by the section atss, before a family that reads predictions takes over."""
    atss: AtssConfig = field(default_factory=AtssConfig)
    task_aligned: TaskAlignedConfig = field(default_factory=TaskAlignedConfig)
    sim_ota: SimOtaConfig = field(default_factory=SimOtaConfig)
    soft_label: SoftLabelConfig = field(default_factory=SoftLabelConfig)

    @property
    def reads_predictions(self) -> bool:
        """Whether the rule of the family does, whose result has soft targets of the class scores."""
        return self.kind not in STATIC_KINDS

    def rule(self) -> Rule:
        """The checked rule; raises UsageError for a switch outside its domain, or one of another family."""
        if self.initial_iterations and not self.reads_predictions:
            raise UsageError(
                f"assign.initial_iterations: expected 0 with assign.kind {self.kind}, which reads no predictions, "
                f"got {self.initial_iterations}"
            )
        for kind in KINDS:
            if kind != self.kind and not (kind == "atss" and self.initial_iterations):
                self._check_unset(kind)
        return self._rule_of(self.kind)

    def initial_rule(self) -> Rule | None:
        """The checked rule of the first iterations, if they have one of their own."""
        return self._rule_of("atss") if self.initial_iterations else None

    def _rule_of(self, kind: Kind) -> Rule:
        preset = self.preset if kind == "points" else getattr(self, kind).preset
        try:
            rule: Rule = dataclasses.replace(getattr(presets, preset), **self._switches(kind))
        except (ValueError, TypeError) as error:
            raise UsageError(f"{self._section(kind)}.{error}") from None
        return rule

    def _switches(self, kind: Kind) -> dict[str, Any]:
        """The switches of a family that are set; those of ``points`` stand beside the sections of the others."""
        switches = vars(self if kind == "points" else getattr(self, kind))
        others = ("kind", "preset", "initial_iterations", *KINDS)
        return {name: value for name, value in switches.items() if name not in others and value is not None}

    def _check_unset(self, kind: Kind) -> None:
        """The preset of a family that does not assign may be the default one, which no one need have written."""
        section = self if kind == "points" else getattr(self, kind)
        preset = {} if section.preset == type(section).preset else {"preset": section.preset}
        for name, value in {**preset, **self._switches(kind)}.items():
            raise UsageError(
                f"{self._section(kind)}.{name}: expected no value with assign.kind {self.kind}, which does not read "
                f"it, got {value!r}"
            )

    @staticmethod
    def _section(kind: Kind) -> str:
        return "assign" if kind == "points" else f"assign.{kind}"
