"""The command ``compare``: what checkpoints find in the same images, as in the paper's Figure 3."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from ..config import Config
from ..errors import UsageError
from .options import Settings, trained_config

if TYPE_CHECKING:
    from ..data import Annotations
    from ..evaluation.recall import RecallCurve
    from ..visualise.comparison import Judged, Row


@dataclass(frozen=True)
class CompareArguments:
    """Draw what two checkpoints find in the same images, their mistakes marked, as in the paper's Figure 3."""

    checkpoints: tuple[Path, ...] = tyro.MISSING
    """The baseline's first; its data set and its settings below are used for all."""
    names: tuple[str, ...] = ()
    """Titles of the columns; the checkpoints' folders if not given."""
    split: Literal["val", "train"] = "val"
    indices: tuple[int, ...] = ()
    """Positions of the images in the split; without any, those where the mistakes differ most in number."""
    count: int = 4
    """How many images, if none is named."""
    score: float = 0.3
    """Detections from this score on count."""
    out: Path = Path("comparison.png")
    settings: Settings = field(default_factory=Config)


def source(arguments: CompareArguments) -> Config:
    """The configuration that the first checkpoint was trained with."""
    return trained_config(arguments.checkpoints[0]) if arguments.checkpoints else Config()


def run(arguments: CompareArguments) -> None:
    """Draw images with the detections of each checkpoint, false positives and missed boxes marked."""
    from ..evaluation.recall import recall_table
    from ..visualise.comparison import draw_comparison
    from ..visualise.mistakes import count_mistakes, most_different
    from ..visualise.recall import draw_recall

    checkpoints, out = arguments.checkpoints, arguments.out
    names = arguments.names or [checkpoint.resolve().parent.name for checkpoint in checkpoints]
    if len(checkpoints) < 2 or len(names) != len(checkpoints):
        raise UsageError(
            f"--checkpoints, --names: expected two or more checkpoints and a name for each, "
            f"got {len(checkpoints)} and {len(names)}"
        )
    columns, curves = [], []
    for name, checkpoint in zip(names, checkpoints, strict=True):
        annotations, judged, curve = _judge(checkpoint, arguments)
        columns.append(judged)
        curves.append(curve)
        print(f"{name}: {count_mistakes(judged)} in {len(annotations)} images, from a score of {arguments.score:g} on")
    print(f"false positives at the same recall:\n{recall_table(names, curves)}")
    chosen = list(arguments.indices) or most_different(columns, arguments.count)
    if not all(0 <= index < len(annotations) for index in chosen):
        raise UsageError(f"--indices: expected 0 to {len(annotations) - 1}, got {' '.join(map(str, chosen))}")
    rows = [_row(annotations, index, [judged[index] for judged in columns]) for index in chosen]
    recall_file = out.with_stem(f"{out.stem}_recall")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        draw_comparison(rows, names, annotations.class_names, out)
        draw_recall(names, curves, recall_file)
    except ValueError as error:  # an ending that matplotlib does not write
        raise UsageError(f"--out {out}: {error}") from None
    print(f"wrote {out}, images {', '.join(map(str, chosen))} of the split, and {recall_file}")


def _judge(checkpoint: Path, arguments: CompareArguments) -> tuple[Annotations, list[Judged], RecallCurve]:
    """The images of the split, what is right and wrong in a checkpoint's detections in each, and in all of them."""
    from ..evaluation.coco import detect_all
    from ..evaluation.recall import recall_curve
    from ..runtime import check_scorable, restore
    from ..visualise.mistakes import judge

    own = trained_config(checkpoint)
    config = dataclasses.replace(arguments.settings, model=own.model, assign=own.assign)
    model, annotations = restore(config, checkpoint, arguments.split)
    check_scorable(annotations, f"--split {arguments.split}")
    found = detect_all(model, annotations)
    judged = [judge(one, annotations, index, arguments.score) for index, one in enumerate(found)]
    return annotations, judged, recall_curve(found, annotations)


def _row(annotations: Annotations, index: int, judged: list[Judged]) -> Row:
    from ..visualise.comparison import Row

    boxes = annotations.rows(index)
    return Row(
        annotations.read_image(index),
        annotations.boxes[boxes],
        annotations.labels[boxes],
        annotations.ignore[boxes],
        judged,
    )
