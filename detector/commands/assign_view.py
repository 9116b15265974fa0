"""The command ``assign-view``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from pseudo_iou_ops import AssignRule, PointPredictions, make_assigner, presets
from pseudo_iou_ops.rule import METRIC_TRAITS, Metric

from ..assign_config import PresetName, Rule
from ..config import Config, DataConfig, load_config
from ..errors import UsageError
from .options import DEMO, Settings, trained_config

if TYPE_CHECKING:
    from ..data import Annotations
    from ..visualise.assignment import Scene

DEFAULT_METRICS: tuple[Metric, ...] = ("none", "pseudo_iou", "centerness")
DEFAULT_SCENE = 3
SCENE_WIDTH, SCENE_HEIGHT, SCENE_OBJECTS, SCENE_SEED = 384, 256, 6, 0


@dataclass(frozen=True)
class AssignViewArguments:
    """Draw which points of each level learn which box, under several rules side by side."""

    config: Path | None = None
    """The configuration: its data set, and its rule, whose other switches all metrics' columns share. The checkpoint's
    or, without one, configs/demo.yaml if not given."""
    checkpoint: Path | None = None
    """A checkpoint, whose network predicts what rules read that read predictions."""
    scene: int | None = None
    """Draw this scene, bigger than the data set's; the default, scene 3, unless an image is chosen."""
    index: int | None = None
    """Position of an image in the data set."""
    split: Literal["train", "val"] = "train"
    image: Path | None = None
    """An image file, with --boxes; resized as an image of the data set, by data.eval_short_side and data.max_side."""
    boxes: Path | None = None
    """JSON file with a list of [x1, y1, x2, y2] in pixels of the image file, [] if it has none."""
    metrics: tuple[Metric, ...] = ()
    """One column each; without, none, pseudo_iou and centerness, or the configuration's rule of another family."""
    presets: tuple[PresetName, ...] = ()
    """Instead of metrics, one column each: presets of any family."""
    thresholds: tuple[float, ...] = ()
    """One per metric; by default the configuration's for its own metric, the paper's best for the others."""
    levels: tuple[int, ...] = (3, 4, 5)
    """Rows: 3 is P3, up to 7."""
    out: Path = Path("runs/assignment.png")
    settings: Settings = field(default_factory=Config)


def source(arguments: AssignViewArguments) -> Config:
    """The configuration in the file that ``--config`` names or, without one, that of the checkpoint or of the demo."""
    if arguments.config is None and arguments.checkpoint is not None:
        return trained_config(arguments.checkpoint)
    return load_config(arguments.config or DEMO)


