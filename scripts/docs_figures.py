"""Draws the pictures of the docs: ``python scripts/docs_figures.py [FOLDER]``, docs/images by default.

``pseudo_box.png`` is the paper's Figure 1 drawn anew, ``pyramid.png`` its Figure 2 as far as it shows assignment. The
other three are what ``python -m detector assign-view`` draws. Every value and every positive is the library's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from detector.cli import main as detector_main  # noqa: E402
from detector.config import load_config  # noqa: E402
from detector.engine.checkpoint import checkpoint_config, load_checkpoint  # noqa: E402
from detector.visualise.palette import COLOURS, INK, add_box, pyplot  # noqa: E402
from pseudo_iou_ops import AssignRule, assign, level_points, presets, pseudo_iou  # noqa: E402

GROUND_TRUTH, PSEUDO = "#C8102E", "#00875A"
THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)

# Figure 1: a box of 320 x 200 pixels, and a point 48 and 29 pixels off its center.
BOX = (60.0, 40.0, 380.0, 240.0)
POINT = (268.0, 169.0)

# Figure 2: one box on the pyramid of an image of 384 x 512 pixels.
IMAGE_HEIGHT, IMAGE_WIDTH = 384, 512
PYRAMID_BOX = (80.0, 60.0, 416.0, 316.0)
STRIDES = (8, 16, 32, 64, 128)
RANGED_TITLE = "presets.authors_code: each level its range of sizes"


def main(arguments: Sequence[str]) -> None:
    folder = Path(arguments[0]) if arguments else ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        draw(folder / name)


def draw_pseudo_box(file: Path) -> float:
    """Returns the Pseudo-IoU that it prints."""
    plt = pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.1), layout="constrained")
    value = float(pseudo_iou(torch.tensor(POINT), torch.tensor(BOX)))
    _draw_definition(left, value)
    _draw_values(right)
    _save(figure, file)
    return value


def _draw_definition(axes: Any, value: float) -> None:
    (x1, y1, x2, y2), (x, y) = BOX, POINT
    half_width, half_height = (x2 - x1) / 2, (y2 - y1) / 2
    pseudo_box = [x - half_width, y - half_height, x + half_width, y + half_height]
    overlap = [max(x1, pseudo_box[0]), max(y1, pseudo_box[1]), min(x2, pseudo_box[2]), min(y2, pseudo_box[3])]
    add_box(axes, overlap, fill=True, facecolor="#E9E4D4", edgecolor="none")
    add_box(axes, list(BOX), edgecolor=GROUND_TRUTH, linewidth=2)
    add_box(axes, pseudo_box, edgecolor=PSEUDO, linewidth=2)
    for name, end, beside in (
        ("l", (x1, y), (0, 6)),
        ("r", (x2, y), (0, 6)),
        ("t", (x, y1), (6, 0)),
        ("b", (x, y2), (6, 0)),
    ):
        axes.annotate(
            "", end, POINT, arrowprops={"arrowstyle": "<->", "color": GROUND_TRUTH, "shrinkA": 3, "shrinkB": 0}
        )
        middle = (end[0] + x) / 2, (end[1] + y) / 2
        axes.annotate(name, middle, beside, textcoords="offset points", fontsize=11, style="italic", color=GROUND_TRUTH)
    axes.plot(x, y, "o", color=INK, markersize=7)
    axes.text(x1 + 5, y1 - 5, "ground truth", color=GROUND_TRUTH)
    axes.text(pseudo_box[2] - 5, pseudo_box[3] + 6, "pseudo box, of the same size", color=PSEUDO, ha="right", va="top")
    axes.set_title(f"Pseudo-IoU of the point: the IoU of the two boxes, {value:.2f}")
    _bare(axes, (30, 450), (290, 15))


def _draw_values(axes: Any) -> None:
    """The value at every point of the box, with the line of each threshold and the share of the box within it."""
    x1, y1, x2, y2 = BOX
    rows, columns = int(y2 - y1), int(x2 - x1)
    points = level_points([(rows, columns)], [1.0]) + torch.tensor([x1, y1])
    values = pseudo_iou(points, torch.tensor(BOX)).reshape(rows, columns)
    heat = axes.imshow(values.numpy(), extent=(x1, x2, y2, y1), cmap="YlGnBu", vmin=0, vmax=1)
    x, y = points.reshape(rows, columns, 2).unbind(-1)
    lines = axes.contour(x.numpy(), y.numpy(), values.numpy(), THRESHOLDS, colors=INK, linewidths=0.9)
    axes.clabel(lines, fmt="%.1f", fontsize=8)
    kept = ", ".join(f"{float((values > threshold).float().mean()):.0%}" for threshold in THRESHOLDS)
    axes.set_title("the value at every point of the ground truth")
    axes.set_xlabel(f"share of the box above T = {', '.join(map(str, THRESHOLDS))}:\n{kept}", color=INK)
    axes.figure.colorbar(heat, ax=axes, shrink=0.7, pad=0.02).outline.set_visible(False)
    _bare(axes, (x1 - 8, x2 + 8), (y2 + 8, y1 - 8))


def draw_pyramid(file: Path) -> dict[str, list[int]]:
    """Returns the positives per level of each rule."""
    plt = pyplot()
    rules = {"presets.paper: every level": presets.paper, RANGED_TITLE: presets.authors_code}
    figure, columns = plt.subplots(1, len(rules), figsize=(11, 6.2), layout="constrained")
    counts = {}
    for axes, (title, rule) in zip(columns, rules.items(), strict=True):
        axes.set_title(title)
        counts[title] = _draw_planes(axes, rule)
    _save(figure, file)
    return counts


def _draw_planes(axes: Any, rule: AssignRule) -> list[int]:
    shapes = [(IMAGE_HEIGHT // stride, IMAGE_WIDTH // stride) for stride in STRIDES]
    boxes, labels, offsets = torch.tensor([PYRAMID_BOX]), torch.zeros(1, dtype=torch.int64), torch.tensor([0, 1])
    matched = assign(boxes, labels, offsets, shapes, STRIDES, rule).matched[0]
    positives = []
    for position, (stride, level) in enumerate(zip(STRIDES, matched.split([h * w for h, w in shapes]), strict=True)):
        _draw_plane(axes, position, stride, level >= 0)
        positives.append(int((level >= 0).sum()))
    _bare(axes, (-60, 770), (15, -850))
    return positives


def _draw_plane(axes: Any, position: int, stride: int, is_positive: Tensor) -> None:
    """One level seen at an angle, P3 lowest: its grid, the box, and the cells of its positive points."""
    from matplotlib.collections import LineCollection, PolyCollection

    def place(x: float, y: float) -> tuple[float, float]:
        return x + 0.5 * (IMAGE_HEIGHT - y), 0.36 * (y - IMAGE_HEIGHT) - 175 * position

    def outline(x1: float, y1: float, x2: float, y2: float) -> list[tuple[float, float]]:
        return [place(x1, y1), place(x2, y1), place(x2, y2), place(x1, y2)]

    half = stride / 2
    points = level_points([(IMAGE_HEIGHT // stride, IMAGE_WIDTH // stride)], [stride])[is_positive]
    cells = [outline(x - half, y - half, x + half, y + half) for x, y in points.tolist()]
    rows = [[place(0, y), place(IMAGE_WIDTH, y)] for y in range(0, IMAGE_HEIGHT + 1, stride)]
    columns = [[place(x, 0), place(x, IMAGE_HEIGHT)] for x in range(0, IMAGE_WIDTH + 1, stride)]
    plane, box = outline(0, 0, IMAGE_WIDTH, IMAGE_HEIGHT), outline(*PYRAMID_BOX)
    axes.add_collection(PolyCollection([plane], facecolors="#EEF2F7"))
    axes.add_collection(PolyCollection(cells, facecolors=GROUND_TRUTH, edgecolors="none", alpha=0.85))
    axes.add_collection(LineCollection([*rows, *columns], colors="#9AA7B8", linewidths=0.35))
    axes.add_collection(PolyCollection([box], facecolors="none", edgecolors=INK, linewidths=1.6, zorder=3))
    axes.text(*place(-14, IMAGE_HEIGHT - 20), f"P{position + 3}", ha="right", fontsize=11, color=COLOURS[0])
    x, y = place(IMAGE_WIDTH + 30, IMAGE_HEIGHT / 2)
    axes.text(x, y, f"stride {stride}\n{len(cells)} positive", va="center", color=INK)


def draw_families(file: Path) -> None:
    """By a network that is trained first, because most families read predictions; without it the picture stays."""
    if is_families_network(Path(FAMILIES_NETWORK)):
        draw_assign_view(file, FAMILIES_VIEW, width=1900)
    else:
        print(f"{file.name} is left out: expected {FAMILIES_NETWORK} as {FAMILIES_TRAINED_BY!r} trains it")


def is_families_network(file: Path) -> bool:
    """Whether it has the settings of the documented command and took all its steps: a trial of others may lie there."""
    if not file.is_file():
        return False
    content, documented = load_checkpoint(file), load_config(Path(FAMILIES_CONFIG))
    return checkpoint_config(content, file) == documented and content["step"] == documented.train.iterations


def draw_assign_view(file: Path, options: Sequence[str] = (), width: int = 1500) -> None:
    """As WebP, which keeps the colours of the image at a tenth of the bytes."""
    from PIL import Image

    with TemporaryDirectory() as folder:
        picture = Path(folder) / "view.png"
        if detector_main(["assign-view", "--out", str(picture), *options]) != 0:
            raise SystemExit("docs_figures: assign-view failed")
        image = Image.open(picture).convert("RGB")
        size = width, round(image.height * width / image.width)
        image.resize(size, Image.Resampling.LANCZOS).save(file, method=6)  # takes longest, writes the smallest file


def _bare(axes: Any, x_limits: tuple[float, float], y_limits: tuple[float, float]) -> None:
    axes.set(xlim=x_limits, ylim=y_limits, xticks=[], yticks=[], aspect="equal")
    for spine in axes.spines.values():
        spine.set_visible(False)


def _save(figure: Any, file: Path) -> None:
    """With a palette of its own a picture of few colours takes a third of the bytes."""
    from PIL import Image

    figure.savefig(file, dpi=120, facecolor="white")
    pyplot().close(figure)
    Image.open(file).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(file, optimize=True)


THRESHOLDS_VIEW = ("--metrics", *3 * ["pseudo_iou"], "--thresholds", "0.3", "0.6", "0.9", "--levels", "4", "5")
FAMILIES_NETWORK = "runs/yolox/last.pt"
FAMILIES_CONFIG = "configs/families/yolox.yaml"
FAMILIES_TRAINED_BY = f"python -m detector train --config {FAMILIES_CONFIG} --out runs/yolox"
FAMILIES_VIEW = (
    *("--checkpoint", FAMILIES_NETWORK, "--index", "3"),
    *("--presets", "authors_code", "atss", "tood", "simota", "rtmdet", "--levels", "3", "4"),
)
PICTURES: dict[str, Callable[[Path], object]] = {
    "pseudo_box.png": draw_pseudo_box,
    "pyramid.png": draw_pyramid,
    "assign_view.webp": draw_assign_view,
    "thresholds.webp": partial(draw_assign_view, options=THRESHOLDS_VIEW),
    "families.webp": draw_families,
}

if __name__ == "__main__":
    main(sys.argv[1:])
