"""The switches that decide which box a point gets and whether it becomes a positive."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from types import MappingProxyType
from typing import Literal

from torch import Tensor

from .metrics import centerness_of, pseudo_iou_of, scaled_box_of

Metric = Literal["pseudo_iou", "centerness", "scaled_box", "center_radius", "none"]
Order = Literal["choose_then_filter", "filter_then_choose"]
Resolve = Literal["min_area", "max_metric"]
RangeBounds = Literal["closed", "open"]


@dataclass(frozen=True)
class MetricTraits:
    """What sets a metric apart, for all that is not its formula.

    Attributes:
        accepts: whether a threshold lies in the metric's domain; None: the metric reads no threshold.
        domain: the domain in words, with {} in place of the argument's name.
        larger_is_stricter: whether fewer points pass a larger threshold.
        value: of l, t, r, b in pixels, what two boxes are compared by; None: the metric has no value.
        best_threshold: the best of the paper's Tables 1a and 2, or FCOS's radius in strides.
    """

    accepts: Callable[[float], bool] | None
    domain: str
    larger_is_stricter: bool
    value: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] | None
    best_threshold: float


def _is_fraction(threshold: float) -> bool:
    return 0 <= threshold < 1


def _is_scale(threshold: float) -> bool:
    return 0 < threshold <= 1


def _is_radius(threshold: float) -> bool:
    return threshold > 0


# The position of a name is the code the kernels know it by (csrc/core/metrics.h).
METRIC_TRAITS: Mapping[Metric, MetricTraits] = MappingProxyType(
    {
        "pseudo_iou": MetricTraits(_is_fraction, "0 <= {} < 1", True, pseudo_iou_of, 0.4),
        "centerness": MetricTraits(_is_fraction, "0 <= {} < 1", True, centerness_of, 0.35),
        "scaled_box": MetricTraits(_is_scale, "0 < {} <= 1", False, scaled_box_of, 0.6),
        "center_radius": MetricTraits(_is_radius, "a radius above 0", False, None, 1.5),
        "none": MetricTraits(None, "", False, None, 0.4),
    }
)
METRICS: tuple[Metric, ...] = tuple(METRIC_TRAITS)

# The position of a name is the code the kernels know it by (csrc/core/rule.h).
ORDERS: tuple[Order, ...] = ("choose_then_filter", "filter_then_choose")
RESOLVES: tuple[Resolve, ...] = ("min_area", "max_metric")
RANGE_BOUNDS: tuple[RangeBounds, ...] = ("closed", "open")

_LARGEST_FLOAT32 = (2 - 2**-23) * 2.0**127

_OpArguments = tuple[int, float, float | None, bool, int, int, tuple[float, ...], bool, bool]


@dataclass(frozen=True)
class AssignRule:
    """How points are labelled. Immutable, hashable, checked when made.

    Attributes:
        metric: what a point inside a box is judged by. ``pseudo_iou`` is the paper's Algorithm 1;
            ``centerness`` and ``scaled_box`` are the two alternatives of its section 4.2;
            ``center_radius`` is FCOS's center sampling; ``none`` lets every inside point pass (the
            paper's baseline).
        threshold: what the metric is compared with. Pseudo-IoU and centerness: a point passes above it,
            in [0, 1). ``scaled_box``: the scale s of the box a point must lie in, in (0, 1].
            ``center_radius``: the radius rho in strides, above 0. Not read by ``none``.
        ignore_threshold: the ignore band. A point that fails ``threshold`` and passes this looser value is
            ignored (-2) instead of background. None: no band.
        inclusive: False compares strictly (section 3.2: "larger than T"), True admits equality (the
            equation of section 1).
        order: ``choose_then_filter`` gives a point to one box first, and a point that fails there is not
            offered to another; ``filter_then_choose`` offers it to every box it passes for.
        resolve: several candidates: ``min_area``, the smallest box; ``max_metric``, the largest metric, then
            the smallest box. The lowest row of ``boxes`` wins what is still tied.
        regress_ranges: one (low, high) pair a level on max(l, t, r, b) in pixels, or None for every level.
        range_bounds: whether a distance equal to a bound is in range (``closed``) or not (``open``).
        normalize_by_stride: divide the ltrb targets by the level's stride, after all else is decided.
        offset: where a level's point lies in its cell when the call does not say: 0.5 the middle, 0.0 the
            corner.

    Raises:
        ValueError: a switch has a value outside its domain, or two switches contradict each other.
        TypeError: a switch has the wrong type.

    Examples:
        >>> from dataclasses import replace
        >>> from pseudo_iou_ops import AssignRule
        >>> rule = AssignRule(metric="centerness", threshold=0.3, ignore_threshold=0.2)
        >>> replace(rule, threshold=0.5).threshold
        0.5
    """

    metric: Metric = "pseudo_iou"
    threshold: float = 0.4
    ignore_threshold: float | None = None
    inclusive: bool = False
    order: Order = "choose_then_filter"
    resolve: Resolve = "min_area"
    regress_ranges: Sequence[tuple[float, float]] | None = None
    range_bounds: RangeBounds = "closed"
    normalize_by_stride: bool = False
    offset: float = 0.5
    op_arguments: _OpArguments = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_choice("metric", self.metric, METRICS)
        check_choice("order", self.order, ORDERS)
        check_choice("resolve", self.resolve, RESOLVES)
        check_choice("range_bounds", self.range_bounds, RANGE_BOUNDS)
        check_flag("inclusive", self.inclusive)
        check_flag("normalize_by_stride", self.normalize_by_stride)
        set_field(self, "threshold", finite("threshold", self.threshold))
        set_field(self, "offset", finite("offset", self.offset))
        _check_threshold("threshold", self.threshold, self.metric)
        if self.ignore_threshold is not None:
            set_field(self, "ignore_threshold", finite("ignore_threshold", self.ignore_threshold))
            _check_ignore_threshold(self.ignore_threshold, self.threshold, self.metric)
        if self.resolve == "max_metric" and METRIC_TRAITS[self.metric].value is None:
            raise ValueError(
                f"resolve: expected 'min_area' with metric {self.metric!r}, which has no value to compare, "
                f"got 'max_metric'"
            )
        if self.regress_ranges is not None:
            set_field(self, "regress_ranges", _checked_ranges(self.regress_ranges))
        set_field(self, "op_arguments", self._op_arguments())

    def _op_arguments(self) -> _OpArguments:
        """The rule as the op takes it; made once, because a call has microseconds."""
        ranges = self.regress_ranges or ()
        return (
            METRICS.index(self.metric),
            self.threshold,
            self.ignore_threshold,
            self.inclusive,
            ORDERS.index(self.order),
            RESOLVES.index(self.resolve),
            tuple(bound for pair in ranges for bound in pair),
            self.range_bounds == "open",
            self.normalize_by_stride,
        )


def set_field(rule: object, name: str, value: object) -> None:
    """Write a field of a frozen dataclass that is being made."""
    object.__setattr__(rule, name, value)


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")


def check_flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name}: expected a bool, got {value!r}")


def finite(name: str, value: object) -> float:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:  # of a whole number that is too large
        number = math.inf
    if not -_LARGEST_FLOAT32 <= number <= _LARGEST_FLOAT32:
        raise ValueError(f"{name}: expected a finite number that float32 can hold, got {value!r}")
    return number


def _check_threshold(name: str, value: float, metric: Metric) -> None:
    traits = METRIC_TRAITS[metric]
    if traits.accepts is not None and not traits.accepts(value):
        raise ValueError(f"{name}: expected {traits.domain.format(name)} with metric {metric!r}, got {value}")


def _check_ignore_threshold(value: float, threshold: float, metric: Metric) -> None:
    traits = METRIC_TRAITS[metric]
    if traits.accepts is None:
        raise ValueError(
            f"ignore_threshold: expected None with metric {metric!r}, which no inside point fails, got {value}"
        )
    _check_threshold("ignore_threshold", value, metric)
    is_looser = value < threshold if traits.larger_is_stricter else value > threshold
    if not is_looser:
        side = "below" if traits.larger_is_stricter else "above"
        raise ValueError(
            f"ignore_threshold: expected a looser value than threshold ({side} {threshold} with metric "
            f"{metric!r}), got {value}"
        )


def _checked_ranges(ranges: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    if isinstance(ranges, str) or not isinstance(ranges, Sequence):
        raise TypeError(f"regress_ranges: expected a sequence of (low, high) pairs, got {ranges!r}")
    return tuple(_checked_range(pair) for pair in ranges)


def _checked_range(pair: object) -> tuple[float, float]:
    if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2:
        raise TypeError(f"regress_ranges: expected (low, high) pairs, got {pair!r}")
    for bound in pair:
        if not isinstance(bound, Real) or isinstance(bound, bool):
            raise TypeError(f"regress_ranges: expected numbers as bounds, got {bound!r}")
    low, high = float(pair[0]), float(pair[1])
    if not low <= high:
        raise ValueError(f"regress_ranges: expected low <= high, got ({low}, {high})")
    return low, high
