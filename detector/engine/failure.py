"""What is said, and kept, when a step fails."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ..config import Config
from ..data import Annotations
from ..data.loader import Batch, training_loader
from ..distributed import rank
from ..errors import UserError
from .checkpoint import save_checkpoint
from .log import NotFinite


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
