"""What a detector's head predicts, as the assigners that read predictions take it: checked and made ready."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from torch import Tensor

from ._checks import is_sequence
from ._head_levels import as_levels, num_points
from .rule import check_choice
from .top_k_rules import SoftLabel, TopKRule

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
    rule: TopKRule,
    boxes: Tensor,
    batch: int,
    level_shapes: Sequence[tuple[int, int]],
) -> Predictions:
    """Checks the predictions of a call and returns them dense."""
    check_choice("box_format", box_format, BOX_FORMATS)
    check_score_kind(score_kind, rule)
    levels = {}
    for name, given, channels in (("pred_boxes", pred_boxes, 4), ("scores", scores, None)):
        if given is None:
            raise ValueError(f"{name}: expected the predictions of a head, which {_named(rule)} reads, got None")
        levels[name] = [level.detach() for level in as_levels(name, given, channels)]
        _check_points(name, levels[name], boxes, batch, level_shapes)
    return Predictions(levels["pred_boxes"], levels["scores"], box_format == "ltrb", score_kind == "logits")


def check_score_kind(score_kind: ScoreKind, rule: TopKRule) -> None:
    check_choice("score_kind", score_kind, SCORE_KINDS)
    if isinstance(rule, SoftLabel) and score_kind != "logits":
        raise ValueError(f"score_kind: expected 'logits', which a SoftLabel reads, got {score_kind!r}")


def as_objectness(
    objectness: Tensor | Sequence[Tensor] | None,
    boxes: Tensor,
    batch: int,
    level_shapes: Sequence[tuple[int, int]],
) -> list[Tensor]:
    """Checks the objectness of a call and returns it dense, with one channel; no level if there is none."""
    if objectness is None:
        return []
    given: Any = [objectness] if isinstance(objectness, Tensor) else objectness
    if is_sequence(given):
        given = [level[..., None] if isinstance(level, Tensor) and level.ndim == 2 else level for level in given]
    levels = [level.detach() for level in as_levels("objectness", given, 1)]
    _check_points("objectness", levels, boxes, batch, level_shapes)
    return levels


def refuse_predictions(rule: TopKRule, **given: Tensor | Sequence[Tensor] | None) -> None:
    """For a rule that does not read them."""
    for name, value in given.items():
        if value is not None:
            kind = type(value).__name__
            raise ValueError(f"{name}: expected None, because {_named(rule)} reads none, got {kind}")


def _named(rule: TopKRule) -> str:
    name = type(rule).__name__
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


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
    if len(levels) == len(level_shapes):
        for level, (height, width) in zip(levels, level_shapes, strict=True):
            if level.ndim == 4 and level.shape[2:] != (height, width):
                shape = tuple(level.shape[2:])
                raise ValueError(
                    f"{name}: expected a map of (H, W) = {(height, width)}, that of its level, got {shape}"
                )
