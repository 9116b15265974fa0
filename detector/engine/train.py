"""The training loop."""

from __future__ import annotations

import json
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from pseudo_iou_ops import Assignment

from ..config import Config, config_to_yaml
from ..data import Annotations
from ..data.loader import Batch, steps_per_epoch, training_loader
from ..errors import UserError
from ..model import Detector
from ..visualise.detections import draw_targets
from .checkpoint import save_checkpoint, training_state
from .progress import Progress
from .schedule import learning_rate

CHECKPOINT = "last.pt"
METRICS = "metrics.jsonl"
FIRST_BATCH = "first_batch.png"


def train(config: Config, annotations: Annotations, out: Path, device: torch.device) -> Detector:
    """Train from random or pretrained weights; writes config.yaml, first_batch.png, metrics.jsonl and last.pt
    into ``out``.

    Raises:
        UserError: the data can not be read, or the loss is no longer a finite number.
    """
    if not config.data.keep_empty:
        annotations = annotations.without_empty()
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.yaml").write_text(config_to_yaml(config), encoding="utf-8")

    torch.manual_seed(config.train.seed)
    model = build_model(config, len(annotations.class_names), device)
    optimizer = build_optimizer(model, config)
    total = total_steps(config, len(annotations))
    loader = training_loader(config, annotations, first_step=0, last_step=total)
    progress = Progress(total)
    window = LogWindow()
    model.train()
    with (out / METRICS).open("w", encoding="utf-8") as metrics:
        for step, batch in enumerate(loader):
            if step == 0:
                draw_targets(batch, annotations.class_names, out / FIRST_BATCH)
            batch = batch.to(device)
            window.data_arrived()
            rate = learning_rate(step, total, config.optim)
            set_learning_rate(optimizer, rate)
            losses, assignment, gradient_norm = train_step(model, optimizer, batch)
            window.add(losses, assignment, gradient_norm, batch)
            progress.advance()

            is_last = step + 1 == total
            should_save = is_last or (step + 1) % config.train.save_every == 0
            if should_save or (step + 1) % config.train.log_every == 0:
                row = {"step": step + 1, "lr": rate, **window.close(step + 1)}
                print(json.dumps(row), file=metrics, flush=True)
                progress.line(describe(row, total))
            if should_save:
                state = training_state(model, optimizer, step + 1, annotations)
                save_checkpoint(out / CHECKPOINT, **state)
            window.step_ended()
    progress.close()
    return model


def train_step(
    model: Detector, optimizer: torch.optim.Optimizer, batch: Batch
) -> tuple[dict[str, Tensor], Assignment, Tensor]:
    """One update, without waiting for the device: the loss terms, the assignment and the gradient norm."""
    predictions = model(batch.images)
    assignment = model.assign(predictions.level_shapes, batch.targets, batch.sizes)
    losses = model.losses(predictions, assignment)
    optimizer.zero_grad(set_to_none=True)
    torch.stack(list(losses.values())).sum().backward()
    limit = model.config.optim.clip_grad_norm
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradient_norm = nn.utils.clip_grad_norm_(trained, limit if limit > 0 else float("inf"))
    optimizer.step()
    return losses, assignment, gradient_norm


def build_model(config: Config, num_classes: int, device: torch.device) -> Detector:
    model = Detector(config, num_classes)
    memory_format = torch.channels_last if config.train.channels_last else torch.contiguous_format
    return model.to(device=device, memory_format=memory_format)  # type: ignore[call-overload,no-any-return]


def build_optimizer(model: Detector, config: Config) -> torch.optim.Optimizer:
    optim = config.optim
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if optim.optimizer == "adamw":
        return torch.optim.AdamW(trained, lr=optim.lr, weight_decay=optim.weight_decay)
    return torch.optim.SGD(trained, lr=optim.lr, momentum=optim.momentum, weight_decay=optim.weight_decay)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def total_steps(config: Config, images: int) -> int:
    if config.train.iterations is not None:
        return config.train.iterations
    return config.train.epochs * steps_per_epoch(images, config.train.batch_size)


class LogWindow:
    """The steps between two log lines; their figures stay on the device until :meth:`close` reads them."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.rows: list[Tensor] = []
        self.files: list[tuple[str, ...]] = []
        self.images = 0
        self.data_seconds = 0.0
        self.started = self.waiting_since = time.perf_counter()

    def data_arrived(self) -> None:
        self.data_seconds += time.perf_counter() - self.waiting_since

    def step_ended(self) -> None:
        self.waiting_since = time.perf_counter()

    def add(self, losses: dict[str, Tensor], assignment: Assignment, gradient_norm: Tensor, batch: Batch) -> None:
        per_box = assignment.pos_per_box
        boxes = torch.full((), per_box.numel(), device=per_box.device)
        values = [*losses.values(), gradient_norm, assignment.num_pos.sum(), (per_box == 0).sum(), boxes]
        self.names = (*losses, "grad_norm", "num_pos", "unmatched", "boxes")
        self.rows.append(torch.stack([value.detach().float() for value in values]))
        self.files.append(batch.files)
        self.images += len(batch.files)

    def close(self, step: int) -> dict[str, float]:
        """Means since the last call; raises UserError at a loss or gradient that is not finite.

        ``step`` is the number of the last step added.
        """
        table = torch.stack(self.rows).cpu()
        finite = table.isfinite().all(1)
        if not bool(finite.all()):
            bad = int((~finite).nonzero()[0])
            values = ", ".join(f"{n} {v:g}" for n, v in zip(self.names, table[bad].tolist(), strict=True))
            raise UserError(
                f"step {step - len(self.rows) + 1 + bad}: the loss is not finite ({values}); images: "
                f"{', '.join(self.files[bad])}; a lower --optim.lr or a longer warm-up may help"
            )
        mean = dict(zip(self.names, table.mean(0).tolist(), strict=True))
        seconds = time.perf_counter() - self.started
        steps, images = len(self.rows), self.images
        row = {
            "loss": sum(mean[name] for name in self.names[: self.names.index("grad_norm")]),
            **{f"loss_{name}": mean[name] for name in self.names[: self.names.index("grad_norm")]},
            "grad_norm": mean["grad_norm"],
            "num_pos": mean["num_pos"],
            "boxes_without_positive": mean["unmatched"] / max(mean["boxes"], 1e-9),
            "seconds_per_step": seconds / steps,
            "data_share": self.data_seconds / seconds,
            "images_per_second": images / seconds,
        }
        self.rows, self.files, self.images, self.data_seconds = [], [], 0, 0.0
        self.started = time.perf_counter()
        return row


def describe(row: dict[str, float], total: int) -> str:
    """A log row as one line of text."""
    losses = "  ".join(f"{name[5:]} {row[name]:.3f}" for name in row if name.startswith("loss_"))
    return (
        f"step {row['step']:.0f}/{total}  loss {row['loss']:.3f} ({losses})  lr {row['lr']:.2g}  "
        f"positives {row['num_pos']:.0f}  boxes without {100 * row['boxes_without_positive']:.1f}%  "
        f"{row['images_per_second']:.1f} images/s  data {100 * row['data_share']:.0f}%"
    )