def run(arguments: AssignViewArguments) -> None:
    """Draw the assignments, and print how many positive points there are."""
    from ..model.backbone import STRIDES
    from ..visualise.assignment import draw_assignment
    from ..visualise.palette import check_ending

    check_ending(arguments.out)
    _check_source(arguments)
    rules = _rules(arguments)
    reading = [name for name, rule in rules if make_assigner(STRIDES, rule).needs_predictions]
    if reading:
        rules, scene = _predicted(arguments, rules, reading)
    else:
        scene = _scene(arguments)
    levels, out = arguments.levels, arguments.out
    shown = [level - 3 for level in levels]
    if not shown or not all(0 <= position < len(STRIDES) for position in shown):
        raise UsageError(
            f"--levels: expected levels 3 to {len(STRIDES) + 2}, got {' '.join(map(str, levels)) or 'none'}"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        assignments = draw_assignment(scene, rules, STRIDES, shown, out)
    except ValueError as error:  # ranges that do not fit the levels
        raise UsageError(f"assign: {error}") from None
    for (name, _), assignment in zip(rules, assignments, strict=True):
        unmatched, boxes = int((assignment.pos_per_box == 0).sum()), len(scene.boxes)
        without = f"{unmatched} of {boxes} boxes without one" if boxes else "no boxes"
        print(f"{name}: {int(assignment.num_pos.sum())} positive points; {without}")
    print(f"wrote {out}")


def _check_source(arguments: AssignViewArguments) -> None:
    """Raise UsageError unless the options choose one image."""
    if sum(chosen is not None for chosen in (arguments.scene, arguments.index, arguments.image)) > 1:
        raise UsageError("--scene, --index, --image: expected one of them")
    if (arguments.image is None) != (arguments.boxes is None):
        raise UsageError("--image and --boxes: expected both or neither")


def _rules(arguments: AssignViewArguments) -> list[tuple[str, Rule]]:
    """The rule of each column, and its name."""
    from ..visualise.assignment import rule_title

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
    return [(rule_title(rule), rule)]


def _rules_by_metric(
    rule: AssignRule, metrics: Sequence[Metric], thresholds: Sequence[float]
) -> list[tuple[str, Rule]]:
    """One rule per metric, the other switches taken from ``rule``."""
    from ..visualise.assignment import rule_title

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
        rules.append((rule_title(changed), changed))
    return rules


def _predicted(
    arguments: AssignViewArguments, rules: Sequence[tuple[str, Rule]], reading: Sequence[str]
) -> tuple[list[tuple[str, Rule]], Scene]:
    """The rules at the points that the checkpoint's network predicts for, and the scene with its predictions.

    ``reading`` names the rules that read them.
    """
    from ..data.loader import Sample, collate
    from ..engine.checkpoint import checkpoint_config, load_checkpoint, restore_detector

    if arguments.boxes is not None:
        raise UsageError(
            "--boxes: expected rules that read no predictions, because the file names no classes, got "
            f"{', '.join(reading)}; --checkpoint with --index draws them"
        )
    file = arguments.checkpoint
    if file is None:
        raise UsageError("--checkpoint: expected one, because a rule that is drawn reads predictions, got none")
    content = load_checkpoint(file)
    model = restore_detector(content, checkpoint_config(content, file), file).eval()
    scene = _scene(arguments, content["class_names"])
    size = int(scene.image.shape[1]), int(scene.image.shape[2])
    ignore = torch.zeros(len(scene.boxes), dtype=torch.bool)
    sample = Sample(scene.image, scene.boxes, scene.labels, ignore, image_id=0, file="", original_size=size)
    with torch.no_grad():
        predicted = model.head.in_pixels(model(collate([sample]).images))
    scene = scene._replace(predictions=PointPredictions(predicted.ltrb_maps, predicted.class_maps))
    return [(name, dataclasses.replace(rule, offset=model.assigner.offset)) for name, rule in rules], scene


def _scene(arguments: AssignViewArguments, class_names: Sequence[str] | None = None) -> Scene:
    """The drawn scene, the image of the data set, or the image file that the options choose.

    Its labels are those of ``class_names``, where a network that knows these predicts.
    """
    from ..data.box_file import read_box_file

    data, index = arguments.settings.data, arguments.index
    if arguments.image is not None and arguments.boxes is not None:
        return _evaluated_scene(read_box_file(arguments.image, arguments.boxes, data.max_pixels), 0, data)
    if index is not None:
        return _evaluated_scene(_split(arguments, index, class_names), index, data)
    return _drawn_scene(DEFAULT_SCENE if arguments.scene is None else arguments.scene, class_names)


def _drawn_scene(scene: int, class_names: Sequence[str] | None) -> Scene:
    from ..data.synthetic import SHAPES, draw_scene
    from ..visualise.assignment import Scene

    drawn = draw_scene(SCENE_SEED, scene, SCENE_WIDTH, SCENE_HEIGHT, SCENE_OBJECTS)
    names = [list(SHAPES)[label] for label in drawn.labels.tolist()]
    known = list(SHAPES) if class_names is None else list(class_names)
    if not set(names) <= set(known):
        raise UsageError("--scene: expected --index, because the checkpoint does not know the classes of drawn scenes")
    labels = torch.tensor([known.index(name) for name in names], dtype=torch.int64)
    pixels = torch.from_numpy(drawn.image).permute(2, 0, 1)
    return Scene(pixels, torch.from_numpy(drawn.boxes).float(), torch.zeros(0, 4), labels)


def _split(arguments: AssignViewArguments, index: int, class_names: Sequence[str] | None) -> Annotations:
    """The images of the split, which has the position."""
    from ..data import load_annotations
    from ..data.classes import with_classes_of

    split = arguments.split
    annotations = load_annotations(arguments.settings.data, split)
    if class_names is not None:
        annotations = with_classes_of(annotations, class_names, f"data.{split}", str(arguments.checkpoint))
    if not 0 <= index < len(annotations):
        raise UsageError(f"--index: expected 0 to {len(annotations) - 1}, got {index}")
    return annotations


def _evaluated_scene(annotations: Annotations, index: int, data: DataConfig) -> Scene:
    """An image as the configuration resizes it for the network, boxes likewise."""
    from ..data.loader import DetectionDataset
    from ..data.transforms import evaluation_transform
    from ..visualise.assignment import Scene

    sample = DetectionDataset(annotations, evaluation_transform(data))[(0, index)]
    ignore = sample.ignore if data.ignore_regions else torch.zeros_like(sample.ignore)
    shown = ~sample.ignore
    return Scene(sample.image, sample.boxes[shown], sample.boxes[ignore], sample.labels[shown])
