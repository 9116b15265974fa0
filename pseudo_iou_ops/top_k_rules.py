"""The rule of the assigner where boxes choose points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .rule import check_choice, check_flag, finite, set_field

AtssMetric = Literal["anchor_iou", "pseudo_iou", "product"]
Among = Literal["choosers", "all"]

# The position of a name is the code the kernels know it by (csrc/core/atss.h).
ATSS_METRICS: tuple[AtssMetric, ...] = ("anchor_iou", "pseudo_iou", "product")

AMONG: tuple[Among, ...] = ("choosers", "all")

MAX_K = 32
"""A box chooses among at most so many points of a level: kMaxK of csrc/core/top_k_params.h."""


@dataclass(frozen=True)
class Atss:
    """Each box takes the points near its center whose metric stands out among them (Zhang et al. 2020).

    Of every level the ``k`` points closest to the center of the box are its candidates. Those become positives that
    lie inside the box and whose metric reaches the mean of all candidates' plus their standard deviation: a threshold
    of its own for every box, from its own statistics.

    Attributes:
        k: closest points of each level.
        metric: ``anchor_iou``, IoU with a square of ``anchor_scale`` strides on the point; ``pseudo_iou``, the paper's
            Algorithm 1, 0 outside the box; ``product`` of the two. Pseudo-IoU alone tells where in a box a point lies
            and nothing about sizes: nearly every box then chooses the finest level.
        anchor_scale: the anchor's side in strides.
        inclusive: True: a candidate passes from the threshold on, False: above it.
        inside_margin: in pixels; a positive lies farther than this from every side of its box.
        among: which boxes compete for a point that several chose, by their metric: the ``choosers``, or ``all`` boxes
            of the image.
        offset: where a level's point lies in its cell when the call does not say.

    Raises:
        ValueError: a field has a value outside its domain.
        TypeError: a field has the wrong type.

    Examples:
        >>> from dataclasses import replace
        >>> from pseudo_iou_ops import Atss
        >>> replace(Atss(), metric="product").k
        9
    """

    k: int = 9
    metric: AtssMetric = "anchor_iou"
    anchor_scale: float = 8.0
    inclusive: bool = True
    inside_margin: float = 0.0
    among: Among = "choosers"
    offset: float = 0.5

    def __post_init__(self) -> None:
        _check_k(self.k)
        check_choice("metric", self.metric, ATSS_METRICS)
        _set_number(self, "anchor_scale", above=0.0)
        check_flag("inclusive", self.inclusive)
        _set_number(self, "inside_margin", at_least=0.0)
        check_choice("among", self.among, AMONG)
        _set_number(self, "offset")


def _check_k(k: object) -> None:
    if not isinstance(k, int) or isinstance(k, bool):
        raise TypeError(f"k: expected an integer, got {k!r}")
    if not 1 <= k <= MAX_K:
        raise ValueError(f"k: expected an integer in [1, {MAX_K}], got {k}")


def _set_number(rule: Atss, name: str, at_least: float | None = None, above: float | None = None) -> None:
    value = finite(name, getattr(rule, name))
    if at_least is not None and not value >= at_least:
        raise ValueError(f"{name}: expected a number of at least {at_least:g}, got {value}")
    if above is not None and not value > above:
        raise ValueError(f"{name}: expected a number above {above:g}, got {value}")
    set_field(rule, name, value)
