"""Colours and the one way matplotlib is started: without a display."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .fonts import families_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Told apart by colour-blind readers too (after Okabe and Ito); red is kept for what is wrong.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#B8A200", "#7B52AB", "#8C5A2B")
WRONG = "#E3170A"
INK = "#20242A"
GREY = "#666666"

DPI = 130
CAPTION_SIZE, CAPTION_PAD = 6.5, 0.15  # in points, and in sizes


def pyplot(texts: Iterable[str] = ()) -> Any:
    """matplotlib.pyplot on the Agg backend; imported here, so that training does not wait for it.

    ``texts`` are what is not of this program, such as class names, and may need other fonts.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    family = ["sans-serif", *families_for(texts)]
    plt.rcParams.update({"font.family": family, "font.size": 9, "text.color": INK})
    return plt


def save(figure: Any, file: Path) -> None:
    """Write a figure, all its captions in sight, and forget it."""
    figure.set_dpi(DPI)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # told once, with what to install
        figure.get_layout_engine().execute(figure)  # until then, no text has its place
        for axes in figure.axes:
            _shift_captions(axes)
        figure.savefig(file, dpi=DPI, facecolor="white")
    pyplot().close(figure)


def _shift_captions(axes: Axes) -> None:
    """To the left, where the right edge of the image would cut them."""
    axes.apply_aspect()
    for caption in axes.texts:
        extent, pad = caption.get_window_extent(), CAPTION_PAD * CAPTION_SIZE * DPI / 72
        excess = min(extent.x1 + pad - axes.bbox.x1, extent.x0 - pad - axes.bbox.x0)
        if excess > 0:
            left, right = axes.get_xlim()
            caption.set_x(caption.get_position()[0] - excess * (right - left) / axes.bbox.width)


def check_ending(file: Path) -> None:
    """Raise UsageError if matplotlib does not write files of this ending."""
    known = sorted(pyplot().figure().canvas.get_supported_filetypes())
    pyplot().close()
    if file.suffix.removeprefix(".").lower() not in known:
        raise UsageError(f"--out {file}: expected a picture, one of {', '.join(known)}")


def colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def show_image(axes: Axes, image: Any, width: int, height: int) -> None:
    """Draw an image (H, W, 3) so that axes coordinates are its pixels: (0, 0) is the corner, not a centre."""
    axes.imshow(image, extent=(0, width, height, 0), interpolation="bilinear")
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def add_caption(axes: Axes, x: float, y: float, text: str, background: str) -> None:
    """White text on a colour, above the point, or below it where it would be cut at the top of the image.

    :func:`save` keeps it within the sides of the image.
    """
    box = {"boxstyle": f"square,pad={CAPTION_PAD}", "facecolor": background, "edgecolor": "none", "alpha": 0.9}
    va = "top" if y < 0.05 * axes.get_ylim()[0] else "bottom"
    style: dict[str, Any] = {"fontsize": CAPTION_SIZE, "color": "white", "bbox": box, "clip_on": True}
    style["parse_math"] = False  # a class may have a $ in its name
    axes.text(max(x, 0), max(y, 0), text, va=va, ha="left", **style)


def add_box(axes: Axes, box: list[float], **style: Any) -> None:
    """Outline x1 y1 x2 y2."""
    from matplotlib.patches import Rectangle

    x1, y1, x2, y2 = box
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, **{"fill": False, "joinstyle": "miter", **style}))
