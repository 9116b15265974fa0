"""What all assigners and their results have in common, so that a detector need not know which one it trains with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class AssignmentLike(Protocol):
    """The fields that the result of every assigner has; the converters and the losses read no others.

    B images, P points (level-major, then row-major), M boxes in all. -1 is :data:`BACKGROUND`, -2 :data:`IGNORED`.

    Attributes:
        matched: (B, P) int64, row of the matched box in the packed batch; -1, -2.
        labels: (B, P) int64, class of the matched box; -1, -2.
        ltrb: (B, P, 4) float32, distances to the sides of the matched box; 0 where not positive.
        num_pos: (B,) int64, positives per image.
        pos_per_box: (M,) int64, positives per box.

    Examples:
        >>> import torch
        >>> from pseudo_iou_ops import AssignmentLike, assign
        >>> boxes, labels, offsets = torch.tensor([[0.0, 0.0, 24.0, 24.0]]), torch.tensor([7]), torch.tensor([0, 1])
        >>> isinstance(assign(boxes, labels, offsets, level_shapes=[(3, 3)], strides=[8]), AssignmentLike)
        True
    """

    @property
    def matched(self) -> Tensor: ...

    @property
    def labels(self) -> Tensor: ...

    @property
    def ltrb(self) -> Tensor: ...

    @property
    def num_pos(self) -> Tensor: ...

    @property
    def pos_per_box(self) -> Tensor: ...


class PointPredictions(NamedTuple):
    """What a detector predicts at the points of a batch, as its head leaves it. Never gets a gradient.

    Attributes:
        boxes: (B, P, 4) floating, or one per level, (B, 4, H, W) or (B, P_l, 4).
        scores: (B, P, C) floating, or one per level, (B, C, H, W) or (B, P_l, C).
        objectness: (B, P) floating, or one per level, (B, 1, H, W); None of a head without that output.

    Examples:
        >>> import torch
        >>> from pseudo_iou_ops import PointPredictions
        >>> maps = PointPredictions(boxes=[torch.rand(2, 4, 3, 3)], scores=[torch.randn(2, 80, 3, 3)])
        >>> maps.objectness is None
        True
    """

    boxes: Tensor | Sequence[Tensor]
    scores: Tensor | Sequence[Tensor]
    objectness: Tensor | Sequence[Tensor] | None = None


@runtime_checkable
class Assigner(Protocol):
    """Assigns the ground truths of a batch to the points of one detector's feature pyramid.

    Attributes:
        strides: L strides in pixels.
        offset: where a level's point lies in its cell: x = (j + offset) * stride.
        needs_predictions: whether a call without ``predictions`` is an error.

    Examples:
        >>> from pseudo_iou_ops import Assigner, PointAssigner
        >>> assigner = PointAssigner(strides=(8, 16))
        >>> isinstance(assigner, Assigner), assigner.needs_predictions
        (True, False)
    """

    @property
    def strides(self) -> tuple[float, ...]: ...

    @property
    def offset(self) -> float: ...

    @property
    def needs_predictions(self) -> bool: ...

    def __call__(
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
        out: Any = None,
        validate: bool = False,
    ) -> AssignmentLike:
        """Assign a batch; the arguments are those of :meth:`PointAssigner.forward`.

        Args:
            level_shapes: L times (H, W), in cells.
            boxes: B times (M_b, 4), one tensor per image; or packed (M, 4), with ``offsets``.
            labels: B times (M_b,) int64; or packed (M,).
            offsets: (B+1,) int64 if the boxes are packed.
            predictions: the detector's, of the same points.
            ignore_boxes: B times (K_b, 4); or packed (K, 4), with ``ignore_offsets``.
            ignore_offsets: (B+1,) int64 if the ignore boxes are packed.
            valid_sizes: (B, 2) height and width of each image before padding.
            out: an earlier result of the same shapes to write into; it is returned.
            validate: check the values of offsets and labels too. This waits for the device.
        """
        ...
