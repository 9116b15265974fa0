"""The built-in data set: drawn scenes, rendered once into a cache folder as PNG and COCO JSON."""

from __future__ import annotations

import colorsys
import dataclasses
import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from ..config import SyntheticConfig

# Raised when the drawing changes, so that no older cache is read.
DRAWING_VERSION = 1
SUPERSAMPLING = 4
SMALLEST, LARGEST = 0.18, 0.5  # of an object's size, as a share of the scene's side
MOST_TURNED = 0.35  # radians
EMPTY_SHARE = 0.06
MOST_COVERED = 0.35  # of an object, by later ones
# Each class has a typical hue, so that a network learns the classes in minutes; neighbours overlap.
HUE_SPREAD = 0.05
ATTEMPTS_PER_OBJECT = 20

Points = list[tuple[float, float]]
Array = np.ndarray[Any, Any]
Window = tuple[slice, slice]  # rows, columns


class Scene(NamedTuple):
    """``image`` (H, W, 3) uint8, ``boxes`` (M, 4) float64 x1 y1 x2 y2, ``labels`` (M,) int64 into SHAPES."""

    image: Array
    boxes: Array
    labels: Array


def _regular(corners: int) -> Points:
    """A regular polygon in the unit circle, its first corner up."""
    angles = [2 * math.pi * k / corners - math.pi / 2 for k in range(corners)]
    return [(math.cos(angle), math.sin(angle)) for angle in angles]


def _star(tips: int = 5, inner: float = 0.42) -> Points:
    """Tips of a regular polygon, with a corner at the radius ``inner`` between two of them."""
    radii = [1.0 if k % 2 == 0 else inner for k in range(2 * tips)]
    return [(r * x, r * y) for r, (x, y) in zip(radii, _regular(2 * tips), strict=True)]


def _cross(arm: float = 0.33) -> Points:
    """A plus sign whose arms are 2 * arm wide."""
    quarter = [(arm, -1.0), (arm, -arm), (1.0, -arm)]
    turns: list[Callable[[float, float], tuple[float, float]]] = [
        lambda x, y: (x, y),
        lambda x, y: (-y, x),
        lambda x, y: (-x, -y),
        lambda x, y: (y, -x),
    ]
    return [turn(x, y) for turn in turns for x, y in quarter]


SHAPES: dict[str, Points] = {
    "disk": _regular(72),
    "square": [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)],
    "triangle": _regular(3),
    "star": _star(),
    "cross": _cross(),
}


def draw_scene(seed: int, index: int, width: int, height: int, max_objects: int) -> Scene:
    """Draw scene ``index`` of a seed: the same arguments give the same pixels."""
    random = np.random.default_rng([seed, index])
    image = _background(random, width, height)
    visible: list[Array] = []
    areas: list[int] = []
    boxes: list[tuple[float, float, float, float]] = []
    labels: list[int] = []
    wanted = 0 if random.random() < EMPTY_SHARE else int(random.integers(1, max_objects + 1))
    for _ in range(wanted * ATTEMPTS_PER_OBJECT):
        if len(boxes) == wanted:
            break
        label = int(random.integers(len(SHAPES)))
        window, mask = _mask(random, list(SHAPES.values())[label], width, height)
        covers = mask > 0.5
        left = [np.count_nonzero(seen) - np.count_nonzero(seen[window] & covers) for seen in visible]
        hides = any(rest < (1 - MOST_COVERED) * area for rest, area in zip(left, areas, strict=True))
        if hides or not covers.any():
            continue
        for seen in visible:
            seen[window] &= ~covers
        own = np.zeros((height, width), dtype=bool)
        own[window] = covers
        visible.append(own)
        areas.append(int(np.count_nonzero(covers)))
        _paint(random, image, window, mask, hue=label / len(SHAPES))
        boxes.append(_extent(own))
        labels.append(label)
    image += random.normal(0, 6, image.shape)
    return Scene(
        image.clip(0, 255).astype(np.uint8),
        np.array(boxes, dtype=np.float64).reshape(-1, 4),
        np.array(labels, dtype=np.int64),
    )


