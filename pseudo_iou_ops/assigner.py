"""The op as a module that holds a detector's strides and switches."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from . import _checks
from .assignment import Assignment, assign
from .packing import as_packed
from .protocols import PointPredictions
from .rule import AssignRule

_DEFAULT_RULE = AssignRule()


class PointAssigner(nn.Module):
    """Assigns ground truths to the points of one detector's feature pyramid. It has no parameters.

    Args:
        strides: L strides in pixels.
        rule: the switches; see :class:`AssignRule` and :mod:`pseudo_iou_ops.presets`.
        offset: where a point lies in its cell; None takes the rule's, 0.5 by default.

    Raises:
        ValueError: a stride or the offset is out of its domain, or the rule's ranges are not one per level.
        TypeError: an argument has the wrong type.

    Examples:
        >>> import torch
        >>> from pseudo_iou_ops import PointAssigner, presets
        >>> assigner = PointAssigner(strides=(8, 16), rule=presets.paper)
        >>> boxes = [torch.tensor([[0.0, 0.0, 24.0, 24.0]]), torch.zeros(0, 4)]  # the second image has none
        >>> labels = [torch.tensor([7]), torch.zeros(0, dtype=torch.int64)]
        >>> assigner([(3, 3), (2, 2)], boxes, labels).num_pos
        tensor([6, 0])
    """

    needs_predictions = False

    def __init__(self, strides: Sequence[float], rule: AssignRule = _DEFAULT_RULE, offset: float | None = None) -> None:
        super().__init__()
        _checks.check_strides(strides)
        _checks.check_rule(rule, len(strides))
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
        out: Assignment | None = None,
        validate: bool = False,
    ) -> Assignment:
        """Assign the ground truths of a batch; see :func:`pseudo_iou_ops.assign`.

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
            The :class:`Assignment`.

        Raises:
            ValueError: a shape, device, length or value is wrong.
            TypeError: a type or dtype is wrong.
            RuntimeError: the boxes are on a device this install has no kernels for.
        """
        packed_boxes, packed_labels, offsets, ignored, ignore_offsets = as_packed(
            boxes, labels, offsets, ignore_boxes, ignore_offsets
        )
        return assign(
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
