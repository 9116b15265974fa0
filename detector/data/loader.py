"""From annotations to batches: uint8 images, and targets packed as ``pseudo_iou_ops.assign`` takes them."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from pseudo_iou_ops import pack_boxes

from ..config import Config
from ..distributed import rank, world_size
from ..errors import UserError
from ..signals import ignore_stop_signals, kill_workers_at_exit
from .annotations import Annotations
from .images import read_image as read_image
from .images import read_image_size as read_image_size
from .sampler import Key, TrainingBatches
from .transforms import Boxes, apply_transform, evaluation_transform, seed_of, training_transform

# ImageNet's mean colour: padding becomes about 0 once the model has normalised it.
PADDING_COLOUR = (124, 116, 104)
SIZE_DIVISOR = 32


@dataclass(frozen=True)
class Sample:
    """One transformed image and its boxes."""

    image: Tensor
    """(3, H, W) uint8."""
    boxes: Tensor
    """(M, 4) float32 in pixels of ``image``."""
    labels: Tensor
    """(M,) int64."""
    ignore: Tensor
    """(M,) bool, crowd or difficult."""
    image_id: int
    file: str
    original_size: tuple[int, int]
    """Height and width of the image that the boxes belong to, before the transform."""


@dataclass(frozen=True)
class Targets:
    """The boxes of a batch, packed; offsets stay on the CPU."""

    boxes: Tensor
    labels: Tensor
    offsets: Tensor
    ignore_boxes: Tensor
    ignore_offsets: Tensor


@dataclass(frozen=True)
class Batch:
    """Padded images and what belongs to them."""

    images: Tensor
    """(B, 3, H, W) uint8."""
    sizes: Tensor
    """(B, 2) int64, height and width without padding."""
    original_sizes: Tensor
    """(B, 2) int64, before the transform."""
    targets: Targets
    image_ids: tuple[int, ...]
    files: tuple[str, ...]

    def to(self, device: torch.device) -> Batch:
        """The batch on a device, all but the offsets and the original sizes."""
        return self._with_tensors(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Called by the loader, so that :meth:`to` need not wait for the copy."""
        return self._with_tensors(Tensor.pin_memory)

    def _with_tensors(self, change: Callable[[Tensor], Tensor]) -> Batch:
        targets = replace(
            self.targets,
            boxes=change(self.targets.boxes),
            labels=change(self.targets.labels),
            ignore_boxes=change(self.targets.ignore_boxes),
        )
        return replace(self, images=change(self.images), sizes=change(self.sizes), targets=targets)


class DetectionDataset(Dataset[Sample]):
    """Reads image (epoch, index): with the epoch in the key, loader processes need not be told of it."""

    def __init__(self, annotations: Annotations, transform: v2.Transform, seed: int = 0) -> None:
        self.annotations = annotations
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, index = key
        annotations = self.annotations
        rows = annotations.rows(index)
        file = str(annotations.files[index])
        pixels = annotations.read_image(index)
        height, width = pixels.shape[-2:]
        if (height, width) != tuple(annotations.sizes[index].tolist()):
            expected = "x".join(str(side) for side in annotations.sizes[index].tolist())
            raise UserError(f"{file}: expected height x width {expected} as annotated, got {height}x{width}")
        boxes = Boxes(annotations.boxes[rows].float(), annotations.labels[rows], annotations.ignore[rows])
        image, boxes = apply_transform(self.transform, pixels, boxes, seed_of(self.seed, epoch, index))
        return Sample(
            image=image,
            boxes=boxes.boxes,
            labels=boxes.labels,
            ignore=boxes.ignore,
            image_id=int(annotations.image_ids[index]),
            file=file,
            original_size=(height, width),
        )


class BatchLoader(DataLoader[Sample]):
    """Gives batches; if one can not be read, its processes end before the error goes on.

    torch's iterator ends them when it is freed, which a failed one is only with its traceback: that refers to itself,
    and once the garbage collector comes to it, the processes can no longer be told.
    """

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        try:
            yield from super().__iter__()
        except Exception as error:
            traceback.clear_frames(error.__traceback__)
            raise


def training_loader(config: Config, annotations: Annotations, first_step: int, last_step: int) -> BatchLoader:
    """This process's share of the batches of the steps ``first_step .. last_step - 1``, in order."""
    seed = config.train.seed
    heights, widths = annotations.sizes.unbind(1)
    groups = (heights > widths) & config.data.group_by_shape
    batches = TrainingBatches(groups, config.train.batch_size, seed, first_step, last_step, rank(), world_size())
    dataset = DetectionDataset(annotations, training_transform(config.data), seed)
    return batch_loader(config, dataset, batches)


def evaluation_loader(config: Config, annotations: Annotations) -> BatchLoader:
    """Every image once, in order; with several processes, every so many-th batch is this one's."""
    dataset = DetectionDataset(annotations, evaluation_transform(config.data))
    return batch_loader(config, dataset, evaluation_keys(config, annotations))


def evaluation_keys(config: Config, annotations: Annotations) -> list[list[Key]]:
    """The images of each of this process's batches."""
    size = config.eval.batch_size
    keys = [(0, index) for index in range(len(annotations))]
    batches = [keys[begin : begin + size] for begin in range(0, len(keys), size)]
    return batches[rank() :: world_size()]


def batch_loader(
    config: Config, dataset: Dataset[Any], batches: Iterable[list[Key]], collate_fn: Callable[..., Any] | None = None
) -> BatchLoader:
    """Loads batches of a data set, in loader processes if the configuration has any."""
    kill_workers_at_exit()
    return BatchLoader(
        dataset,
        batch_sampler=batches,
        num_workers=config.data.workers,
        collate_fn=collate_fn or collate,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=ignore_stop_signals,
    )


def collate(samples: Sequence[Sample]) -> Batch:
    """Pad images right and below to one size, a multiple of 32, and pack the boxes."""
    boxes, labels, offsets = pack_boxes(
        [sample.boxes[~sample.ignore] for sample in samples],
        [sample.labels[~sample.ignore] for sample in samples],
    )
    ignore_boxes, _, ignore_offsets = pack_boxes(
        [sample.boxes[sample.ignore] for sample in samples],
        [sample.labels[sample.ignore] for sample in samples],
    )
    sizes = torch.tensor([sample.image.shape[-2:] for sample in samples])
    return Batch(
        images=_pad([sample.image for sample in samples], sizes),
        sizes=sizes,
        original_sizes=torch.tensor([sample.original_size for sample in samples]),
        targets=Targets(boxes, labels, offsets, ignore_boxes, ignore_offsets),
        image_ids=tuple(sample.image_id for sample in samples),
        files=tuple(sample.file for sample in samples),
    )


def _pad(images: Sequence[Tensor], sizes: Tensor) -> Tensor:
    height, width = ((sizes.amax(0) + SIZE_DIVISOR - 1) // SIZE_DIVISOR * SIZE_DIVISOR).tolist()
    colour = torch.tensor(PADDING_COLOUR, dtype=torch.uint8).view(1, 3, 1, 1)
    padded = colour.expand(len(images), 3, height, width).clone()
    for canvas, image in zip(padded, images, strict=True):
        canvas[:, : image.shape[1], : image.shape[2]] = image
    return padded
