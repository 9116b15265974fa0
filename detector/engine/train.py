"""The training loop."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from ..config import Config, TrainConfig, config_to_yaml
from ..data import Annotations
from ..data.loader import Batch, training_loader
from ..data.sampler import steps_per_epoch
from ..distributed import is_main, wait_for_all, with_averaged_gradients
from ..errors import Stopped, UserError, one_line
from ..model import Detector
from ..progress import Progress
from ..signals import StopRequest
from .checkpoint import TrainingState, keep_checkpoint, remove_leftovers, save_checkpoint
from .log import (
    EVALUATION,
    METRICS,
    LogWindow,
    MetricsFile,
    NotFinite,
    describe,
    describe_evaluation,
    not_finite,
    out_of_memory,
)
from .optim import build_average, build_optimizer, learning_rate, set_learning_rate, total_steps
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
    for model in {state.model, state.evaluated()}:
        model.use_feature_cache()
    if is_main():
        _prepare_folder(out, config, state)
    network = build_network(state.model)
    loader = training_loader(config, annotations, first_step=state.step, last_step=total)
    assignment = None
    state.model.train()
    with _Record(state, annotations, out, total) as record, StopRequest() as stop:
        if validate is not None and _is_unevaluated(state, config.train, total):
            record.evaluate(validate, keep=False)
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
            record.follow(stop.exit_status(), validate)
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


def _is_unevaluated(state: TrainingState, settings: TrainConfig, total: int) -> bool:
    """Whether a run that goes on ended before the evaluation that follows its step."""
    is_due = state.step > 0 and _due(settings, state.step, total, can_validate=True, is_stopping=False).validate
    return is_due and state.evaluated_at < state.step


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

    def follow(self, status: int, validate: Validate | None) -> None:
        """Log, save and evaluate what is due after a step; with an exit status, raises Stopped once it is saved."""
        state, total = self.state, self.total
        due = _due(self.settings, state.step, total, validate is not None, is_stopping=status != 0)
        if due.log:
            self.log()
        if due.save and is_main():
            self.save(due.keep)
        if status and state.step < total:
            how = f"{self.resuming()} goes on"
            raise Stopped(f"stopped at step {state.step} of {total}; {how}", status)
        if validate is not None and due.validate:
            self.evaluate(validate, due.keep)

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

    def evaluate(self, validate: Validate, keep: bool) -> None:
        """Evaluate the network, whose step is saved, and write the figures; the highest first one makes best.pt.

        Raises:
            UserError: the evaluation failed, whatever it failed by.
        """
        state = self.state
        wait_for_all()  # a process that fails ends the others, also while one of them saves
        try:
            figures = validate(state.evaluated())
        except Exception as error:
            raise UserError(
                f"step {state.step}: the evaluation failed: {one_line(error)}; no step is lost: "
                f"{self.resuming()} begins with this evaluation"
            ) from error
        self.metrics.write({"step": state.step, **{f"{EVALUATION}{name}": value for name, value in figures.items()}})
        self.progress.line(describe_evaluation(figures, state.step, self.total))
        state.evaluated_at = state.step
        if is_main():
            (first, *_) = figures.values()
            is_best = state.best is None or first > state.best
            state.best = first if is_best else state.best
            self.save(keep, is_best)

    def resuming(self) -> str:
        """The command of the detector that goes on, for a shell."""
        return shlex.join(("train", "--resume", str(self.out / CHECKPOINT)))

    def save(self, keep: bool, is_best: bool = False) -> None:
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
    return placed(Detector(config, num_classes), device)


def placed(model: Detector, device: torch.device) -> Detector:
    """The model on its device, its weights in the layout that ``train.channels_last`` asks for."""
    memory_format = torch.channels_last if model.config.train.channels_last else torch.contiguous_format
    return model.to(device=device, memory_format=memory_format)  # type: ignore[call-overload,no-any-return]


def build_network(model: Detector) -> nn.Module:
    """What a step calls for predictions: the model, its gradients averaged over processes, compiled if asked for.

    Assignment and losses are outside: they take what changes from batch to batch.
    """
    network = with_averaged_gradients(model, model.device)
    if model.config.train.compile:
        network.compile(dynamic=True)
    return network


def _prepare_folder(out: Path, config: Config, state: TrainingState) -> None:
    """Make the folder of a run; delete what is not of this run, up to its step."""
    out.mkdir(parents=True, exist_ok=True)
    remove_leftovers(out)
    if state.step:
        cut_rows(out / METRICS, state.step, state.evaluated_at)
    else:
        for file in out.iterdir():
            if OWN_CHECKPOINT.fullmatch(file.name):
                file.unlink()
    (out / "config.yaml").write_text(config_to_yaml(config), encoding="utf-8")
