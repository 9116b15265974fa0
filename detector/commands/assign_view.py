"""The command ``assign-view``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from pseudo_iou_ops import AssignRule, presets
from pseudo_iou_ops.rule import METRIC_TRAITS, Metric

from ..assign_config import PresetName, Rule
from ..config import Config
from ..errors import UsageError, UserError
from .options import DEMO, Settings

if TYPE_CHECKING:
    from ..visualise.assignment import Scene

DEFAULT_METRICS: tuple[Metric, ...] = ("none", "pseudo_iou", "centerness")
DEFAULT_SCENE = 3
SCENE_WIDTH, SCENE_HEIGHT, SCENE_OBJECTS, SCENE_SEED = 384, 256, 6, 0


@dataclass(frozen=True)
class AssignViewArguments:
    """Draw which points of each level learn which box, under several rules side by side."""

    config: Path = DEMO
    """The configuration: its data set, and its rule, whose other switches all metrics' columns share."""
    scene: int | None = None
    """Draw this scene, bigger than the data set's; the default, scene 3, unless an image is chosen."""
    index: int | None = None
    """Position of an image in the data set."""
    split: Literal["train", "val"] = "train"
    image: Path | None = None
    """An image file, with --boxes."""
    boxes: Path | None = None
    """JSON file with a list of [x1, y1, x2, y2] in pixels of the image file."""
    metrics: tuple[Metric, ...] = ()
    """One column each; without, none, pseudo_iou and centerness, or the configuration's rule of another family."""
    presets: tuple[PresetName, ...] = ()
    """Instead of metrics, one column each: presets of any family."""
    thresholds: tuple[float, ...] = ()
    """One per metric; by default the configuration's for its own metric, the paper's best for the others."""
    levels: tuple[int, ...] = (3, 4, 5)
    """Rows: 3 is P3, up to 7."""
    out: Path = Path("assignment.png")
    settings: Settings = field(default_factory=Config)


def run(arguments: AssignViewArguments) -> None:
    """Draw the assignments, and print how many positive points there are."""
    from ..model.backbone import STRIDES
    from ..visualise.assignment import draw_assignment

    rules = _rules(arguments)
    scene = _scene(arguments)
    levels, out = arguments.levels, arguments.out
    shown = [level - 3 for level in levels]
    if not shown or not all(0 <= position < len(STRIDES) for position in shown):
        raise UsageError(f"--levels: expected levels 3 to {len(STRIDES) + 2}, got {' '.join(map(str, levels))}")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        assignments = draw_assignment(scene, [rule for _, rule in rules], STRIDES, shown, out)
    except ValueError as error:  # an ending that matplotlib does not write, or ranges that do not fit the levels
        raise UsageError(f"--out {out}: {error}") from None
    for (name, _), assignment in zip(rules, assignments, strict=True):
        unmatched = int((assignment.pos_per_box == 0).sum())
        print(
            f"{name}: {int(assignment.num_pos.sum())} positive points; "
            f"{unmatched} of {len(scene.boxes)} boxes without one"
        )
    print(f"wrote {out}")


def _rules(arguments: AssignViewArguments) -> list[tuple[str, Rule]]:
    """The rule of each column, and its name."""
    rule, metrics = arguments.settings.assign.rule(), arguments.metrics
    if arguments.presets:
        if metrics or arguments.thresholds:
            raise UsageError("--metrics, --thresholds, --presets: expected presets alone, or none of them")
        return [(name, getattr(presets, name)) for name in arguments.presets]
    if isinstance(rule, AssignRule):
        return _rules_by_metric(rule, metrics or DEFAULT_METRICS, arguments.thresholds)
    kind = arguments.settings.assign.kind
    if metrics or arguments.thresholds:
        raise UsageError(f"--metrics, --thresholds: expected none with assign.kind {kind}, which has no metrics")
    return [(kind, rule)]


def _rules_by_metric(
    rule: AssignRule, metrics: Sequence[Metric], thresholds: Sequence[float]
) -> list[tuple[str, Rule]]:
    """One rule per metric, the other switches taken from ``rule``."""
    if thresholds and len(thresholds) != len(metrics):
        raise UsageError(f"--thresholds: expected one per metric, {len(metrics)}, or none, got {len(thresholds)}")
    rules: list[tuple[str, Rule]] = []
    for position, metric in enumerate(metrics):
        own, traits = metric == rule.metric, METRIC_TRAITS[metric]
        threshold = rule.threshold if own else traits.best_threshold
        try:
            changed = dataclasses.replace(
                rule,
                metric=metric,
                threshold=thresholds[position] if thresholds else threshold,
                ignore_threshold=rule.ignore_threshold if own else None,
                resolve=rule.resolve if traits.value is not None else "min_area",
            )
        except ValueError as error:
            raise UsageError(f"--metrics {metric}: {error}") from None
        rules.append((metric if metric == "none" else f"{metric} {changed.threshold:g}", changed))
    return rules


def _scene(arguments: AssignViewArguments) -> Scene:
    """The drawn scene, the image of the data set, or the image file that the options choose."""
    from ..data.images import read_image
    from ..data.synthetic import draw_scene
    from ..visualise.assignment import Scene

    scene, index, image, boxes = arguments.scene, arguments.index, arguments.image, arguments.boxes
    if sum(chosen is not None for chosen in (scene, index, image)) > 1:
        raise UsageError("--scene, --index, --image: expected one of them")
    if (image is None) != (boxes is None):
        raise UsageError("--image and --boxes: expected both or neither")
    if image is not None and boxes is not None:
        pixels = read_image(str(image), arguments.settings.data.max_pixels)
        return Scene(pixels, _read_boxes(boxes), torch.zeros(0, 4))
    if index is not None:
        return _dataset_scene(arguments, index)
    drawn = draw_scene(SCENE_SEED, DEFAULT_SCENE if scene is None else scene, SCENE_WIDTH, SCENE_HEIGHT, SCENE_OBJECTS)
    pixels = torch.from_numpy(drawn.image).permute(2, 0, 1)
    return Scene(pixels, torch.from_numpy(drawn.boxes).float(), torch.zeros(0, 4))


def _dataset_scene(arguments: AssignViewArguments, index: int) -> Scene:
    from ..data import load_annotations
    from ..data.loader import DetectionDataset
    from ..data.transforms import evaluation_transform
    from ..visualise.assignment import Scene

    data = arguments.settings.data
    annotations = load_annotations(data, arguments.split)
    if not 0 <= index < len(annotations):
        raise UsageError(f"--index: expected 0 to {len(annotations) - 1}, got {index}")
    sample = DetectionDataset(annotations, evaluation_transform(data))[(0, index)]
    ignore = sample.ignore if data.ignore_regions else torch.zeros_like(sample.ignore)
    return Scene(sample.image, sample.boxes[~sample.ignore], sample.boxes[ignore])


def _read_boxes(file: Path) -> Tensor:
    try:
        boxes = torch.tensor(json.loads(file.read_text(encoding="utf-8")), dtype=torch.float32)
        if boxes.numel() and boxes.ndim == 2 and boxes.shape[1] == 4:
            return boxes
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from None
    except (ValueError, TypeError, UnicodeDecodeError):
        pass
    raise UserError(f"{file}: expected a JSON list of boxes [x1, y1, x2, y2]")
