"""False positives over recall, one line a detector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..evaluation.recall import RecallCurve
from .palette import colour, pyplot, save


def draw_recall(names: Sequence[str], curves: Sequence[RecallCurve], file: Path) -> None:
    """Write the picture: further right is better found, lower is less found in vain."""
    plt = pyplot(names)
    figure, axes = plt.subplots(figsize=(5.2, 3.6), layout="constrained")
    for number, curve in enumerate(curves):
        axes.plot(curve.recall, curve.false_positives, color=colour(number), linewidth=1.6)
    axes.set_yscale("symlog", linthresh=10)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("share of the boxes that are found")
    axes.set_ylabel("false positives")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    # By lines, not by labels: a label that begins with an underscore would be left out.
    legend = axes.legend(axes.get_lines(), names, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    save(figure, file)
