"""The training loop."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from ..config import Config, config_to_yaml
from ..data import Annotations
from ..data.loader import Batch, training_loader
from ..data.sampler import steps_per_epoch
from ..distributed import is_main, with_averaged_gradients
from ..errors import Stopped
from ..model import Detector
from ..progress import Progress
from ..signals import StopRequest
from .average import build_average, update_average
from .checkpoint import keep_checkpoint, remove_leftovers, save_checkpoint
from .failure import not_finite, out_of_memory
from .log import METRICS, LogWindow, MetricsFile, NotFinite, describe, describe_evaluation
from .optimizer import build_optimizer, set_learning_rate
from .precision import build_scaler
from .resume import Resumed, cut_rows
from .schedule import learning_rate
from .state import TrainingState
from .step import train_step

CHECKPOINT = "last.pt"
BEST = "best.pt"
KEPT = "step_{}.pt"
OWN_CHECKPOINT = re.compile(r"(last|best|step_\d+|nan(_rank\d+)?)\.pt")

# Evaluates a network. The main process gets the figures, the one to go by first; the others get none.
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
    settings = config.train
    total = total_steps(config, len(annotations))
    state = new_state(config, len(annotations.class_names), device)
    if resumed is not None:
        state.restore(resumed.content, resumed.file)
    if is_main():
        _prepare_folder(out, config, state.step)
    network = build_network(state.model, config, device)
    loader = training_loader(config, annotations, first_step=state.step, last_step=total)
    progress = Progress(total, first=state.step)
    window = LogWindow(overflow_is_skipped=state.scaler.is_enabled())
    state.model.train()
    with MetricsFile(out, state.step, settings.tensorboard) as metrics, StopRequest() as stop:
        for batch in loader:
            if show_batch is not None and state.step == 0 and is_main():
                show_batch(batch)
            batch = batch.to(device)
            window.data_arrived()
            rate = learning_rate(state.step, total, config.optim)
            set_learning_rate(state.optimizer, rate)
            try:
                losses, assignment, gradient_norm = train_step(
                    state.model, state.optimizer, batch, network, state.scaler
                )
            except torch.OutOfMemoryError:
                raise out_of_memory(state.step + 1, batch) from None
            if state.average is not None:
                update_average(state.average, state.model, settings.ema, state.step)
            window.add(losses, assignment, gradient_norm, batch)
            state.step += 1
            progress.advance()

            status = stop.exit_status()
            is_last = state.step == total
            # A scheduler that asks to stop does not wait for an evaluation.
            should_validate = validate is not None and (is_last or (_is_due(state, settings.eval_every) and not status))
            should_keep = _is_due(state, settings.keep_every)
            should_save = is_last or status or should_validate or should_keep or _is_due(state, settings.save_every)
            if should_save or _is_due(state, settings.log_every):
                figures = window.close(state.step)
                if isinstance(figures, NotFinite):
                    raise not_finite(figures, config, annotations, out)
                epoch = state.step / steps_per_epoch(len(annotations), settings.batch_size)
                row = {"step": state.step, "epoch": epoch, "lr": rate, **figures}
                metrics.write(row)
                progress.line(describe(row, total))
            is_best = False
            if validate is not None and should_validate:
                evaluation = validate(state.evaluated())
                is_best = _is_best(state, evaluation)
                metrics.write({"step": state.step, **{f"eval_{name}": value for name, value in evaluation.items()}})
                progress.line(describe_evaluation(evaluation, state.step, total))
            if should_save and is_main():
                save_checkpoint(out / CHECKPOINT, **state.content(annotations))
                if should_keep:
                    keep_checkpoint(out / CHECKPOINT, KEPT.format(state.step))
                if is_best:
                    keep_checkpoint(out / CHECKPOINT, BEST)
            if status and not is_last:
                progress.close()
                raise Stopped(f"stopped at step {state.step} of {total}; --resume goes on from there", status)
            window.step_ended()
    progress.close()
    return state.evaluated()


def new_state(config: Config, num_classes: int, device: torch.device) -> TrainingState:
    """A run that begins: the weights are drawn from ``train.seed``, the same on every process."""
    torch.manual_seed(config.train.seed)
    model = build_model(config, num_classes, device)
    return TrainingState(
        model=model,
        optimizer=build_optimizer(model, config),
        scaler=build_scaler(config.train, device),
        average=build_average(model, config.train.ema),
    )


def build_model(config: Config, num_classes: int, device: torch.device) -> Detector:
    model = Detector(config, num_classes)
    memory_format = torch.channels_last if config.train.channels_last else torch.contiguous_format
    return model.to(device=device, memory_format=memory_format)  # type: ignore[call-overload,no-any-return]


def build_network(model: Detector, config: Config, device: torch.device) -> nn.Module:
    """What a step calls for its predictions: the model, its gradients averaged over the processes, compiled if wished.

    Assignment and losses are outside: they take what changes from batch to batch.
    """
    network = with_averaged_gradients(model, device)
    if config.train.compile:
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


def _is_due(state: TrainingState, every: int) -> bool:
    return every > 0 and state.step % every == 0


def _is_best(state: TrainingState, evaluation: dict[str, float]) -> bool:
    """Whether the first figure is the highest so far, which it is from here on."""
    figure = next(iter(evaluation.values()), None)
    if figure is None or (state.best is not None and figure <= state.best):
        return False
    state.best = figure
    return True
