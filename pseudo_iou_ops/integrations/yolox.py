"""YOLOX's head, whose boxes choose their points through the op. Tried with the interface of YOLOX 0.3, without it.

use_in_yolox_head(exp.get_model().head)
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .. import presets
from ..protocols import PointPredictions
from ..top_k_assigner import TopKAssigner
from ..top_k_rules import SimOta
from ._adapted import adapt
from ._grid import GridReader

Head = TypeVar("Head", bound=nn.Module)


def use_in_yolox_head(head: Head, rule: SimOta = presets.yolox) -> Head:
    """Let YOLOX's ``YOLOXHead`` assign through the op: replaces ``get_assignments``.

    Its losses call that once an image and ask for lists of the positives, which waits for the device. Memory no longer
    grows with points times boxes, so its way out of a full GPU, to assign on the CPU, is not needed: ``mode`` is not
    read.

    Args:
        head: a ``yolox.models.YOLOXHead`` of version 0.3; changed in place.
        rule: the switches.

    Returns:
        The head.

    Raises:
        TypeError: the head is not built like YOLOXHead, or the rule is no ``SimOta``.

    Examples:
        >>> from torch import nn
        >>> from pseudo_iou_ops.integrations.yolox import use_in_yolox_head
        >>> class YOLOXHead(nn.Module):  # a stand-in for yolox.models.YOLOXHead
        ...     strides, num_classes = [8, 16, 32], 80
        ...     def get_losses(self, *args): ...
        ...     def get_assignments(self, *args): ...
        >>> use_in_yolox_head(YOLOXHead()).assign_rule.radius
        1.5
    """
    for name in ("get_losses", "get_assignments", "strides", "num_classes"):
        if not hasattr(head, name):
            raise TypeError(f"head: expected a YOLOXHead with {name!r}, got {type(head).__name__}")
    if not isinstance(rule, SimOta):
        raise TypeError(f"rule: expected a SimOta, got {type(rule).__name__}")
    settings: Any = head
    settings.assign_rule, settings.assign_grids = rule, GridReader()
    return adapt(head, _Assignments)


class _Assignments:
    """The methods of a YOLOXHead that assigns through the op."""

    @torch.no_grad()
    def get_assignments(
        self: Any,
        batch_idx: int,
        num_gt: int,
        gt_bboxes_per_image: Tensor,
        gt_classes: Tensor,
        bboxes_preds_per_image: Tensor,
        expanded_strides: Tensor,
        x_shifts: Tensor,
        y_shifts: Tensor,
        cls_preds: Tensor,
        obj_preds: Tensor,
        mode: str = "gpu",
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
        """One image's classes, foreground mask, overlaps, rows of the matched boxes, and their number.

        Args:
            batch_idx: the image's place in the batch.
            num_gt: M.
            gt_bboxes_per_image: (M, 4), center, width and height in pixels.
            gt_classes: (M,).
            bboxes_preds_per_image: (P, 4), likewise.
            expanded_strides: (1, P).
            x_shifts: (1, P), the column of each point in its level.
            y_shifts: (1, P), the row.
            cls_preds: (B, P, C), logits.
            obj_preds: (B, P, 1), logits.
            mode: not read.
        """
        cells = torch.stack((x_shifts[0], y_shifts[0]), dim=1).float()
        shapes, offset = self.assign_grids.read((cells + 0.5) * expanded_strides[0, :, None], self.strides)
        one = slice(batch_idx, batch_idx + 1)
        predictions = PointPredictions(_corners(bboxes_preds_per_image)[None], cls_preds[one], obj_preds[one, :, 0])
        assignment = TopKAssigner(self.strides, self.assign_rule, offset)(
            shapes,
            _corners(gt_bboxes_per_image),
            gt_classes.long(),
            torch.tensor([0, num_gt]),
            predictions=predictions,
        )
        foreground = assignment.matched[0] >= 0
        rows = assignment.matched[0][foreground]
        return gt_classes[rows], foreground, assignment.iou[0][foreground], rows, len(rows)


def _corners(boxes: Tensor) -> Tensor:
    """(N, 4) float32 x1 y1 x2 y2, of centers, widths and heights."""
    center, half = boxes[:, :2].float(), boxes[:, 2:].float() / 2
    return torch.cat((center - half, center + half), dim=1)
