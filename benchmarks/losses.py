"""How fast the classification loss is, forward and backward, beside what a user would pick instead."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pseudo_iou_ops import sigmoid_focal_loss

from . import contest, measure
from .contest import Contestant
from .table import contest_table, head

LEVEL_SHAPES = ((100, 168), (50, 84), (25, 42), (13, 21), (7, 11))  # of 800 x 1333, padded
CLASSES = 80
POSITIVE_SHARE = 0.006  # of COCO's points, about
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LAYOUTS = ("flat", "levels")
BASELINE = "pseudo_iou_ops"

Loss = Callable[[Sequence[Tensor], Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class LossBatch:
    """Logits as a head gives them, ``flat`` one (B, P, C) or ``levels`` five (B, C, H, W), and their labels."""

    logits: list[Tensor]
    labels: Tensor
    num_pos: Tensor

    @staticmethod
    def make(images: int, layout: str, dtype: torch.dtype, device: torch.device) -> LossBatch:
        generator = torch.Generator().manual_seed(0)
        points = sum(height * width for height, width in LEVEL_SHAPES)
        shapes = [(images, CLASSES, *shape) for shape in LEVEL_SHAPES] if layout == "levels" else None
        logits = [
            (torch.randn(shape, generator=generator) - 4.6).to(device, dtype).requires_grad_()
            for shape in shapes or [(images, points, CLASSES)]
        ]
        labels = torch.randint(CLASSES, (images, points), generator=generator)
        labels[torch.rand(labels.shape, generator=generator) > POSITIVE_SHARE] = -1
        return LossBatch(logits, labels.to(device), (labels >= 0).sum().clamp(min=1).to(device))

    def step(self, loss: Loss) -> tuple[Tensor, list[Tensor]]:
        """The loss and the gradients of the logits, forward and backward."""
        value = loss(self.logits, self.labels, self.num_pos)
        value.backward()
        gradients = [logits.grad for logits in self.logits]
        for logits in self.logits:
            logits.grad = None
        return value.detach(), gradients  # type: ignore[return-value]

    def captured_step(self, loss: Loss) -> tuple[Tensor, ...]:
        """The same without ``.grad``, which a CUDA graph would keep: forward and backward."""
        return torch.autograd.grad(loss(self.logits, self.labels, self.num_pos), self.logits)

    @property
    def nbytes(self) -> int:
        return sum(logits.nbytes for logits in self.logits)


def fused(logits: Sequence[Tensor], labels: Tensor, num_pos: Tensor) -> Tensor:
    return sigmoid_focal_loss(logits, labels, normalizer=num_pos)


def torchvision(logits: Sequence[Tensor], labels: Tensor, num_pos: Tensor) -> Tensor:
    """Over one-hot targets, as its FCOS and RetinaNet call it; levels are permuted and concatenated first."""
    from torchvision.ops import sigmoid_focal_loss as torchvision_loss

    flat = _flat(logits)
    targets = (labels.unsqueeze(-1) == torch.arange(CLASSES, device=labels.device)).to(torch.float32)
    total: Tensor = torchvision_loss(flat.float(), targets, 0.25, 2.0, reduction="sum") / num_pos
    return total


def plain(logits: Sequence[Tensor], labels: Tensor, num_pos: Tensor) -> Tensor:
    """Without one-hot targets: everything as background, and the matched logits corrected by a gather."""
    flat = _flat(logits).float()
    softplus = torch.nn.functional.softplus(flat)
    background = 0.75 * (flat.sigmoid().square() * softplus).sum()
    own = flat.gather(2, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    matched = 0.25 * own.neg().sigmoid().square() * torch.nn.functional.softplus(-own)
    wrong = 0.75 * own.sigmoid().square() * torch.nn.functional.softplus(own)
    return (background + ((matched - wrong) * (labels >= 0)).sum()) / num_pos


def _flat(logits: Sequence[Tensor]) -> Tensor:
    rows = [level.permute(0, 2, 3, 1).flatten(1, 2) if level.ndim == 4 else level for level in logits]
    return torch.cat(rows, dim=1) if len(rows) > 1 else rows[0]


def contestants() -> list[Contestant]:
    return [
        Contestant(BASELINE, fused),
        Contestant("torchvision", torchvision),
        contest.compiled("torchvision, torch.compile", torchvision),
        Contestant("gather, plain torch", plain),
        contest.compiled("gather, torch.compile", plain),
    ]


def verify(contestant: Contestant, batch: LossBatch) -> None:
    """Raises MismatchError if loss or gradient are not those of torchvision's in float64."""
    exact = LossBatch(
        [logits.detach().double().requires_grad_() for logits in batch.logits], batch.labels, batch.num_pos
    )
    expected, expected_gradients = exact.step(_in_float64)
    value, gradients = batch.step(contestant.call)
    if abs(float(value) / float(expected) - 1) > 1e-4:
        raise contest.MismatchError(f"{contestant.name}: expected a loss of {float(expected)}, got {float(value)}")
    unit = torch.finfo(batch.logits[0].dtype).eps
    for gradient, reference in zip(gradients, expected_gradients, strict=True):
        if not torch.allclose(gradient.double(), reference, rtol=16 * unit, atol=unit * float(reference.abs().max())):
            raise contest.MismatchError(f"{contestant.name}: its gradient differs")


