"""The op whose boxes choose their points, as a module that holds a detector's strides, switches and encodings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from . import _checks
from ._predictions import BOX_FORMATS, SCORE_KINDS, BoxFormat, ScoreKind, check_score_kind
from .assigner import PointAssigner
from .packing import as_packed
from .protocols import Assigner, PointPredictions
from .rule import AssignRule, check_choice
from .top_k import TopKAssignment, assign_top_k, check_top_k_rule
from .top_k_rules import Atss, TopKRule


class TopKAssigner(nn.Module):
    """Lets the ground truths choose points of one detector's feature pyramid. It has no parameters.

    Args:
        strides: L strides in pixels.
        rule: the switches: an :class:`Atss`, or a rule that reads predictions; see :mod:`pseudo_iou_ops.presets`.
        offset: where a point lies in its cell; None takes the rule's.
        box_format: of predicted boxes: ``xyxy``, corners in pixels, or ``ltrb``, distances from the point in pixels.
        score_kind: of predicted scores: ``logits`` or ``probabilities``.

    Raises:
        ValueError: a stride, the offset or an encoding is out of its domain.
        TypeError: an argument has the wrong type.

    Examples:
        >>> import torch
        >>> from pseudo_iou_ops import TopKAssigner, presets
        >>> assigner = TopKAssigner(strides=(8, 16), rule=presets.atss)
        >>> boxes = [torch.tensor([[0.0, 0.0, 24.0, 24.0]]), torch.zeros(0, 4)]  # the second image has none
        >>> labels = [torch.tensor([7]), torch.zeros(0, dtype=torch.int64)]
        >>> assigner([(3, 3), (2, 2)], boxes, labels).num_pos.shape
        torch.Size([2])
    """

    def __init__(
        self,
        strides: Sequence[float],
        rule: TopKRule,
        offset: float | None = None,
        box_format: BoxFormat = "xyxy",
        score_kind: ScoreKind = "logits",
    ) -> None:
        super().__init__()
        _checks.check_strides(strides)
        check_top_k_rule(rule)
        if offset is not None:
            _checks.check_offset(offset)
        check_choice("box_format", box_format, BOX_FORMATS)
        check_score_kind(score_kind, rule)
        self.strides = tuple(strides)
        self.rule = rule
        self.offset = rule.offset if offset is None else offset
        self.box_format: BoxFormat = box_format
        self.score_kind: ScoreKind = score_kind

    @property
    def needs_predictions(self) -> bool:
        """Whether a call without predictions is an error: with every rule but an :class:`Atss`."""
        return not isinstance(self.rule, Atss)

    def forward(
        self,
        level_shapes: Sequence[tuple[int, int]],
        boxes: Tensor | Sequence[Tensor],
        labels: Tensor | Sequence[Tensor],
        offsets: Tensor | None = None,
        *,
        predictions: PointPredictions | None = None,
        ignore_boxes: Tensor | Sequence[Tensor] | None = None,
        ignore_offsets: Tensor | None = None,
        valid_sizes: Tensor | None = None,
        out: TopKAssignment | None = None,
        validate: bool = False,
    ) -> TopKAssignment:
        """Assign the ground truths of a batch; see :func:`pseudo_iou_ops.assign_top_k`.

        Args:
            level_shapes: L times (H, W), in cells.
            boxes: B times (M_b, 4), one tensor per image; or packed (M, 4), with ``offsets``.
            labels: B times (M_b,) int64; or packed (M,).
            offsets: (B+1,) int64 if the boxes are packed, None if they are lists.
            predictions: of the same points, in the encodings of this assigner. An :class:`Atss` does not read them,
                so that a detector may call every :class:`Assigner` alike.
            ignore_boxes: B times (K_b, 4); or packed (K, 4), with ``ignore_offsets``.
            ignore_offsets: (B+1,) int64 if the ignore boxes are packed.
            valid_sizes: (B, 2) height and width of each image before padding.
            out: an earlier result of the same shapes to write into; it is returned.
            validate: check the values of offsets and labels too. This waits for the device.

        Returns:
            The :class:`TopKAssignment`.

        Raises:
            ValueError: a shape, device, length or value is wrong, or the rule reads predictions and there are none.
            TypeError: a type or dtype is wrong.
            RuntimeError: the boxes are on a device this install has no kernels for.
        """
        packed_boxes, packed_labels, offsets, ignored, ignore_offsets = as_packed(
            boxes, labels, offsets, ignore_boxes, ignore_offsets
        )
        return assign_top_k(
            packed_boxes,
            packed_labels,
            offsets,
            level_shapes,
            self.strides,
            self.rule,
            **self._read(predictions),
            offset=self.offset,
            ignore_boxes=ignored,
            ignore_offsets=ignore_offsets,
            valid_sizes=valid_sizes,
            out=out,
            validate=validate,
        )

    def _read(self, predictions: PointPredictions | None) -> dict[str, Any]:
        """What the rule reads of the predictions, as arguments of the op."""
        if not self.needs_predictions:
            return {}
        if predictions is None:
            name = type(self.rule).__name__
            raise ValueError(f"predictions: expected PointPredictions, which a {name} reads, got None")
        if not isinstance(predictions, PointPredictions):
            raise TypeError(f"predictions: expected PointPredictions, got {type(predictions).__name__}")
        return {
            "pred_boxes": predictions.boxes,
            "scores": predictions.scores,
            "objectness": predictions.objectness,
            "box_format": self.box_format,
            "score_kind": self.score_kind,
        }

    def extra_repr(self) -> str:
        settings = f"strides={self.strides}, rule={self.rule}, offset={self.offset}"
        if not self.needs_predictions:
            return settings
        return f"{settings}, box_format={self.box_format!r}, score_kind={self.score_kind!r}"


def make_assigner(
    strides: Sequence[float],
    rule: AssignRule | TopKRule,
    offset: float | None = None,
    box_format: BoxFormat = "xyxy",
    score_kind: ScoreKind = "logits",
) -> Assigner:
    """The assigner of a rule, whatever its family: :class:`PointAssigner` or :class:`TopKAssigner`.

    Args:
        strides: L strides in pixels.
        rule: the switches.
        offset: where a point lies in its cell; None takes the rule's.
        box_format: of predicted boxes, where the rule reads them; see :class:`TopKAssigner`.
        score_kind: of predicted scores, where the rule reads them.

    Raises:
        ValueError: as the two classes.
        TypeError: as the two classes.

    Examples:
        >>> from pseudo_iou_ops import make_assigner, presets
        >>> [make_assigner((8, 16), rule).needs_predictions for rule in (presets.paper, presets.atss, presets.tood)]
        [False, False, True]
    """
    check_choice("box_format", box_format, BOX_FORMATS)
    check_choice("score_kind", score_kind, SCORE_KINDS)
    if isinstance(rule, AssignRule):
        return PointAssigner(strides, rule, offset)
    return TopKAssigner(strides, rule, offset, box_format, score_kind)
