"""How fast the best candidates of a head are found before non-maximum suppression, beside plain torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pseudo_iou_ops import decode_topk, level_points

from . import contest, measure
from .contest import Contestant
from .losses import CLASSES, DTYPES, LAYOUTS, LEVEL_SHAPES
from .table import contest_table, head
from .workloads import STRIDES

BASELINE = "pseudo_iou_ops"
SCORE_THRESHOLD, CANDIDATES = 0.05, 1000  # of a level, as FCOS keeps them
MEAN_LOGIT = -6.0  # about 2,000 of an image's scores are above the threshold
SCORE_TOLERANCE = 1e-5


@dataclass(frozen=True)
class HeadBatch:
    """What a head gives: class logits, distances and centerness, ``flat`` (B, P_l, C) or ``levels`` (B, C, H, W)."""

    logits: list[Tensor]
    ltrb: list[Tensor]
    centerness: list[Tensor]
    points: Tensor

    @staticmethod
    def make(images: int, layout: str, dtype: torch.dtype, device: torch.device) -> HeadBatch:
        generator = torch.Generator().manual_seed(0)

        def levels(channels: int, change: Callable[[Tensor], Tensor]) -> list[Tensor]:
            maps = [change(torch.randn(images, channels, *shape, generator=generator)) for shape in LEVEL_SHAPES]
            return [(level if layout == "levels" else _rows(level).contiguous()).to(device, dtype) for level in maps]

        logits = levels(CLASSES, lambda noise: noise + MEAN_LOGIT)
        ltrb, centerness = levels(4, lambda noise: 40 * noise.abs()), levels(1, lambda noise: noise)
        points = level_points(LEVEL_SHAPES, STRIDES, device=device)
        return HeadBatch(logits, ltrb, centerness, points)

    @property
    def nbytes(self) -> int:
        return sum(level.nbytes for level in self.logits)


class Candidates(NamedTuple):
    """One level of the batch: (B, k, 4), (B, k), (B, k) best first, padded with scores of 0; or lists of images."""

    boxes: Any
    scores: Any
    labels: Any


def fused(batch: HeadBatch) -> list[Candidates]:
    best = decode_topk(batch.logits, batch.ltrb, batch.points, batch.centerness, SCORE_THRESHOLD, CANDIDATES)
    fields = (field.split(CANDIDATES, dim=1) for field in (best.boxes, best.scores, best.labels))
    return [Candidates(*level) for level in zip(*fields, strict=True)]


def per_image(batch: HeadBatch) -> list[Candidates]:
    """Image by image and level by level: a mask of what passes, its list, the best of it. The list's length is read
    back each time."""
    return [Candidates(*zip(*map(_best_of_image, *level), strict=True)) for level in _levels(batch)]


def _best_of_image(logits: Tensor, ltrb: Tensor, centerness: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    class_scores = logits.float().sigmoid()
    places = (class_scores.flatten() > SCORE_THRESHOLD).nonzero()[:, 0]
    scores = (class_scores * centerness.float().sigmoid()).flatten()[places]
    scores, best = scores.topk(min(CANDIDATES, places.shape[0]))
    point, label = places[best] // CLASSES, places[best] % CLASSES
    return _boxes(points[point], ltrb[point]), scores, label


def whole_batch(batch: HeadBatch) -> list[Candidates]:
    """The scores of every point and class of a level, those that do not pass as 0, and one topk over all."""
    return [_best_of_level(*level) for level in _levels(batch)]


def _best_of_level(logits: Tensor, ltrb: Tensor, centerness: Tensor, points: Tensor) -> Candidates:
    class_scores = logits.float().sigmoid()
    scores = torch.where(class_scores > SCORE_THRESHOLD, class_scores * centerness.float().sigmoid(), 0).flatten(1)
    scores, places = scores.topk(min(CANDIDATES, scores.shape[1]))
    point = places // CLASSES
    sides = ltrb.gather(1, point[..., None].expand(-1, -1, 4))
    return Candidates(_boxes(points[0][point], sides), scores, places % CLASSES)


def _levels(batch: HeadBatch) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Each (B, P_l, ...): logits, distances, centerness, points."""
    points = batch.points.split([height * width for height, width in LEVEL_SHAPES])
    heads = zip(batch.logits, batch.ltrb, batch.centerness, points, strict=True)
    return [
        (_rows(logits), _rows(ltrb), _rows(center), own.expand(logits.shape[0], -1, -1))
        for logits, ltrb, center, own in heads
    ]


def _rows(level: Tensor) -> Tensor:
    return level.flatten(2).transpose(1, 2) if level.ndim == 4 else level


