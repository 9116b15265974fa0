"""What a run tells: means over the steps between two lines, for people, JSON and TensorBoard, and why it failed."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

import torch
from torch import Tensor

from pseudo_iou_ops import AssignmentLike
from pseudo_iou_ops.presets import FCOS_RANGES

from ..config import Config
from ..data import Annotations
from ..data.loader import Batch, training_loader
from ..distributed import is_main, rank, total_over_ranks, world_size
from ..errors import UsageError, UserError
from .checkpoint import save_checkpoint

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"
EVALUATION = "eval_"  # what the names of an evaluation's figures begin with
LEVELS = ("p3", "p4", "p5", "p6", "p7")

Row = dict[str, float]


class NotFinite(NamedTuple):
    """A step whose loss or gradient is no number."""

    step: int
    """Counted from 1."""
    losses: dict[str, float]
    """This process's terms."""
    gradient_norm: float
    files: tuple[str, ...]
    """This process's images."""


class LogWindow:
    """The steps between two log lines; their figures stay on the device until :meth:`close` reads them.

    ``overflow_is_skipped``: the optimiser leaves out steps whose gradient is not finite, as in fp16.
    """

    def __init__(self, overflow_is_skipped: bool = False) -> None:
        self.overflow_is_skipped = overflow_is_skipped
        self.losses: tuple[str, ...] = ()
        self.rows: list[Tensor] = []
        self.files: list[tuple[str, ...]] = []
        self.data_seconds = 0.0
        self.started = self.waiting_since = time.perf_counter()

    def data_arrived(self) -> None:
        self.data_seconds += time.perf_counter() - self.waiting_since

    def step_ended(self) -> None:
        self.waiting_since = time.perf_counter()
        if not self.rows:  # saving and evaluating are no part of the next steps
            self.started = self.waiting_since

    def add(self, losses: dict[str, Tensor], assignment: AssignmentLike, gradient_norm: Tensor, batch: Batch) -> None:
        self.losses = tuple(losses)
        counts = [assignment.num_pos.sum(0, keepdim=True)]
        counts += boxes_by_level(batch.targets.boxes, assignment.pos_per_box)
        scalars = torch.stack([value.detach().float() for value in (*losses.values(), gradient_norm)])
        self.rows.append(torch.cat((scalars, torch.cat(counts).float())))
        self.files.append(batch.files)

    def close(self, step: int) -> Row | NotFinite:
        """The means over the steps since the last call, and over the processes; ``step`` is the last one's number.

        If a value is not finite, the first such step instead, on every process.
        """
        own = torch.stack(self.rows).cpu()
        table = total_over_ranks(own)
        scalars = len(self.losses) + 1
        is_bad = ~table[:, : scalars - self.overflow_is_skipped].isfinite().all(1)
        if bool(is_bad.any()):
            bad = int(is_bad.nonzero()[0])
            *losses, norm = own[bad, :scalars].tolist()
            named = dict(zip(self.losses, losses, strict=True))
            return NotFinite(step - len(own) + 1 + bad, named, norm, self.files[bad])
        row = self._row(table[:, :scalars] / world_size(), table[:, scalars:])
        self.rows, self.files, self.data_seconds = [], [], 0.0
        self.started = time.perf_counter()
        return row

    def _row(self, scalars: Tensor, counts: Tensor) -> Row:
        steps = len(scalars)
        *losses, _ = scalars.mean(0).tolist()
        norms = scalars[:, -1]
        taken = norms.isfinite()
        row: Row = {"loss": sum(losses)}
        row |= {f"loss_{name}": value for name, value in zip(self.losses, losses, strict=True)}
        row["grad_norm"] = float(norms[taken].sum()) / max(int(taken.sum()), 1)
        if self.overflow_is_skipped:
            row["skipped_steps"] = steps - int(taken.sum())
        row |= _coverage(counts)
        seconds = time.perf_counter() - self.started
        images = sum(map(len, self.files)) * world_size()
        row |= {
            "seconds_per_step": seconds / steps,
            "data_share": self.data_seconds / seconds,
            "images_per_second": images / seconds,
        }
        if torch.cuda.is_available():
            row["memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
        return row


def boxes_by_level(boxes: Tensor, pos_per_box: Tensor) -> tuple[Tensor, Tensor]:
    """Count the boxes of each level, and those of them that have no positive point.

    A box belongs to the level whose FCOS range holds half its longer side, which is what a point in its middle
    regresses. This is so whatever ranges the rule uses, so that the figures of different rules compare.

    Args:
        boxes: (M, 4) float, x1 y1 x2 y2 in pixels of the resized image.
        pos_per_box: (M,) int64, the assignment's.

    Returns:
        (5,) int64 all boxes and (5,) int64 boxes without a positive, P3 first, on the boxes' device.
    """
    half_sides = (boxes[:, 2:] - boxes[:, :2]).amax(1) / 2
    # No tensor is made of the bounds: on a GPU, copying it there would wait.
    level = torch.stack([half_sides > high for _, high in FCOS_RANGES[:-1]]).sum(0)
    belongs = level.unsqueeze(1) == torch.arange(len(LEVELS), device=boxes.device)
    return belongs.sum(0), (belongs & (pos_per_box == 0).unsqueeze(1)).sum(0)


def _coverage(counts: Tensor) -> Row:
    """From (S, 11) positives, boxes and boxes without a positive per level."""
    positives, *per_level = counts.sum(0).tolist()
    boxes, unmatched = per_level[: len(LEVELS)], per_level[len(LEVELS) :]
    row = {
        "num_pos": positives / len(counts),
        "boxes_without_positive": sum(unmatched) / max(sum(boxes), 1.0),
    }
    for level, count, missed in zip(LEVELS, boxes, unmatched, strict=True):
        if count:
            row[f"boxes_without_positive_{level}"] = missed / count
    return row


class MetricsFile:
    """``metrics.jsonl`` in the folder of a run and, if asked for, the same figures for TensorBoard.

    Only the main process writes. ``first_step``: 0 begins the file anew; a resumed run goes on after it.

    Raises:
        UsageError: the package tensorboard is missing.
    """

    def __init__(self, out: Path, first_step: int = 0, tensorboard: bool = False) -> None:
        self._stream: TextIO | None = None
        self._board: SummaryWriter | None = None
        if is_main():
            self._stream = (out / METRICS).open("a" if first_step else "w", encoding="utf-8")
        if is_main() and tensorboard:
            # What TensorBoard has of later steps is of the run that was stopped.
            self._board = summary_writer()(str(out / TENSORBOARD), purge_step=first_step + 1)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        if self._board is not None:
            self._board.close()

    def write(self, row: Row) -> None:
        """Append a row, which has a ``step``."""
        if self._stream is not None:
            print(json.dumps(row), file=self._stream, flush=True)
        if self._board is not None:
            for name, value in row.items():
                if name != "step":
                    self._board.add_scalar(name, value, int(row["step"]))


def summary_writer() -> type[SummaryWriter]:
    """The writer of TensorBoard's files; raises UsageError if the package is missing."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UsageError(
            "train.tensorboard: the package tensorboard is not installed; pip install tensorboard"
        ) from None
    return SummaryWriter


def describe(row: Row, total: int) -> str:
    """A log row as one line of text."""
    losses = "  ".join(f"{name[5:]} {row[name]:.3f}" for name in row if name.startswith("loss_"))
    return (
        f"step {row['step']:.0f}/{total}  loss {row['loss']:.3f} ({losses})  lr {row['lr']:.2g}  "
        f"positives {row['num_pos']:.0f}  boxes without {100 * row['boxes_without_positive']:.1f}%  "
        f"{row['images_per_second']:.1f} images/s  data {100 * row['data_share']:.0f}%"
    )


def describe_evaluation(figures: Row, step: int, total: int) -> str:
    """The first figures of an evaluation, in [0, 1], as one line of text in percent."""
    shown = "  ".join(f"{name} {100 * value:.1f}" for name, value in list(figures.items())[:3])
    return f"step {step}/{total}  {shown}"


def out_of_memory(step: int, batch: Batch) -> UserError:
    """The error that says what the batch was, ``step`` counted from 1."""
    images, _, height, width = batch.images.shape
    boxes = batch.targets.offsets.diff()
    return UserError(
        f"step {step}: out of memory on {batch.images.device} with {images} images, padded to {height}x{width}, and "
        f"{int(boxes.sum())} boxes, at most {int(boxes.max())} in an image; lower --train.batch-size, "
        f"--data.short-sides or --data.max-side, or set --train.amp bf16; images: {', '.join(batch.files)}"
    )


def not_finite(found: NotFinite, config: Config, annotations: Annotations, out: Path) -> UserError:
    """The error that names the step, the terms and the images; the batch is saved as nan.pt.

    With several processes, each saves its own share of the batch, all but the first as nan_rank<n>.pt.
    """
    file = out / (f"nan_rank{rank()}.pt" if rank() else "nan.pt")
    _save_batch(file, found, config, annotations)
    terms = ", ".join(f"{name} {value:g}" for name, value in found.losses.items())
    return UserError(
        f"step {found.step}: the loss is not finite ({terms}, grad_norm {found.gradient_norm:g}); the batch is in "
        f"{file}; images: {', '.join(found.files)}; a lower --optim.lr or a longer warm-up may help"
    )


def _save_batch(file: Path, found: NotFinite, config: Config, annotations: Annotations) -> None:
    """Load the step's batch once more, which depends on the seed and the step alone."""
    alone = dataclasses.replace(config, data=dataclasses.replace(config.data, workers=0))
    (batch,) = training_loader(alone, annotations, first_step=found.step - 1, last_step=found.step)
    save_checkpoint(
        file,
        step=found.step,
        losses=found.losses,
        gradient_norm=found.gradient_norm,
        files=list(batch.files),
        image_ids=list(batch.image_ids),
        images=batch.images,
        sizes=batch.sizes,
        targets=vars(batch.targets),
    )
