"""The op under the names and arguments of mmdetection's assigners. Tried with mmdetection 3.3.0.

    register_assigners()  # e.g. in a module that custom_imports names
    assigner = dict(type="FusedATSSAssigner", topk=9)  # in place of ATSSAssigner
    assigner = dict(type="FusedTaskAlignedAssigner", topk=13)  # in place of TaskAlignedAssigner
    assigner = dict(type="FusedSimOTAAssigner", center_radius=2.5)  # in place of SimOTAAssigner
    assigner = dict(type="FusedDynamicSoftLabelAssigner", topk=13)  # in place of DynamicSoftLabelAssigner

Each takes one image a call, as mmdetection's own, and finds the shapes of the levels in the priors, which it reads on
the host.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .. import presets
from .._predictions import ScoreKind
from ..encodings import to_class_labels, to_mmdetection
from ..packing import pack_boxes
from ..protocols import PointPredictions
from ..top_k import TopKAssignment
from ..top_k_assigner import TopKAssigner
from ..top_k_rules import Atss, SimOta, SoftLabel, TopKRule
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


class FusedTaskAlignedAssigner:
    """mmdetection's ``TaskAlignedAssigner``, for heads with one square anchor a point: TOODHead.

    Args:
        topk: points of a box.
        anchor_scale: the anchors' side in strides, ``octave_base_scale`` of the anchor generator.
        iou_calculator: mmdetection's default alone.

    Raises:
        ValueError: an argument asks for what is not supported.

    Examples:
        >>> import pickle
        >>> from pseudo_iou_ops.integrations.mmdetection_assigners import FusedTaskAlignedAssigner
        >>> pickle.loads(pickle.dumps(FusedTaskAlignedAssigner(topk=13))).rule.k
        13
    """

    def __init__(self, topk: int, anchor_scale: float = 8.0, iou_calculator: dict[str, Any] = _OVERLAPS) -> None:
        _check_overlaps(iou_calculator)
        self.anchor_scale = anchor_scale
        self.rule = replace(presets.tood, k=topk)

    def assign(
        self,
        pred_instances: Any,
        gt_instances: Any,
        gt_instances_ignore: Any = None,
        alpha: float = 1,
        beta: int = 6,
    ) -> Any:
        """One image's ``AssignResult``; ``max_overlaps`` is 0, not -1e8, where an anchor has no box.

        Its ``assign_metrics`` (P,) are the alignments ``score^alpha * IoU^beta`` of the matches, 0 elsewhere.

        Args:
            pred_instances: with ``priors`` (P, 4), anchors x1 y1 x2 y2 in pixels, ``bboxes`` (P, 4), decoded, and
                ``scores`` (P, C), probabilities.
            gt_instances: with ``bboxes`` (M, 4) and ``labels`` (M,).
            gt_instances_ignore: not read, as by mmdetection's own.
            alpha: power of the score, 0 or more.
            beta: power of the IoU, a whole number from 0 to 8.

        Raises:
            ValueError: the anchors are not one regular grid of squares a level, or a power is out of its domain.
            TypeError: ``beta`` is no integer.
        """
        points, strides = _anchors(pred_instances.priors, self.anchor_scale)
        rule, scores = replace(self.rule, alpha=alpha, beta=beta), pred_instances.scores.detach()
        predictions = PointPredictions(pred_instances.bboxes.unsqueeze(0), scores.unsqueeze(0))
        assignment = _assign(rule, points, strides, gt_instances, predictions)
        result = _result(assignment, gt_instances)
        own = scores.gather(1, assignment.labels[0].clamp(min=0).unsqueeze(1)).squeeze(1)
        alignments = own**alpha * result.max_overlaps**beta
        result.assign_metrics = torch.where(assignment.matched[0] >= 0, alignments, 0).to(points.dtype)
        return result


class FusedSimOTAAssigner:
    """mmdetection's ``SimOTAAssigner``, for heads with one point a cell: YOLOXHead.

    Args:
        center_radius: of the center region, in strides.
        candidate_topk: how many of the largest IoUs are added up to a box's number of points.
        iou_weight: of the IoU's logarithm in the cost.
        cls_weight: of the classes' cross entropy in the cost.
        iou_calculator: mmdetection's default alone.

    Raises:
        ValueError: an argument asks for what is not supported, or is out of its domain.
        TypeError: an argument has the wrong type.

    Examples:
        >>> import pickle
        >>> from pseudo_iou_ops.integrations.mmdetection_assigners import FusedSimOTAAssigner
        >>> pickle.loads(pickle.dumps(FusedSimOTAAssigner(center_radius=1.5))).rule.radius
        1.5
    """

    def __init__(
        self,
        center_radius: float = 2.5,
        candidate_topk: int = 10,
        iou_weight: float = 3.0,
        cls_weight: float = 1.0,
        iou_calculator: dict[str, Any] = _OVERLAPS,
    ) -> None:
        _check_overlaps(iou_calculator)
        self.rule = SimOta(radius=center_radius, top_ious=candidate_topk, iou_weight=iou_weight, cls_weight=cls_weight)

    def assign(self, pred_instances: Any, gt_instances: Any, gt_instances_ignore: Any = None, **_: Any) -> Any:
        """One image's ``AssignResult``; ``max_overlaps`` is 0, not -1e5, where a point has no box.

        Args:
            pred_instances: with ``priors`` (P, 4), points x y and their strides twice, ``bboxes`` (P, 4), decoded, and
                ``scores`` (P, C), probabilities of class and object together.
            gt_instances: with ``bboxes`` (M, 4) and ``labels`` (M,).
            gt_instances_ignore: not read, as by mmdetection's own.

        Raises:
            ValueError: the points are not one regular grid a level.
        """
        return _result(_assign_points(self.rule, pred_instances, gt_instances, "probabilities"), gt_instances)


class FusedDynamicSoftLabelAssigner:
    """mmdetection's ``DynamicSoftLabelAssigner``, for heads with one point a cell: RTMDetHead.

    Args:
        soft_center_radius: distance from a box's center, in strides, at which it costs 1.
        topk: how many of the largest IoUs are added up to a box's number of points.
        iou_weight: of the IoU's logarithm in the cost.
        iou_calculator: mmdetection's default alone.

    Raises:
        ValueError: an argument asks for what is not supported, or is out of its domain.
        TypeError: an argument has the wrong type.

    Examples:
        >>> import pickle
        >>> from pseudo_iou_ops.integrations.mmdetection_assigners import FusedDynamicSoftLabelAssigner
        >>> pickle.loads(pickle.dumps(FusedDynamicSoftLabelAssigner(topk=9))).rule.top_ious
        9
    """

    def __init__(
        self,
        soft_center_radius: float = 3.0,
        topk: int = 13,
        iou_weight: float = 3.0,
        iou_calculator: dict[str, Any] = _OVERLAPS,
    ) -> None:
        _check_overlaps(iou_calculator)
        self.rule = SoftLabel(radius=soft_center_radius, top_ious=topk, iou_weight=iou_weight)

    def assign(self, pred_instances: Any, gt_instances: Any, gt_instances_ignore: Any = None, **_: Any) -> Any:
        """One image's ``AssignResult``; ``max_overlaps`` is 0, not -1e8, where a point has no box.

        Args:
            pred_instances: with ``priors`` (P, 4), points x y and their strides twice, ``bboxes`` (P, 4), decoded, and
                ``scores`` (P, C), logits.
            gt_instances: with ``bboxes`` (M, 4) and ``labels`` (M,), and no ``masks``, by whose centers of mass
                mmdetection's own measures distances.
            gt_instances_ignore: not read, as by mmdetection's own.

        Raises:
            ValueError: the points are not one regular grid a level, or the ground truths have masks.
        """
        if hasattr(gt_instances, "masks"):
            raise ValueError("gt_instances: expected no masks, because the centers of the boxes are read, got masks")
        return _result(_assign_points(self.rule, pred_instances, gt_instances, "logits"), gt_instances)


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


_ASSIGNERS: tuple[type[Any], ...] = (
    FusedATSSAssigner,
    FusedTaskAlignedAssigner,
    FusedSimOTAAssigner,
    FusedDynamicSoftLabelAssigner,
)


def _check_overlaps(iou_calculator: dict[str, Any]) -> None:
    if iou_calculator != _OVERLAPS:
        raise ValueError(f"iou_calculator: expected {_OVERLAPS}, got {iou_calculator}")


def _anchors(priors: Tensor, anchor_scale: float) -> tuple[Tensor, Tensor]:
    """The centers (P, 2) of square anchors (P, 4), and the strides (P,) of their levels; this waits for the device."""
    width, height = (priors[:, 2:] - priors[:, :2]).unbind(1)
    if not torch.allclose(width, height, rtol=1e-4):
        raise ValueError("priors: expected anchors that are squares, got others")
    return (priors[:, :2] + priors[:, 2:]) / 2, width / anchor_scale


def _assign_points(rule: TopKRule, pred_instances: Any, gt_instances: Any, score_kind: ScoreKind) -> TopKAssignment:
    """One image, whose priors are points ``x y stride stride``."""
    predictions = PointPredictions(pred_instances.bboxes.unsqueeze(0), pred_instances.scores.unsqueeze(0))
    points, strides = pred_instances.priors[:, :2], pred_instances.priors[:, 2]
    return _assign(rule, points, strides, gt_instances, predictions, score_kind)


def _assign(
    rule: TopKRule,
    points: Tensor,
    point_strides: Tensor,
    gt_instances: Any,
    predictions: PointPredictions | None = None,
    score_kind: ScoreKind = "probabilities",
) -> TopKAssignment:
    """One image, whose points carry their strides; predicted are corners."""
    shapes, strides, offset = grids_of_priors(points, point_strides)
    assigner = TopKAssigner(strides, rule, offset, box_format="xyxy", score_kind=score_kind)
    targets = pack_boxes([gt_instances.bboxes], [gt_instances.labels])
    return assigner(shapes, *targets, predictions=predictions)  # type: ignore[no-any-return]


def _result(assignment: TopKAssignment, gt_instances: Any) -> Any:
    from mmdet.models.task_modules.assigners import AssignResult

    offsets = assignment.num_pos.new_tensor([0, len(gt_instances.bboxes)])
    gt_inds, labels = to_mmdetection(assignment, offsets)[0], to_class_labels(assignment, -1)[0]
    return AssignResult(len(gt_instances.bboxes), gt_inds, assignment.iou[0], labels)
