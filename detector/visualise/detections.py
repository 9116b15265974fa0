"""Detections and ground truth drawn on their image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from ..data.loader import Batch
from ..model import Detections
from .palette import add_box, add_caption, colour, pyplot, save, show_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL_WIDTH = 2.6  # inches
TALLEST = 4.0  # height of a panel in its widths; a taller image is drawn smaller


class Picture(NamedTuple):
    """One image (3, H, W) uint8 with what was found and, if it is known, what is there: (boxes, labels)."""

    image: Tensor
    found: Detections
    truth: tuple[Tensor, Tensor] | None


def draw_detections(
    pictures: Sequence[Picture],
    class_names: Sequence[str],
    file: Path,
    columns: int = 1,
    panel_width: float = PANEL_WIDTH,
) -> None:
    """Write images with their detections, ``columns`` to a line, each beside its ground truth if known.

    ``panel_width`` is an image's, in inches of 130 pixels.
    """
    panels = 2 if any(picture.truth is not None for picture in pictures) else 1
    figure, grid = _grid([picture.image for picture in pictures], class_names, columns, panels, panel_width)
    for position, (image, found, truth) in enumerate(pictures):
        line, column = divmod(position, columns)
        captions = [
            f"{class_names[label]} {score:.2f}"
            for label, score in zip(found.labels.tolist(), found.scores.tolist(), strict=True)
        ]
        axes = grid[line, column * panels]
        _draw(axes, image, found.boxes, found.labels, captions)
        axes.set_title("detections", fontsize=8)
        if truth is not None:
            axes = grid[line, column * panels + 1]
            _draw(axes, image, *truth, [class_names[label] for label in truth[1].tolist()])
            axes.set_title("ground truth", fontsize=8)
    save(figure, file)


def draw_targets(batch: Batch, class_names: Sequence[str], file: Path, columns: int = 4) -> None:
    """Write a batch with its targets, as the network gets them: most mistakes in data show here."""
    columns = min(columns, len(batch.images))
    figure, grid = _grid(batch.images, class_names, columns, panels=1)
    offsets = batch.targets.offsets.tolist()
    for position, image in enumerate(batch.images):
        rows = slice(offsets[position], offsets[position + 1])
        labels = batch.targets.labels[rows]
        captions = [class_names[label] for label in labels.tolist()]
        _draw(grid[divmod(position, columns)], image, batch.targets.boxes[rows], labels, captions)
    save(figure, file)


def _grid(
    images: Sequence[Tensor] | Tensor,
    class_names: Sequence[str],
    columns: int,
    panels: int,
    panel_width: float = PANEL_WIDTH,
) -> tuple[Any, Any]:
    """A figure with ``panels`` empty axes for each image."""
    plt = pyplot(class_names)
    lines = math.ceil(len(images) / columns)
    ratio = min(TALLEST, max(image.shape[1] / image.shape[2] for image in images))
    figure, grid = plt.subplots(
        lines,
        columns * panels,
        squeeze=False,
        figsize=(panel_width * columns * panels, (panel_width * ratio + 0.25) * lines),
        layout="constrained",
    )
    for axes in grid.flat:
        axes.set_axis_off()
    return figure, grid


def _draw(axes: Axes, image: Tensor, boxes: Tensor, labels: Tensor, captions: Sequence[str]) -> None:
    height, width = image.shape[-2:]
    show_image(axes, image.permute(1, 2, 0).numpy(), width, height)
    for box, label, caption in zip(boxes.tolist(), labels.tolist(), captions, strict=True):
        add_box(axes, box, edgecolor="white", linewidth=2.4, alpha=0.7)
        add_box(axes, box, edgecolor=colour(label), linewidth=1.4)
        add_caption(axes, box[0], box[1], caption, colour(label))
