"""How fast the classification loss is, forward and backward, beside what a user would pick instead."""

from __future__ import annotations

import argparse
import gc
import statistics
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
from .table import head, markdown, ratio, time_text

LEVEL_SHAPES = ((100, 168), (50, 84), (25, 42), (13, 21), (7, 11))  # of 800 x 1333, padded
CLASSES = 80
POSITIVE_SHARE = 0.006  # of COCO's points, about
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LAYOUTS = ("flat", "levels")

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
        Contestant("pseudo_iou_ops", fused),
        Contestant("torchvision", torchvision),
        Contestant("torchvision, torch.compile", torch.compile(torchvision, dynamic=False)),
        Contestant("gather, plain torch", plain),
        Contestant("gather, torch.compile", torch.compile(plain, dynamic=False)),
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


def measure_batch(batch: LossBatch, chosen: Sequence[Contestant], settings: contest.Settings) -> dict[str, Any]:
    """Verify, then time in interleaved rounds."""
    results: list[dict[str, Any]] = []
    entries = []
    for contestant in chosen:
        verify(contestant, batch)
        gc.collect()
        call = partial(batch.step, contestant.call)
        peak = measure.peak_bytes(call, settings.device)
        entries.append(contest.entry_of(contestant.name, call, settings.device))
        results.append({"name": contestant.name, "peak_bytes": peak, "seconds": entries[-1].seconds})
    loads = contest.take_turns(entries, settings)
    return {"logits_bytes": batch.nbytes, "other_load": loads, "contestants": results}


def render(document: dict[str, Any]) -> str:
    """One table for each layout and dtype."""
    return "\n\n".join([head(document["environment"]), *(render_one(result) for result in document["results"])])


def render_one(result: dict[str, Any]) -> str:
    ours = result["contestants"][0]["seconds"]
    rows = []
    for entry in result["contestants"]:
        peak = entry["peak_bytes"]
        rows.append(
            [
                entry["name"],
                time_text(statistics.median(entry["seconds"])),
                f"{ratio(entry['seconds'], ours):.1f}x",
                "" if peak is None else f"{peak / 1e6:.0f}",
                "" if peak is None else f"{peak / result['logits_bytes']:.2f}",
            ]
        )
    title = f"**{result['images']} images, {result['layout']}, {result['dtype']}**"
    header = ["forward + backward", "median", "over ours", "peak MB", "peak / logits"]
    return f"{title}\n\n{markdown(header, rows)}\n"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=int, default=2, help="batch size (2)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=list(LAYOUTS), metavar="NAME")
    parser.add_argument("--dtypes", nargs="+", choices=list(DTYPES), default=["float32"], metavar="NAME")


def hold(options: argparse.Namespace, record: contest.Record) -> None:
    """Measure every dtype and layout that was asked for."""
    settings = contest.Settings(torch.device(options.device), options.rounds, least_rounds=options.rounds)
    for dtype in options.dtypes:
        for layout in options.layouts:
            print(f"{layout}, {dtype} ...", file=sys.stderr, flush=True)
            torch._dynamo.reset()
            batch = LossBatch.make(options.images, layout, DTYPES[dtype], settings.device)
            measured = measure_batch(batch, contestants(), settings)
            record.append("results", {"images": options.images, "layout": layout, "dtype": dtype, **measured})