def _in_float64(logits: Sequence[Tensor], labels: Tensor, num_pos: Tensor) -> Tensor:
    flat = _flat(logits)
    is_match = labels.unsqueeze(-1) == torch.arange(CLASSES, device=labels.device)
    signed = torch.where(is_match, -flat, flat)
    weights = torch.where(is_match, 0.25, 0.75)
    return (weights * signed.sigmoid().square() * torch.nn.functional.softplus(signed)).sum() / num_pos


def measure_batch(
    batch: LossBatch, chosen: Sequence[Contestant], settings: contest.Settings, record: contest.Record
) -> None:
    """Verify, then time in interleaved rounds; on CUDA each also in a graph, where the host's time does not show."""

    def prepare(contestant: Contestant, result: dict[str, Any]) -> contest.Entry:
        verify(contestant, batch)
        call = partial(batch.step, contestant.call)
        result["peak_bytes"] = measure.peak_bytes(call, settings.device)
        if settings.device.type == "cuda":
            result.update(contest.in_a_graph([partial(batch.captured_step, contestant.call)]))
        return contest.entry_of(contestant.name, call, settings.device)

    contest.hold_rounds(chosen, prepare, settings, record)


def render(document: dict[str, Any]) -> str:
    """One table for each layout and dtype."""
    parts = [head(document["environment"]), *(render_one(result) for result in document.get("results", []))]
    return "\n\n".join(parts)


def render_one(result: dict[str, Any]) -> str:
    title = f"**{result['images']} images, {result['layout']}, {result['dtype']}**"
    table = contest_table("forward + backward", result, BASELINE, "logits", result["logits_bytes"])
    return f"{title}\n\n{table}\n"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=int, default=2, help="batch size (2)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=list(LAYOUTS), metavar="NAME")
    parser.add_argument("--dtypes", nargs="+", choices=list(DTYPES), default=["float32"], metavar="NAME")
    contest.add_contestants_option(parser, [contestant.name for contestant in contestants()], BASELINE)


def needs(options: argparse.Namespace) -> Sequence[str]:
    chosen = contest.chosen(contestants(), options.contestants, BASELINE)
    return ["torchvision"] if any(contestant.name.startswith("torchvision") for contestant in chosen) else []


def hold(options: argparse.Namespace, record: contest.Record) -> None:
    """Measure every dtype and layout that was asked for."""
    settings = contest.Settings(torch.device(options.device), options.rounds, least_rounds=options.rounds)
    for dtype in options.dtypes:
        for layout in options.layouts:
            print(f"{layout}, {dtype} ...", file=sys.stderr, flush=True)
            contest.forget_compiled()
            batch = LossBatch.make(options.images, layout, DTYPES[dtype], settings.device)
            facts = {"images": options.images, "layout": layout, "dtype": dtype, "logits_bytes": batch.nbytes}
            record.begin(facts)
            measure_batch(batch, contest.chosen(contestants(), options.contestants, BASELINE), settings, record)
            record.finish("results")
