"""What a run would do, from one batch."""

from __future__ import annotations

import sys
import time

import torch

from ..config import Config
from ..data import Annotations
from ..data.loader import Batch, training_loader
from ..data.sampler import steps_per_epoch
from .checkpoint import TrainingState
from .optim import learning_rate, total_steps
from .step import train_step
from .train import build_network, new_state


def describe_dry_run(config: Config, annotations: Annotations, device: torch.device, first_step: int = 0) -> str:
    """Take the first batch through assignment, loss, backward pass and update, and describe the run in text."""
    total = total_steps(config, len(annotations))
    state = new_state(config, len(annotations.class_names), device)
    started = time.perf_counter()
    (batch,) = training_loader(config, annotations, first_step, first_step + 1)
    data_seconds = time.perf_counter() - started
    lines = [_data(config, annotations), _parameters(state), *_rates(config, total), *_first_batch(batch)]
    network = build_network(state.model)
    state.step = first_step
    batch = batch.to(device)
    state.model.train()
    for _ in range(2):  # the first step also allocates, compiles and chooses algorithms
        started = time.perf_counter()
        losses, assignment, norm = train_step(state, batch, network)
        loss = sum(float(value.detach()) for value in losses.values())  # waits for the device
        step_seconds = time.perf_counter() - started
    positives, unmatched = int(assignment.num_pos.sum()), int((assignment.pos_per_box == 0).sum())
    lines += [
        f"assignment: {positives} positive points, {unmatched} of {len(assignment.pos_per_box)} boxes without one",
        f"loss after one update: {loss:.3f}, gradient norm {float(norm):.2f}",
        f"memory: {_memory(device)}",
        f"time: {step_seconds:.2f} s a step, {data_seconds:.2f} s to load the images of one; "
        f"{_duration((total - first_step) * step_seconds)} for {total - first_step} steps if the loader keeps up",
    ]
    return "\n".join(lines)


def _data(config: Config, annotations: Annotations) -> str:
    counts = annotations.offsets.diff()
    return (
        f"data: {len(annotations)} images, {int((counts == 0).sum())} without boxes; {len(annotations.boxes)} boxes, "
        f"{int(annotations.ignore.sum())} crowd or difficult, at most {int(counts.max())} in an image; "
        f"{steps_per_epoch(len(annotations), config.train.batch_size)} steps an epoch"
    )


def _parameters(state: TrainingState) -> str:
    trained = sum(p.numel() for p in state.model.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in state.model.parameters() if not p.requires_grad)
    return f"parameters: {trained:,} trained, {frozen:,} frozen"


def _rates(config: Config, total: int) -> list[str]:
    """The learning rate where it changes its course."""
    optim = config.optim
    steps = {0, optim.warmup_iterations // 2, optim.warmup_iterations, total - 1}
    steps |= {round(fraction * total) for fraction in optim.decay_at}
    shown = [f"{learning_rate(step, total, optim):.3g} from step {step}" for step in sorted(steps) if step < total]
    return [f"learning rate: {', '.join(shown)}"]


def _first_batch(batch: Batch) -> list[str]:
    images, _, height, width = batch.images.shape
    return [f"first batch: {images} images padded to {height}x{width}, {len(batch.targets.boxes)} boxes"]


def _memory(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB of the GPU"
    try:
        import resource
    except ImportError:  # Windows
        return "not measured"
    unit = 1 if sys.platform == "darwin" else 2**10
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30:.2f} GiB of this process"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"
