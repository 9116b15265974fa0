"""The section ``assign`` of a configuration: a family of rules, a preset of it, and the switches that differ."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pseudo_iou_ops import AssignRule, Atss, presets
from pseudo_iou_ops.rule import Metric, Order, RangeBounds, Resolve
from pseudo_iou_ops.top_k_rules import AtssMetric

from .errors import UsageError

Preset = Literal["paper", "paper_baseline", "authors_code", "fcos", "torchvision_fcos", "detectron2_fcos"]
Kind = Literal["points", "atss"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Rule = AssignRule | Atss
AtssPreset = Literal["atss", "pp_yoloe_atss", "pseudo_iou_atss"]
PresetName = Literal[Preset, AtssPreset]


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
    among: Literal["choosers", "all"] | None = None
    """Whether a point several boxes chose goes to the best of these, or of the image's."""
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
    atss: AtssConfig = field(default_factory=AtssConfig)

    def rule(self) -> Rule:
        """The checked rule; raises UsageError for a switch outside its domain, or one of another family."""
        for kind in KINDS:
            if kind != self.kind:
                self._check_unset(kind)
        try:
            rule: Rule = dataclasses.replace(self._preset(), **self._switches(self.kind))
        except (ValueError, TypeError) as error:
            raise UsageError(f"{self._section(self.kind)}.{error}") from None
        return rule

    def _preset(self) -> Any:
        return getattr(presets, self.preset if self.kind == "points" else getattr(self, self.kind).preset)

    def _switches(self, kind: Kind) -> dict[str, Any]:
        """The switches of a family that are set; those of ``points`` stand beside the sections of the others."""
        switches = vars(self if kind == "points" else getattr(self, kind))
        return {n: value for n, value in switches.items() if n not in ("kind", "preset", *KINDS) and value is not None}

    def _check_unset(self, kind: Kind) -> None:
        for name, value in self._switches(kind).items():
            raise UsageError(
                f"{self._section(kind)}.{name}: expected no value with assign.kind {self.kind}, which does not read "
                f"it, got {value!r}"
            )

    @staticmethod
    def _section(kind: Kind) -> str:
        return "assign" if kind == "points" else f"assign.{kind}"
