"""The op under the names and arguments of mmdetection's assigners. Tried with mmdetection 3.3.0.

    register_assigners()  # e.g. in a module that custom_imports names
    assigner = dict(type="FusedATSSAssigner", topk=9)  # in place of ATSSAssigner

Each takes one image a call, as mmdetection's own, and finds the shapes of the levels in the priors, which it reads on
the host.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .. import presets
from ..encodings import to_class_labels, to_mmdetection
from ..packing import pack_boxes
from ..top_k import TopKAssignment
from ..top_k_assigner import TopKAssigner
from ..top_k_rules import Atss
from ._grid import grids_of_priors

_OVERLAPS = {"type": "BboxOverlaps2D"}


class FusedATSSAssigner:
    """mmdetection's ``ATSSAssigner``, for heads with one square anchor a point: ATSSHead, GFLHead.

    Args:
        topk: closest anchors of each level.
        anchor_scale: the anchors' side in strides, ``octave_base_scale`` of the anchor generator.
        alpha: of DDOD's form, which reads predictions: not supported, None.
        ignore_iof_thr: share of an anchor in an ignored box; not supported, -1. Ignored boxes are not read.
        iou_calculator: mmdetection's default alone.

    Raises:
        ValueError: an argument asks for what is not supported.

    Examples:
        >>> import pickle
        >>> from pseudo_iou_ops.integrations.mmdetection_assigners import FusedATSSAssigner
        >>> pickle.loads(pickle.dumps(FusedATSSAssigner(topk=9))).rule.k
        9
    """

    def __init__(
        self,
        topk: int = 9,
        anchor_scale: float = 8.0,
        alpha: float | None = None,
        ignore_iof_thr: float = -1,
        iou_calculator: dict[str, Any] = _OVERLAPS,
    ) -> None:
        if alpha is not None:
            raise ValueError(f"alpha: expected None, because predictions are not read, got {alpha}")
        if ignore_iof_thr > 0:
            raise ValueError(f"ignore_iof_thr: expected -1, because ignored boxes are not read, got {ignore_iof_thr}")
        _check_overlaps(iou_calculator)
        self.anchor_scale = anchor_scale
        self.rule = Atss(k=topk, anchor_scale=anchor_scale, inside_margin=presets.atss.inside_margin)

    def assign(
        self,
        pred_instances: Any,
        num_level_priors: list[int],
        gt_instances: Any,
        gt_instances_ignore: Any = None,
    ) -> Any:
        """One image's ``AssignResult``; ``max_overlaps`` is 0, not -1e8, where an anchor has no box.

        Args:
            pred_instances: with ``priors`` (P, 4), anchors x1 y1 x2 y2 in pixels.
            num_level_priors: not read: the priors show where their levels begin.
            gt_instances: with ``bboxes`` (M, 4) and ``labels`` (M,).
            gt_instances_ignore: not read.

        Raises:
            ValueError: the anchors are not one regular grid of squares a level.
        """
        points, strides = _anchors(pred_instances.priors, self.anchor_scale)
        return _result(_assign(self.rule, points, strides, gt_instances), gt_instances)


def register_assigners(replace: bool = False) -> None:
    """Add the assigners of this module to mmdetection's ``TASK_UTILS``, by the names of their classes; once.

    Args:
        replace: put them under mmdetection's own names too, ``ATSSAssigner`` and the like, so that configurations need
            no change.

    Raises:
        ImportError: mmdetection is not installed.

    Examples:
        >>> from mmdet.registry import TASK_UTILS
        >>> from pseudo_iou_ops.integrations.mmdetection_assigners import register_assigners
        >>> register_assigners()
        >>> "FusedATSSAssigner" in TASK_UTILS
        True
    """
    import mmdet.models.task_modules.assigners  # noqa: F401  # its own classes are there to be replaced
    from mmdet.registry import TASK_UTILS

    for assigner in _ASSIGNERS:
        names = [assigner.__name__, assigner.__name__.removeprefix("Fused")]
        for name in names if replace else names[:1]:
            TASK_UTILS.register_module(name=name, module=assigner, force=True)


_ASSIGNERS: tuple[type[Any], ...] = (FusedATSSAssigner,)


def _check_overlaps(iou_calculator: dict[str, Any]) -> None:
    if iou_calculator != _OVERLAPS:
        raise ValueError(f"iou_calculator: expected {_OVERLAPS}, got {iou_calculator}")


def _anchors(priors: Tensor, anchor_scale: float) -> tuple[Tensor, Tensor]:
    """The centers (P, 2) of anchors (P, 4), and the strides (P,) of their levels."""
    return (priors[:, :2] + priors[:, 2:]) / 2, (priors[:, 2] - priors[:, 0]) / anchor_scale


def _assign(rule: Atss, points: Tensor, point_strides: Tensor, gt_instances: Any) -> TopKAssignment:
    """One image, whose points carry their strides."""
    shapes, strides, offset = grids_of_priors(points, point_strides)
    targets = pack_boxes([gt_instances.bboxes], [gt_instances.labels])
    return TopKAssigner(strides, rule, offset)(shapes, *targets)  # type: ignore[no-any-return]


def _result(assignment: TopKAssignment, gt_instances: Any) -> Any:
    from mmdet.models.task_modules.assigners import AssignResult

    offsets = assignment.num_pos.new_tensor([0, len(gt_instances.bboxes)])
    gt_inds, labels = to_mmdetection(assignment, offsets)[0], to_class_labels(assignment, -1)[0]
    return AssignResult(len(gt_instances.bboxes), gt_inds, assignment.iou[0], labels)
