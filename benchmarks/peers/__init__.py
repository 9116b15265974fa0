"""Everything a user would pick to assign labels, behind one call: ``contestant.call(batch, rule)``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from pseudo_iou_ops import AssignRule, presets

from ..contest import Contestant
from ..targets import Targets
from ..workloads import Batch
from . import box_major, fused, mmdetection, padded, torchvision


@dataclass(frozen=True)
class Assigner(Contestant):
    """One way to make the targets of a batch.

    ``bytes_per_pair`` and ``seconds_per_pair`` (one core of a server CPU) are rough and decide one thing: whether
    a call is left out as too large or too long. A pair is a point and a box of the tables that are built.
    """

    call: Callable[..., Any]
    bytes_per_pair: float = 0.0
    seconds_per_pair: float = 0.0
    seconds_per_positive: float = 0.0
    pairs: Callable[[Batch], int] = lambda batch: batch.num_boxes * batch.pyramid.num_points
    pairs_at_once: Callable[[Batch], int] = lambda batch: batch.most_boxes * batch.pyramid.num_points
    exact_on: tuple[str, ...] = ("cpu", "cuda")
    """The devices where it must equal the op to the bit; elsewhere the points that differ are counted."""
    is_exact_if_equal: bool = False
    """Whether it counts as exact where no point differs, though nothing promises that none does."""
    metrics: tuple[str, ...] = ("pseudo_iou", "centerness", "scaled_box")
    other_metric: str = "another metric"
    """Why it is left out under others."""
    rule: AssignRule | None = None
    """Set if it knows one rule only; the op is then compared under that rule."""
    is_capturable: bool = False
    """Whether a CUDA graph can hold the call."""
    is_compiled: bool = False
    """Whether its kernels are hidden from the count of aten ops."""
    needs_cuda: bool = False
    is_ours: bool = False


def padded_pairs(batch: Batch) -> int:
    return batch.num_images * batch.most_boxes * batch.pyramid.num_points


BASELINE = "pseudo_iou_ops, out="


def contestants() -> list[Assigner]:
    """A fresh set: the one that keeps its result starts without one. Ours come first: a run may be cut off."""
    return [*_ours(), *_peers(), *_optional()]


def _peers() -> list[Assigner]:
    return [
        # Per image, points x boxes; the filter of the paper's released code, candidate by candidate.
        Assigner(
            "mmdetection-style, scalar filter",
            mmdetection.assign_scalar,
            bytes_per_pair=80,
            seconds_per_pair=60e-9,
            seconds_per_positive=60e-6,
            metrics=("pseudo_iou",),
        ),
        # The same with all candidates filtered at once.
        Assigner(
            "mmdetection-style",
            mmdetection.assign,
            bytes_per_pair=80,
            seconds_per_pair=60e-9,
        ),
        # Per image, points x boxes, areas compared exactly.
        Assigner(
            "torchvision-style",
            torchvision.assign,
            bytes_per_pair=60,
            seconds_per_pair=40e-9,
        ),
        # The same with torchvision's float32 key, which confuses areas closer than 8.
        Assigner(
            "torchvision-style, 1e8 - area",
            torchvision.assign_1e8,
            bytes_per_pair=60,
            seconds_per_pair=40e-9,
            exact_on=(),
        ),
        # One padded images x points x boxes table.
        Assigner(
            "padded",
            padded.assign,
            bytes_per_pair=35,
            seconds_per_pair=25e-9,
            pairs=padded_pairs,
            pairs_at_once=padded_pairs,
            is_capturable=True,
        ),
        # The same through torch.compile(dynamic=True).
        Assigner(
            "padded, torch.compile",
            padded.assign_compiled,
            seconds_per_pair=1e-9,
            pairs=padded_pairs,
            exact_on=("cpu",),  # the rounding of generated CUDA code is not eager's in every torch
            is_compiled=True,
        ),
        # Lists the points of every box's window, scatters the minimum.
        Assigner("box-major", box_major.assign),
    ]


def _ours() -> list[Assigner]:
    return [
        # Written into an earlier result.
        Assigner(BASELINE, fused.AssignInto(), is_capturable=True, is_ours=True),
        # A fresh result.
        Assigner("pseudo_iou_ops", fused.assign, is_capturable=True, is_ours=True),
        # Packs the lists per image first, a fresh result.
        Assigner(
            "pseudo_iou_ops, lists",
            fused.assign_lists,
            is_ours=True,
        ),
    ]


def _optional() -> list[Assigner]:
    found = []
    if find_spec("torchvision") is not None:
        found.append(
            # Its own matching and rule (center sampling); matches only, no targets.
            Assigner(
                "torchvision FCOS as shipped",
                torchvision.assign_shipped,
                bytes_per_pair=80,
                seconds_per_pair=50e-9,
                exact_on=(),
                metrics=("pseudo_iou",),
                rule=presets.torchvision_fcos,
            )
        )
    if find_spec("triton") is not None:
        found.append(
            # A tile of points each program.
            Assigner(
                "Triton, one kernel",
                _triton,
                is_capturable=True,
                needs_cuda=True,
            )
        )
    return found


def _triton(batch: Batch, rule: AssignRule) -> Targets:
    from . import triton_tile  # compiles or interprets, as the environment says when it is imported

    return triton_tile.assign(batch, rule)
