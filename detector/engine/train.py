"""The training loop."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from ..config import Config, TrainConfig, config_to_yaml
from ..data import Annotations
from ..data.loader import Batch, training_loader
from ..data.sampler import steps_per_epoch
from ..distributed import is_main, with_averaged_gradients
from ..errors import Stopped
from ..model import Detector
from ..progress import Progress
from ..signals import StopRequest
from .checkpoint import TrainingState, keep_checkpoint, remove_leftovers, save_checkpoint
from .log import (
    METRICS,
    LogWindow,
    MetricsFile,
    NotFinite,
    describe,
    describe_evaluation,
    not_finite,
    out_of_memory,
)
from .optim import build_average, build_optimizer, learning_rate, set_learning_rate
from .precision import build_scaler
from .resume import Resumed, cut_rows
from .step import train_step

CHECKPOINT = "last.pt"
BEST = "best.pt"
KEPT = "step_{}.pt"
OWN_CHECKPOINT = re.compile(r"(last|best|step_\d+|nan(_rank\d+)?)\.pt")

# Evaluates a network. The main process gets the figures, the one to go by first, and the others get none.
Validate = Callable[[Detector], dict[str, float]]
# Gets the first batch of a run that begins, on the main process alone.
ShowBatch = Callable[[Batch], None]


def train(
    config: Config,
    annotations: Annotations,
    out: Path,
    device: torch.device,
    resumed: Resumed | None = None,
    validate: Validate | None = None,
    show_batch: ShowBatch | None = None,
) -> Detector:
    """Train, and write config.yaml, metrics.jsonl and last.pt into ``out``.

    Args:
        config: of the run.
        annotations: of the images to train on.
        out: the folder of the run; unless it is resumed, what an earlier run left there is replaced.
        device: of this process.
        resumed: the checkpoint to go on from.
        validate: called every ``train.eval_every`` steps and at the end.
        show_batch: called with the first batch of a run that begins.

    Returns:
        The network, or the average of its weights if ``train.ema`` asks for one.

    Raises:
        UserError: the data can not be read, memory does not suffice, or the loss is no longer a finite number.
        Stopped: a signal came; the state was saved after the step in work.
    """
    total = total_steps(config, len(annotations))
    state = new_state(config, len(annotations.class_names), device)
    if resumed is not None:
        state.restore(resumed.content, resumed.file)
    if is_main():
        _prepare_folder(out, config, state.step)
    network = build_network(state.model)
    loader = training_loader(config, annotations, first_step=state.step, last_step=total)
    assignment = None
    state.model.train()
    with _Record(state, annotations, out, total) as record, StopRequest() as stop:
        for batch in loader:
            if show_batch is not None and state.step == 0 and is_main():
                show_batch(batch)
            batch = batch.to(device)
            record.window.data_arrived()
            set_learning_rate(state.optimizer, learning_rate(state.step, total, config.optim))
            try:
                losses, assignment, gradient_norm = train_step(state, batch, network, assignment)
            except torch.OutOfMemoryError:
                raise out_of_memory(state.step + 1, batch) from None
            record.window.add(losses, assignment, gradient_norm, batch)
            record.progress.advance()

            status = stop.exit_status()
            due = _due(config.train, state.step, total, validate is not None, is_stopping=status != 0)
            if due.log:
                record.log()
            is_best = validate is not None and due.validate and record.evaluate(validate)
            if due.save and is_main():
                record.save(due.keep, is_best)
            if status and state.step < total:
                raise Stopped(f"stopped at step {state.step} of {total}; --resume goes on from there", status)
            record.window.step_ended()
    return state.evaluated()


class _Due(NamedTuple):
    """What follows a step."""

    log: bool
    validate: bool
    keep: bool
    save: bool


def _due(settings: TrainConfig, step: int, total: int, can_validate: bool, is_stopping: bool) -> _Due:
    """What follows the step, counted from 1; all that is saved is logged first, which finds values not finite."""

    def every(steps: int) -> bool:
        return steps > 0 and step % steps == 0

    is_last = step == total
    # A scheduler that asks to stop does not wait for an evaluation.
    validate = can_validate and (is_last or (every(settings.eval_every) and not is_stopping))
    keep = every(settings.keep_every)
    save = is_last or is_stopping or validate or keep or every(settings.save_every)
    return _Due(log=save or every(settings.log_every), validate=validate, keep=keep, save=save)


class _Record:
    """What a run tells and leaves behind: progress, metrics.jsonl and checkpoints."""

    def __init__(self, state: TrainingState, annotations: Annotations, out: Path, total: int) -> None:
        self.state = state
        self.annotations = annotations
        self.out = out
        self.total = total
        self.settings = state.model.config.train
        self.progress = Progress(total, first=state.step)
        self.metrics = MetricsFile(out, state.step, self.settings.tensorboard)
        self.window = LogWindow(overflow_is_skipped=state.scaler.is_enabled())

    def __enter__(self) -> _Record:
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.close()
        self.metrics.close()

    def log(self) -> None:
        """Write the figures since the last time; raises UserError if one of them is not finite."""
        state, config = self.state, self.state.model.config
        figures = self.window.close(state.step)
        if isinstance(figures, NotFinite):
            raise not_finite(figures, config, self.annotations, self.out)
        epoch = state.step / steps_per_epoch(len(self.annotations), self.settings.batch_size)
        rate = learning_rate(state.step - 1, self.total, config.optim)
        row = {"step": state.step, "epoch": epoch, "lr": rate, **figures}
        self.metrics.write(row)
        self.progress.line(describe(row, self.total))

    def evaluate(self, validate: Validate) -> bool:
        """Evaluate the network and write the figures; whether the first one is the highest so far."""
        figures = validate(self.state.evaluated())
        self.metrics.write({"step": self.state.step, **{f"eval_{name}": value for name, value in figures.items()}})
        self.progress.line(describe_evaluation(figures, self.state.step, self.total))
        first = next(iter(figures.values()), None)
        if first is None or (self.state.best is not None and first <= self.state.best):
            return False
        self.state.best = first
        return True

    def save(self, keep: bool, is_best: bool) -> None:
        """Write the checkpoint, and give it the names under which later ones leave it as it is."""
        save_checkpoint(self.out / CHECKPOINT, **self.state.content(self.annotations))
        if keep:
            keep_checkpoint(self.out / CHECKPOINT, KEPT.format(self.state.step))
        if is_best:
            keep_checkpoint(self.out / CHECKPOINT, BEST)


def new_state(config: Config, num_classes: int, device: torch.device) -> TrainingState:
    """A run that begins: the weights are drawn from ``train.seed``, the same on every process."""
    torch.manual_seed(config.train.seed)
    model = build_model(config, num_classes, device)
    return TrainingState(
        model=model,
        optimizer=build_optimizer(model),
        scaler=build_scaler(config.train, device),
        average=build_average(model),
    )


def build_model(config: Config, num_classes: int, device: torch.device) -> Detector:
    model = Detector(config, num_classes)
    memory_format = torch.channels_last if config.train.channels_last else torch.contiguous_format
    return model.to(device=device, memory_format=memory_format)  # type: ignore[call-overload,no-any-return]


def build_network(model: Detector) -> nn.Module:
    """What a step calls for predictions: the model, its gradients averaged over processes, compiled if asked for.

    Assignment and losses are outside: they take what changes from batch to batch.
    """
    network = with_averaged_gradients(model, model.device)
    if model.config.train.compile:
        network.compile(dynamic=True)
    return network


def total_steps(config: Config, images: int) -> int:
    if config.train.iterations is not None:
        return config.train.iterations
    return config.train.epochs * steps_per_epoch(images, config.train.batch_size)


def _prepare_folder(out: Path, config: Config, first_step: int) -> None:
    """Make the folder of a run; delete what is not of this run, up to its step."""
    out.mkdir(parents=True, exist_ok=True)
    remove_leftovers(out)
    if first_step:
        cut_rows(out / METRICS, first_step)
    else:
        for file in out.iterdir():
            if OWN_CHECKPOINT.fullmatch(file.name):
                file.unlink()
    (out / "config.yaml").write_text(config_to_yaml(config), encoding="utf-8")
