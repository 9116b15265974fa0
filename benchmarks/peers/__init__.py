"""Everything a user would pick to assign labels, behind one call: ``contestant.assign(batch, rule)``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from pseudo_iou_ops import AssignRule, presets

from ..targets import Targets
from ..workloads import Batch
from . import box_major, fused, mmdetection, padded, torchvision


@dataclass(frozen=True)
class Contestant:
    """One way to make the targets of a batch.

    ``bytes_per_pair`` and ``seconds_per_pair`` (one core of a server CPU) are rough and decide one thing: whether
    a call is left out as too large or too long. A pair is a point and a box of the tables that are built.
    """

    name: str
    summary: str
    assign: Callable[[Batch, AssignRule], Targets]
    bytes_per_pair: float = 0.0
    seconds_per_pair: float = 0.0
    seconds_per_positive: float = 0.0
    pairs: Callable[[Batch], int] = lambda batch: batch.num_boxes * batch.pyramid.num_points
    pairs_at_once: Callable[[Batch], int] = lambda batch: batch.most_boxes * batch.pyramid.num_points
    exact_on: tuple[str, ...] = ("cpu", "cuda")
    """The devices where it must equal the op to the bit; elsewhere the points that differ are counted."""
    metrics: tuple[str, ...] = ("pseudo_iou", "centerness", "scaled_box")
    rule: AssignRule | None = None
    """Set if it knows one rule only; the op is then compared under that rule."""
    is_capturable: bool = False
    """Whether a CUDA graph can hold the call."""
    is_compiled: bool = False
    """Whether its kernels are hidden from the count of aten ops."""
    needs_cuda: bool = False
    is_ours: bool = False


def _padded_pairs(batch: Batch) -> int:
    return batch.num_images * batch.most_boxes * batch.pyramid.num_points


BASELINE = "pseudo_iou_ops, out="


def contestants() -> list[Contestant]:
    """A fresh set: the one that keeps its result starts without one."""
    found = [
        Contestant(
            "mmdetection-style, scalar filter",
            "per image, points x boxes; the filter of the paper's released code, candidate by candidate",
            mmdetection.assign_scalar,
            bytes_per_pair=80,
            seconds_per_pair=60e-9,
            seconds_per_positive=60e-6,
            metrics=("pseudo_iou",),
        ),
        Contestant(
            "mmdetection-style",
            "the same with all candidates filtered at once",
            mmdetection.assign,
            bytes_per_pair=80,
            seconds_per_pair=60e-9,
        ),
        Contestant(
            "torchvision-style",
            "per image, points x boxes, areas compared exactly",
            torchvision.assign,
            bytes_per_pair=60,
            seconds_per_pair=40e-9,
        ),
        Contestant(
            "torchvision-style, 1e8 - area",
            "the same with torchvision's float32 key, which confuses areas closer than 8",
            torchvision.assign_1e8,
            bytes_per_pair=60,
            seconds_per_pair=40e-9,
            exact_on=(),
        ),
        Contestant(
            "padded",
            "one padded images x points x boxes table",
            padded.assign,
            bytes_per_pair=35,
            seconds_per_pair=25e-9,
            pairs=_padded_pairs,
            pairs_at_once=_padded_pairs,
            is_capturable=True,
        ),
        Contestant(
            "padded, torch.compile",
            "the same through torch.compile(dynamic=True)",
            padded.assign_compiled,
            seconds_per_pair=1e-9,
            pairs=_padded_pairs,
            exact_on=("cpu",),  # the rounding of generated CUDA code is not eager's in every torch
            is_compiled=True,
        ),
        Contestant("box-major", "lists the points of every box's window, scatters the minimum", box_major.assign),
        Contestant(BASELINE, "written into an earlier result", fused.AssignInto(), is_capturable=True, is_ours=True),
        Contestant("pseudo_iou_ops", "a fresh result", fused.assign, is_capturable=True, is_ours=True),
        Contestant(
            "pseudo_iou_ops, lists",
            "packs the lists per image first, a fresh result",
            fused.assign_lists,
            is_ours=True,
        ),
    ]
    if find_spec("torchvision") is not None:
        found.append(
            Contestant(
                "torchvision FCOS as shipped",
                "its own matching and rule (center sampling); matches only, no targets",
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
            Contestant(
                "Triton, one kernel",
                "a tile of points each program",
                _triton,
                is_capturable=True,
                needs_cuda=True,
            )
        )
    return found


def _triton(batch: Batch, rule: AssignRule) -> Targets:
    from . import triton_tile  # compiles or interprets, as the environment says when it is imported

    return triton_tile.assign(batch, rule)