def _boxes(points: Tensor, ltrb: Tensor) -> Tensor:
    return torch.cat((points - ltrb[..., :2].float(), points + ltrb[..., 2:].float()), dim=-1)


def contestants() -> list[Contestant]:
    return [
        Contestant(BASELINE, fused),
        Contestant("per image, plain torch", per_image),
        Contestant("whole batch, plain torch", whole_batch),
        contest.compiled("whole batch, torch.compile", whole_batch),
    ]


CAPTURABLE = (BASELINE, "whole batch, plain torch", "whole batch, torch.compile")


def verify(contestant: Contestant, batch: HeadBatch) -> None:
    """Raises MismatchError if it does not keep the candidates of ``per_image``; which of equal scores stay is free."""
    for level, (ours, theirs) in enumerate(zip(contestant.call(batch), per_image(batch), strict=True)):
        for image in range(batch.logits[0].shape[0]):
            found = _difference(*(Candidates(*(field[image] for field in one)) for one in (ours, theirs)))
            if found is not None:
                raise contest.MismatchError(f"{contestant.name}: level {level}, image {image}: {found}")


def _difference(given: Candidates, expected: Candidates) -> str | None:
    there = given.scores > 0
    scores, wanted = given.scores[there].sort(descending=True).values, expected.scores
    if scores.shape != wanted.shape:
        return f"expected {wanted.shape[0]} candidates, got {scores.shape[0]}"
    if not torch.allclose(scores, wanted, rtol=SCORE_TOLERANCE, atol=0):
        return "its scores differ"
    lowest = float(wanted[-1]) if len(wanted) == CANDIDATES else 0.0
    mine = _rows_above(Candidates(*(field[there] for field in given)), lowest)
    return None if mine == _rows_above(expected, lowest) else "its boxes or labels differ"


def _rows_above(one: Candidates, lowest: float) -> set[tuple[float, ...]]:
    """Label and box of those that are not tied with the last that is kept."""
    clear = one.scores > lowest * (1 + SCORE_TOLERANCE)
    rows = torch.cat((one.labels[clear, None].float(), one.boxes[clear]), dim=1)
    return set(map(tuple, rows.tolist()))


def measure_batch(
    batch: HeadBatch, chosen: list[Contestant], settings: contest.Settings, record: contest.Record
) -> None:
    """Verify, then time in interleaved rounds; on CUDA also in a graph where nothing is read back."""

    def prepare(contestant: Contestant, result: dict[str, Any]) -> contest.Entry:
        verify(contestant, batch)
        call = partial(contestant.call, batch)
        result["peak_bytes"] = measure.peak_bytes(call, settings.device)
        if settings.device.type == "cuda" and contestant.name in CAPTURABLE:
            result.update(contest.in_a_graph([call]))
        return contest.entry_of(contestant.name, call, settings.device)

    contest.hold_rounds(chosen, prepare, settings, record)


def render(document: dict[str, Any]) -> str:
    """One table for each layout and dtype."""
    parts = [head(document["environment"]), *(render_one(result) for result in document.get("decode", []))]
    return "\n\n".join(parts)


def render_one(result: dict[str, Any]) -> str:
    title = f"**{result['images']} images, {result['layout']}, {result['dtype']}**"
    table = contest_table("best candidates", result, BASELINE, "logits", result["logits_bytes"])
    return f"{title}\n\n{table}\n"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=int, default=2, help="batch size (2)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=["levels"], metavar="NAME")
    parser.add_argument("--dtypes", nargs="+", choices=list(DTYPES), default=["float32"], metavar="NAME")
    contest.add_contestants_option(parser, [contestant.name for contestant in contestants()], BASELINE)


@torch.no_grad()
def hold(options: argparse.Namespace, record: contest.Record) -> None:
    """Measure every dtype and layout that was asked for."""
    settings = contest.Settings(torch.device(options.device), options.rounds, least_rounds=min(3, options.rounds))
    for dtype in options.dtypes:
        for layout in options.layouts:
            print(f"{layout}, {dtype} ...", file=sys.stderr, flush=True)
            contest.forget_compiled()
            batch = HeadBatch.make(options.images, layout, DTYPES[dtype], settings.device)
            facts: dict[str, Any] = {
                "kind": "decode",
                "images": options.images,
                "layout": layout,
                "dtype": dtype,
                "logits_bytes": batch.nbytes,
            }
            record.begin(facts)
            measure_batch(batch, contest.chosen(contestants(), options.contestants, BASELINE), settings, record)
            record.finish("decode")