def ensure_synthetic(config: SyntheticConfig, root: Path) -> Path:
    """The folder of ``train.json``, ``val.json`` and ``images/``; rendered if it is missing."""
    settings = json.dumps([DRAWING_VERSION, dataclasses.asdict(config)], sort_keys=True)
    folder = root / f"synthetic-{hashlib.sha256(settings.encode()).hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    root.mkdir(parents=True, exist_ok=True)
    # Rendered aside and renamed: a folder under the final name is always complete.
    unfinished = Path(tempfile.mkdtemp(dir=root, prefix="unfinished-"))
    try:
        _render_split(config, unfinished, "train", first=0, count=config.train_images)
        _render_split(config, unfinished, "val", first=config.train_images, count=config.val_images)
        os.replace(unfinished, folder)
    except OSError:
        if not folder.is_dir():  # another process may have been faster
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def default_cache() -> Path:
    """The user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "pseudo_iou_ops"


def _render_split(config: SyntheticConfig, folder: Path, name: str, first: int, count: int) -> None:
    (folder / "images").mkdir(exist_ok=True)
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for index in range(first, first + count):
        scene = draw_scene(config.seed, index, config.size, config.size, config.max_objects)
        file = f"images/{index:06d}.png"
        Image.fromarray(scene.image).save(folder / file, compress_level=0)  # noise: nothing to gain
        images.append({"id": index + 1, "file_name": file, "height": config.size, "width": config.size})
        for (x1, y1, x2, y2), label in zip(scene.boxes.tolist(), scene.labels.tolist(), strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index + 1,
                    "category_id": label + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": label + 1, "name": shape} for label, shape in enumerate(SHAPES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def _background(random: np.random.Generator, width: int, height: int) -> Array:
    """Smooth noise of four scales around a muted colour, (H, W, 3) float64."""
    image = np.zeros((height, width, 3)) + random.uniform(70, 185) + random.uniform(-25, 25, 3)
    for cells, strength in ((2, 22.0), (5, 14.0), (13, 9.0), (37, 5.0)):
        brightness = random.normal(0, strength, (cells, cells, 1))
        coarse = (128 + brightness + random.normal(0, strength / 3, (cells, cells, 3))).clip(0, 255)
        smooth = Image.fromarray(coarse.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
        image += np.asarray(smooth, dtype=np.float64) - 128
    return image


def _mask(random: np.random.Generator, shape: Points, width: int, height: int) -> tuple[Window, Array]:
    """A shape of random size, stretch, turn and place: the window it fills, and its coverage there, in [0, 1]."""
    side = min(width, height)
    radius = side * math.exp(random.uniform(math.log(SMALLEST), math.log(LARGEST))) / 2
    stretch = math.exp(random.uniform(-0.25, 0.25))
    turn = random.uniform(-MOST_TURNED, MOST_TURNED)
    corners = np.array(shape) * radius * np.array([stretch, 1 / stretch])
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    corners = corners @ rotation.T
    low, high = corners.min(0), corners.max(0)
    room = np.array([width, height]) - (high - low)
    if (room <= 2).any():
        return (slice(0, 0), slice(0, 0)), np.zeros((0, 0))
    corners += 1 + random.uniform(0, 1, 2) * (room - 2) - low
    canvas = Image.new("L", (width * SUPERSAMPLING, height * SUPERSAMPLING))
    ImageDraw.Draw(canvas).polygon([tuple(corner) for corner in corners * SUPERSAMPLING], fill=255)
    left, top = np.floor(corners.min(0)).astype(int).tolist()
    right, bottom = np.floor(corners.max(0)).astype(int).tolist()
    shown = canvas.crop(tuple(SUPERSAMPLING * side for side in (left, top, right + 1, bottom + 1)))
    coverage = shown.resize((right + 1 - left, bottom + 1 - top), Image.Resampling.BOX)
    window = slice(top, bottom + 1), slice(left, right + 1)
    return window, np.asarray(coverage, dtype=np.float64) / 255


def _paint(random: np.random.Generator, image: Array, window: Window, mask: Array, hue: float) -> None:
    """Fill a mask with a colour near a hue, brighter or darker than the scene, and faint stripes."""
    is_darker = image.mean() > random.uniform(100, 155)
    lightness = random.uniform(0.2, 0.38) if is_darker else random.uniform(0.6, 0.8)
    colour = 255 * np.array(
        colorsys.hls_to_rgb((hue + random.normal(0, HUE_SPREAD)) % 1, lightness, random.uniform(0.5, 1.0))
    )
    y, x = np.mgrid[window] / min(image.shape[:2])
    angle, frequency = random.uniform(0, math.pi), random.uniform(8, 30)
    wave = np.sin(2 * math.pi * frequency * (x * math.cos(angle) + y * math.sin(angle)))
    fill = colour + random.uniform(0, 14) * wave[..., None]
    image[window] = image[window] * (1 - mask[..., None]) + fill * mask[..., None]


def _extent(covers: Array) -> tuple[float, float, float, float]:
    """The box of the pixels of a mask; its right and lower sides are the far edges of the last pixels."""
    columns, rows = np.flatnonzero(covers.any(0)), np.flatnonzero(covers.any(1))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
