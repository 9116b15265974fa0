"""The op whose boxes choose their points, as a module that holds a detector's strides and switches."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from . import _checks
from .assigner import PointAssigner
from .packing import as_packed
from .protocols import Assigner, PointPredictions
from .rule import AssignRule
from .top_k import TopKAssignment, assign_top_k
from .top_k_rules import Atss


class TopKAssigner(nn.Module):
    """Lets the ground truths choose points of one detector's feature pyramid. It has no parameters.

    Args:
        strides: L strides in pixels.
        rule: the switches; see :class:`Atss` and :mod:`pseudo_iou_ops.presets`.
        offset: where a point lies in its cell; None takes the rule's.

    Raises:
        ValueError: a stride or the offset is out of its domain.
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

    needs_predictions = False

    def __init__(self, strides: Sequence[float], rule: Atss, offset: float | None = None) -> None:
        super().__init__()
        _checks.check_strides(strides)
        if not isinstance(rule, Atss):
            raise TypeError(f"rule: expected an Atss, got {type(rule).__name__}")
        if offset is not None:
            _checks.check_offset(offset)
        self.strides = tuple(strides)
        self.rule = rule
        self.offset = rule.offset if offset is None else offset

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
            predictions: not read, so that a detector may call every :class:`Assigner` alike.
            ignore_boxes: B times (K_b, 4); or packed (K, 4), with ``ignore_offsets``.
            ignore_offsets: (B+1,) int64 if the ignore boxes are packed.
            valid_sizes: (B, 2) height and width of each image before padding.
            out: an earlier result of the same shapes to write into; it is returned.
            validate: check the values of offsets and labels too. This waits for the device.

        Returns:
            The :class:`TopKAssignment`.

        Raises:
            ValueError: a shape, device, length or value is wrong.
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
            offset=self.offset,
            ignore_boxes=ignored,
            ignore_offsets=ignore_offsets,
            valid_sizes=valid_sizes,
            out=out,
            validate=validate,
        )

    def extra_repr(self) -> str:
        return f"strides={self.strides}, rule={self.rule}, offset={self.offset}"


def make_assigner(strides: Sequence[float], rule: AssignRule | Atss, offset: float | None = None) -> Assigner:
    """The assigner of a rule, whatever its family: :class:`PointAssigner` or :class:`TopKAssigner`.

    Args:
        strides: L strides in pixels.
        rule: the switches.
        offset: where a point lies in its cell; None takes the rule's.

    Raises:
        ValueError: as the two classes.
        TypeError: as the two classes.

    Examples:
        >>> from pseudo_iou_ops import make_assigner, presets
        >>> [type(make_assigner((8, 16), rule)).__name__ for rule in (presets.paper, presets.atss)]
        ['PointAssigner', 'TopKAssigner']
    """
    if isinstance(rule, AssignRule):
        return PointAssigner(strides, rule, offset)
    return TopKAssigner(strides, rule, offset)
