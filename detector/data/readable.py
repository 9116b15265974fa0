"""Batches of the images that can be read, and word of those that can not: a damaged photo among many stops nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from torch.utils.data import Dataset

from ..config import Config
from ..errors import UserError, one_line
from .annotations import Annotations
from .loader import Batch, DetectionDataset, Sample, batch_loader, collate, evaluation_keys
from .sampler import Key
from .transforms import evaluation_transform


class Unreadable(NamedTuple):
    """An image that is left out."""

    position: int
    """In the annotations."""
    message: str
    """One line that begins with the file."""


class Readable(NamedTuple):
    """What could be read of a batch's images."""

    batch: Batch | None
    unreadable: tuple[Unreadable, ...]


class ReadableDataset(Dataset[Sample | Unreadable]):
    """A data set that gives the error of an image instead of raising it."""

    def __init__(self, images: DetectionDataset) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: Key) -> Sample | Unreadable:
        try:
            return self.images[key]
        except UserError as error:
            return Unreadable(key[1], one_line(error))


def readable_batches(config: Config, annotations: Annotations) -> Iterator[Readable]:
    """As :func:`evaluation_loader`: every image once, in order, or this process's share of them."""
    dataset = ReadableDataset(DetectionDataset(annotations, evaluation_transform(config.data)))
    loader: Any = batch_loader(config, dataset, evaluation_keys(config, annotations), _collate)
    return iter(loader)


def _collate(samples: Sequence[Sample | Unreadable]) -> Readable:
    read = [sample for sample in samples if isinstance(sample, Sample)]
    unreadable = tuple(sample for sample in samples if isinstance(sample, Unreadable))
    return Readable(collate(read) if read else None, unreadable)
