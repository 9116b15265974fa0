"""What a detector's head predicts, as the assigners that read predictions take it: checked and made ready."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import Tensor

from ._head_levels import as_levels, num_points
from .rule import check_choice

BoxFormat = Literal["xyxy", "ltrb"]
ScoreKind = Literal["logits", "probabilities"]

BOX_FORMATS: tuple[BoxFormat, ...] = ("xyxy", "ltrb")
SCORE_KINDS: tuple[ScoreKind, ...] = ("logits", "probabilities")


class Predictions(NamedTuple):
    """Boxes and scores, each one tensor a level or one for all, (B, C, H, W) or (B, P, C), and what they mean."""

    boxes: list[Tensor]
    scores: list[Tensor]
    boxes_are_ltrb: bool
    scores_are_logits: bool


def as_predictions(
    pred_boxes: Tensor | Sequence[Tensor] | None,
    scores: Tensor | Sequence[Tensor] | None,
    box_format: BoxFormat,
    score_kind: ScoreKind,
    boxes: Tensor,
    batch: int,
    level_shapes: Sequence[tuple[int, int]],
) -> Predictions:
    """Checks the predictions of a call and returns them dense."""
    check_choice("box_format", box_format, BOX_FORMATS)
    check_choice("score_kind", score_kind, SCORE_KINDS)
    levels = {}
    for name, given, channels in (("pred_boxes", pred_boxes, 4), ("scores", scores, None)):
        if given is None:
            raise ValueError(f"{name}: expected the predictions of a head, which a TaskAligned reads, got None")
        levels[name] = [level.detach() for level in as_levels(name, given, channels)]
        _check_points(name, levels[name], boxes, batch, level_shapes)
    return Predictions(levels["pred_boxes"], levels["scores"], box_format == "ltrb", score_kind == "logits")


def refuse_predictions(**given: Tensor | Sequence[Tensor] | None) -> None:
    """For a rule that reads none."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name}: expected None, because an Atss reads no predictions, got {type(value).__name__}")


def _check_points(
    name: str, levels: list[Tensor], boxes: Tensor, batch: int, level_shapes: Sequence[tuple[int, int]]
) -> None:
    if levels[0].shape[0] != batch:
        raise ValueError(f"{name}: expected {batch} images, as the offsets have, got {levels[0].shape[0]}")
    if levels[0].device != boxes.device:
        raise ValueError(f"{name}: expected device {boxes.device}, that of the boxes, got {levels[0].device}")
    sizes = [height * width for height, width in level_shapes]
    points = [num_points(level) for level in levels]
    if points not in (sizes, [sum(sizes)]):
        raise ValueError(f"{name}: expected {sizes} points a level, or one tensor of {sum(sizes)}, got {points}")
