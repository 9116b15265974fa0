"""Detectors side by side on the same images, their mistakes marked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from ..model import Detections
from .palette import GREY, WRONG, add_box, add_caption, colour, pyplot, save, show_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL_WIDTH = 3.4  # inches
TALLEST = 4.0  # height of a panel in its widths; a taller image is drawn smaller


class Judged(NamedTuple):
    """The detections of an image, which of them are wrong, and which boxes no detection found."""

    found: Detections
    is_wrong: Tensor
    """(N,) bool, of the detections."""
    is_missed: Tensor
    """(M,) bool, of the boxes."""

    @property
    def false_positives(self) -> int:
        return int(self.is_wrong.sum())

    @property
    def missed(self) -> int:
        return int(self.is_missed.sum())


class Row(NamedTuple):
    """An image (3, H, W) uint8, its M boxes, and the detections of each column."""

    image: Tensor
    boxes: Tensor
    labels: Tensor
    ignore: Tensor
    columns: list[Judged]


def draw_comparison(rows: Sequence[Row], names: Sequence[str], class_names: Sequence[str], file: Path) -> None:
    """Write a line of panels per image: the ground truth, then a panel per detector.

    False positives are red, missed boxes dashed red, right detections in the colour of their class.
    """
    plt = pyplot((*class_names, *names))
    heights = [PANEL_WIDTH * min(TALLEST, row.image.shape[1] / row.image.shape[2]) + 0.25 for row in rows]
    figure, grid = plt.subplots(
        len(rows),
        len(names) + 1,
        squeeze=False,
        figsize=(PANEL_WIDTH * (len(names) + 1), sum(heights) + 0.5),
        height_ratios=heights,
        layout="constrained",
    )
    for line, row in zip(grid, rows, strict=True):
        _draw_truth(line[0], row, class_names)
        line[0].set_title("ground truth", fontsize=8)
        for axes, name, judged in zip(line[1:], names, row.columns, strict=True):
            _draw_judged(axes, row, judged, class_names)
            axes.set_title(
                f"{name}: {judged.false_positives} false positives, {judged.missed} missed",
                fontsize=8,
                parse_math=False,
            )
    figure.legend(handles=_legend(), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    save(figure, file)


def _draw_truth(axes: Axes, row: Row, class_names: Sequence[str]) -> None:
    _show(axes, row.image)
    for box, label, ignored in zip(row.boxes.tolist(), row.labels.tolist(), row.ignore.tolist(), strict=True):
        if ignored:
            add_box(axes, box, edgecolor=GREY, linewidth=1.0, linestyle=":")
        else:
            _outline(axes, box, colour(label))
            add_caption(axes, box[0], box[1], class_names[label], colour(label))


def _draw_judged(axes: Axes, row: Row, judged: Judged, class_names: Sequence[str]) -> None:
    _show(axes, row.image)
    boxes, scores, labels = (tensor.tolist() for tensor in judged.found)
    worst_first = zip(judged.is_wrong.logical_not().tolist(), scores, boxes, labels, strict=True)
    for is_right, score, box, label in sorted(worst_first):
        edge = colour(label) if is_right else WRONG
        _outline(axes, box, edge)
        add_caption(axes, box[0], box[1], f"{class_names[label]} {score:.2f}", edge)
    for box in row.boxes[judged.is_missed].tolist():
        add_box(axes, box, edgecolor=WRONG, linewidth=1.6, linestyle=(0, (4, 2)))


def _show(axes: Axes, image: Tensor) -> None:
    height, width = image.shape[-2:]
    show_image(axes, image.permute(1, 2, 0).numpy(), width, height)


def _outline(axes: Axes, box: list[float], edge: str) -> None:
    add_box(axes, box, edgecolor="white", linewidth=2.6, alpha=0.7)
    add_box(axes, box, edgecolor=edge, linewidth=1.6)


def _legend() -> list[Any]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=colour(0), linewidth=1.6, label="right, in the colour of its class"),
        Line2D([], [], color=WRONG, linewidth=1.6, label="false positive"),
        Line2D([], [], color=WRONG, linewidth=1.6, linestyle=(0, (4, 2)), label="missed box"),
        Line2D([], [], color=GREY, linewidth=1.0, linestyle=":", label="box to ignore"),
    ]
