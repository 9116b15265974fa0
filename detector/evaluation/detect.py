"""The detections of a network in the images of a data set."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch

from ..data import Annotations
from ..data.loader import Batch, evaluation_keys, evaluation_loader
from ..data.readable import Readable, Unreadable, readable_batches
from ..errors import UserError
from ..model import Detections, Detector
from ..model.normalisation import check_normalisation
from ..model.postprocess import rescaled
from ..progress import Progress
from .gather import gather_detections, gather_lists


class Found(NamedTuple):
    """The detections of the images that can be read."""

    detections: list[Detections]
    annotations: Annotations
    """Of these images."""
    positions: list[int]
    """Theirs among all."""
    unreadable: list[str]
    """One line for each of the others."""


def detect_all(model: Detector, annotations: Annotations) -> list[Detections]:
    """The detections of every image, in order, in pixels of the files, on the CPU.

    Processes of one run share the images; each gets the detections of all.

    Raises:
        UserError: an image can not be read, or memory does not suffice.
    """
    batches = (Readable(batch, ()) for batch in evaluation_loader(model.config, annotations))
    return _detect(model, batches, annotations)[0]


def detect_readable(model: Detector, annotations: Annotations) -> Found:
    """As :func:`detect_all`, but images that can not be read are left out and named."""
    detections, unreadable = _detect(model, readable_batches(model.config, annotations), annotations)
    left_out = {one.position for one in unreadable}
    read = [index for index in range(len(annotations)) if index not in left_out]
    messages = [one.message for one in sorted(unreadable)]
    return Found([detections[index] for index in read], annotations.select(read), read, messages)


@torch.inference_mode()
def _detect(
    model: Detector, batches: Iterable[Readable], annotations: Annotations
) -> tuple[list[Detections], list[Unreadable]]:
    """The detections of every image, none for one that is unreadable, and those that are; of all processes."""
    was_training = model.training
    model.eval()
    found: list[Detections] = []
    image_ids: list[int] = []
    unreadable: list[Unreadable] = []
    progress = Progress(len(evaluation_keys(model.config, annotations)), unit="batch")
    for batch, left_out in batches:
        if batch is not None:
            found += _detections_of(model, batch)
            image_ids += batch.image_ids
        unreadable += left_out
        progress.advance()
    progress.close()
    model.train(was_training)
    position = {image_id: index for index, image_id in enumerate(annotations.image_ids.tolist())}
    own = torch.tensor([position[image_id] for image_id in image_ids], dtype=torch.int64)
    return gather_detections(found, own, len(annotations)), gather_lists(unreadable)


def _detections_of(model: Detector, batch: Batch) -> list[Detections]:
    """In pixels of the files, on the CPU."""
    images = batch.to(model.device).images
    check_normalisation(model.config.model, images.shape, is_training=False)
    try:
        found = model.detect(images, batch.sizes)
    except torch.OutOfMemoryError:
        count, _, height, width = images.shape
        raise UserError(
            f"out of memory on {images.device} with {count} images, padded to {height}x{width}; lower "
            f"--eval.batch-size, --data.eval-short-side or --data.max-side; images: {', '.join(batch.files)}"
        ) from None
    on_cpu = (Detections(*(tensor.cpu() for tensor in one)) for one in found)
    return [
        rescaled(one, size, original)
        for one, size, original in zip(on_cpu, batch.sizes, batch.original_sizes, strict=True)
    ]
