"""The rules of the assigners where boxes choose points, one frozen dataclass a family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .rule import check_choice, check_flag, finite, set_field

AtssMetric = Literal["anchor_iou", "pseudo_iou", "product"]
Among = Literal["choosers", "all"]
TaskAlignedAmong = Literal["choosers", "all", "holders"]
Overlap = Literal["iou", "ciou"]
Candidates = Literal["inside", "all"]
Region = Literal["box_or_center", "center"]

# The position of a name is the code the kernels know it by (csrc/core/atss.h, task_aligned.h).
ATSS_METRICS: tuple[AtssMetric, ...] = ("anchor_iou", "pseudo_iou", "product")

AMONG: tuple[Among, ...] = ("choosers", "all")
TASK_ALIGNED_AMONG: tuple[TaskAlignedAmong, ...] = ("choosers", "all", "holders")
OVERLAPS: tuple[Overlap, ...] = ("iou", "ciou")
CANDIDATES: tuple[Candidates, ...] = ("inside", "all")
REGIONS: tuple[Region, ...] = ("box_or_center", "center")

MAX_K = 32
"""A box chooses at most so many points (:class:`Atss`: among so many of a level): kMaxK of csrc/core/top_k_params.h."""

MAX_BETA = 8

MAX_KEEP = 2**31 - 1


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
        _check_whole("k", self.k, 1, MAX_K)
        check_choice("metric", self.metric, ATSS_METRICS)
        _set_number(self, "anchor_scale", above=0.0)
        check_flag("inclusive", self.inclusive)
        _set_number(self, "inside_margin", at_least=0.0)
        check_choice("among", self.among, AMONG)
        _set_number(self, "offset")


@dataclass(frozen=True)
class TaskAligned:
    """Each box takes the points whose predictions fit it best in class and place (TOOD, Feng et al. 2021, section 3.2).

    The alignment of a point is ``p^alpha * iou^beta``: its score for the class of the box, its predicted box's overlap.

    Attributes:
        k: points of a box.
        alpha: power of the score, 0 or more.
        beta: power of the overlap, a whole number from 0 to 8.
        iou: ``iou``, or ``ciou`` (Zheng et al. 2020), floored at 0.
        candidates: ``inside``: points inside the box alone; ``all``: every point may take one of the k places, and
            those outside are dropped afterwards.
        inside_margin: in pixels; a point inside lies farther than this from every side.
        min_side: in pixels; a box with a shorter side is grown to it about its center for the test for inside.
        among: which boxes compete for a point that several chose, by their overlap: the ``choosers``, the ``holders``
            (boxes with the point inside), or ``all`` boxes of the image.
        keep: after that, how many points a box keeps, its best first; None: all.
        eps: added to the largest alignment of a box where the scores are divided by it.
        offset: where a level's point lies in its cell when the call does not say.

    Raises:
        ValueError: a field has a value outside its domain.
        TypeError: a field has the wrong type.

    Examples:
        >>> from dataclasses import replace
        >>> from pseudo_iou_ops import presets
        >>> replace(presets.yolov8, keep=1).k
        10
    """

    k: int = 13
    alpha: float = 1.0
    beta: int = 6
    iou: Overlap = "iou"
    candidates: Candidates = "inside"
    inside_margin: float = 0.0
    min_side: float = 0.0
    among: TaskAlignedAmong = "choosers"
    keep: int | None = None
    eps: float = 1e-9
    offset: float = 0.5

    def __post_init__(self) -> None:
        _check_whole("k", self.k, 1, MAX_K)
        _set_number(self, "alpha", at_least=0.0)
        _check_whole("beta", self.beta, 0, MAX_BETA)
        check_choice("iou", self.iou, OVERLAPS)
        check_choice("candidates", self.candidates, CANDIDATES)
        _set_number(self, "inside_margin", at_least=0.0)
        _set_number(self, "min_side", at_least=0.0)
        check_choice("among", self.among, TASK_ALIGNED_AMONG)
        if self.keep is not None:
            _check_whole("keep", self.keep, 1, MAX_KEEP)
        _set_number(self, "eps", above=0.0)
        _set_number(self, "offset")


@dataclass(frozen=True)
class SimOta:
    """Each box takes as many of its cheapest points as its overlaps add up to (YOLOX, Ge et al. 2021, section 2.3).

    A point costs a box the cross entropy of its predicted classes and the logarithm of its predicted box's overlap.
    Points in the box's own region come before all others, whatever they cost.

    Attributes:
        radius: of the center region, in strides.
        region: a box's own points lie in both the box and its center region, and make valid those in either
            (``box_or_center``); or both are the center region alone (``center``).
        top_ious: how many of the largest overlaps are added up to the number of points.
        iou_weight: of ``-log(IoU + eps)`` in the cost.
        cls_weight: of the classes' cross entropy in the cost.
        eps: added to the overlap under the logarithm.
        offset: where a level's point lies in its cell when the call does not say.

    Raises:
        ValueError: a field has a value outside its domain.
        TypeError: a field has the wrong type.

    Examples:
        >>> from dataclasses import replace
        >>> from pseudo_iou_ops import presets
        >>> replace(presets.simota, top_ious=13).radius
        2.5
    """

    radius: float = 2.5
    region: Region = "box_or_center"
    top_ious: int = 10
    iou_weight: float = 3.0
    cls_weight: float = 1.0
    eps: float = 1e-7
    offset: float = 0.5

    def __post_init__(self) -> None:
        _set_number(self, "radius", above=0.0)
        check_choice("region", self.region, REGIONS)
        _set_number(self, "cls_weight", at_least=0.0)
        _check_dynamic_k(self)


@dataclass(frozen=True)
class SoftLabel:
    """SimOTA's choice with costs in which classes are soft and nearness counts (RTMDet, Lyu et al. 2022, section 3.3).

    A point costs a box the distance of its predicted classes from the overlap of its predicted box, the logarithm of
    that overlap, and ten times as much with each stride that it is farther from the center.

    Attributes:
        radius: in strides; at so many from the center of a box the cost of the distance is 1.
        top_ious: how many of the largest overlaps are added up to the number of points.
        iou_weight: of ``-log(IoU + eps)`` in the cost.
        eps: added to the overlap under the logarithm.
        offset: where a level's point lies in its cell when the call does not say.

    Raises:
        ValueError: a field has a value outside its domain.
        TypeError: a field has the wrong type.

    Examples:
        >>> from dataclasses import replace
        >>> from pseudo_iou_ops import presets
        >>> replace(presets.rtmdet, radius=2.5).top_ious
        13
    """

    radius: float = 3.0
    top_ious: int = 13
    iou_weight: float = 3.0
    eps: float = 1e-7
    offset: float = 0.5

    def __post_init__(self) -> None:
        _set_number(self, "radius", at_least=0.0)
        _check_dynamic_k(self)


TopKRule = Atss | TaskAligned | SimOta | SoftLabel
"""Any rule by which boxes choose points."""


def _check_dynamic_k(rule: SimOta | SoftLabel) -> None:
    """The switches of the count and of the overlap's cost, which both rules have."""
    _check_whole("top_ious", rule.top_ious, 1, MAX_K)
    _set_number(rule, "iou_weight", at_least=0.0)
    _set_number(rule, "eps", above=0.0)
    _set_number(rule, "offset")


def _check_whole(name: str, value: object, at_least: int, at_most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name}: expected an integer, got {value!r}")
    if not at_least <= value <= at_most:
        raise ValueError(f"{name}: expected an integer in [{at_least}, {at_most}], got {value}")


def _set_number(rule: TopKRule, name: str, at_least: float | None = None, above: float | None = None) -> None:
    value = finite(name, getattr(rule, name))
    if at_least is not None and not value >= at_least:
        raise ValueError(f"{name}: expected a number of at least {at_least:g}, got {value}")
    if above is not None and not value > above:
        raise ValueError(f"{name}: expected a number above {above:g}, got {value}")
    set_field(rule, name, value)
