"""Precision over recall, one panel per class."""

from __future__ import annotations

import math
from pathlib import Path

from ..evaluation.voc import VocEvaluation
from .palette import COLOURS, INK, pyplot, save

COLUMNS = 5
PANEL = 1.9  # inches


def draw_curves(evaluation: VocEvaluation, file: Path) -> None:
    """Write the curves at an overlap of 0.5, each class with its average precision by both measures."""
    classes = evaluation.per_class
    plt = pyplot(classes)
    columns = min(COLUMNS, len(classes))
    rows = math.ceil(len(classes) / columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        squeeze=False,
        sharex=True,
        sharey=True,
        figsize=(PANEL * columns + 0.4, PANEL * rows + 0.6),
        layout="constrained",
    )
    for axes in grid.flat[len(classes) :]:
        axes.set_axis_off()
    for axes, (name, curve) in zip(grid.flat, classes.items(), strict=False):
        axes.plot(curve.recall, curve.precision, color=COLOURS[0], linewidth=1.4)
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.grid(color=INK, alpha=0.12, linewidth=0.6)
        axes.set_title(f"{name}\n{_figures(curve.ap11, curve.ap)}", fontsize=7.5, pad=3, parse_math=False)
        axes.tick_params(labelsize=6.5)
    figure.suptitle(f"VOC mAP: {_figures(evaluation.map11, evaluation.map)}", fontsize=9)
    figure.supxlabel("recall", fontsize=8)
    figure.supylabel("precision", fontsize=8)
    save(figure, file)


def _figures(ap11: float, ap: float) -> str:
    return f"11-point {100 * ap11:.1f}, area {100 * ap:.1f}" if ap >= 0 else "no box to find"
