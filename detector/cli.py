"""The command line: ``python -m detector train | eval | predict | assign-view | demo``."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import tyro

from pseudo_iou_ops.rule import Metric

from .config import Config, load_config
from .errors import UsageError, UserError

CONFIGS = Path(__file__).parent / "configs"

# The configuration's own sections are options of every command: --train.iterations, --assign.threshold, ...
Settings = Annotated[Config, tyro.conf.arg(name="")]
T = TypeVar("T")


@dataclass(frozen=True)
class TrainArguments:
    """Train a detector and write its checkpoint."""

    config: Path = CONFIGS / "demo.yaml"
    """The configuration; every option below overrides it."""
    out: Path | None = None
    """Folder of the run; runs/<name of the configuration> if not given."""
    overwrite: bool = False
    """Replace a run that the folder holds already."""
    settings: Settings = field(default_factory=Config)


@dataclass(frozen=True)
class EvalArguments:
    """Score a checkpoint on a split, by COCO's average precision."""

    checkpoint: Path = tyro.MISSING
    """A last.pt; its configuration is used, and overridden by the options below."""
    split: Literal["val", "train"] = "val"
    out: Path | None = None
    """Folder of eval.json and detections.json; the checkpoint's if not given."""
    settings: Settings = field(default_factory=Config)


@dataclass(frozen=True)
class PredictArguments:
    """Draw the detections of a checkpoint, and write them as COCO results."""

    checkpoint: Path = tyro.MISSING
    """A last.pt; its configuration is used, and overridden by the options below."""
    images: tuple[Path, ...] = ()
    """Image files and folders; without any, the first images of a split beside their ground truth."""
    split: Literal["val", "train"] = "val"
    limit: int = 8
    """How many images of the split."""
    score: float = 0.3
    """Draw detections from this score on; the JSON holds all."""
    out: Path | None = None
    """Folder of the pictures and detections.json; predictions/ beside the checkpoint if not given."""
    settings: Settings = field(default_factory=Config)


@dataclass(frozen=True)
class AssignViewArguments:
    """Draw which points of each level learn which box, under several rules side by side."""

    config: Path = CONFIGS / "demo.yaml"
    """The configuration: its data set, and its rule, whose other switches all columns share."""
    scene: int | None = None
    """Draw this scene, bigger than the data set's; the default, scene 3, unless an image is chosen."""
    index: int | None = None
    """Position of an image in the data set."""
    split: Literal["train", "val"] = "train"
    image: Path | None = None
    """An image file, with --boxes."""
    boxes: Path | None = None
    """JSON file with a list of [x1, y1, x2, y2] in pixels of the image file."""
    metrics: tuple[Metric, ...] = ("none", "pseudo_iou", "centerness")
    """One column each."""
    thresholds: tuple[float, ...] = ()
    """One per metric; by default the configuration's for its own metric, the paper's best for the others."""
    levels: tuple[int, ...] = (3, 4, 5)
    """Rows: 3 is P3, up to 7."""
    out: Path = Path("assignment.png")
    settings: Settings = field(default_factory=Config)


@dataclass(frozen=True)
class DemoArguments:
    """Train on drawn scenes, evaluate and draw, in a few minutes on a CPU."""

    config: Path = CONFIGS / "demo.yaml"
    out: Path = Path("runs/demo")
    """Folder of everything the demo writes; an earlier demo there is replaced."""
    settings: Settings = field(default_factory=Config)


def main(argv: Sequence[str]) -> int:
    """Run a command; returns the exit status: 0 done, 1 failed, 2 wrong usage."""
    name, *options = argv or ["--help"]
    if name in ("-h", "--help"):
        print(_help())
        return 0
    try:
        if name not in COMMANDS:
            raise UsageError(f"unknown command {name!r}; expected one of {', '.join(COMMANDS)}")
        COMMANDS[name](options)
    except UserError as error:
        prefix = f"detector {name}" if name in COMMANDS else "detector"
        print(f"{prefix}: error: {_message(error)}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        return 130
    return 0


def _train(options: list[str]) -> None:
    arguments = _parse(TrainArguments(settings=_config_of(options)), "train", options)
    from .commands import run_train

    out = arguments.out or Path("runs") / arguments.config.stem
    run_train(arguments.settings, out, arguments.overwrite)


def _eval(options: list[str]) -> None:
    arguments = _parse(EvalArguments(settings=_checkpoint_config_of(options)), "eval", options)
    from .commands import run_eval

    out = arguments.out or arguments.checkpoint.parent
    run_eval(arguments.settings, arguments.checkpoint, arguments.split, out)


def _predict(options: list[str]) -> None:
    arguments = _parse(PredictArguments(settings=_checkpoint_config_of(options)), "predict", options)
    from .commands import run_predict

    run_predict(
        arguments.settings,
        arguments.checkpoint,
        arguments.images,
        arguments.split,
        arguments.limit,
        arguments.score,
        arguments.out or arguments.checkpoint.parent / "predictions",
    )


def _assign_view(options: list[str]) -> None:
    arguments = _parse(AssignViewArguments(settings=_config_of(options)), "assign-view", options)
    from .commands import choose_rules, load_scene, run_assign_view

    rules = choose_rules(arguments.settings.assign.rule(), arguments.metrics, arguments.thresholds)
    scene = load_scene(
        arguments.settings,
        arguments.scene,
        arguments.index,
        arguments.split,
        arguments.image,
        arguments.boxes,
    )
    run_assign_view(scene, rules, arguments.levels, arguments.out)


def _demo(options: list[str]) -> None:
    arguments = _parse(DemoArguments(settings=_config_of(options)), "demo", options)
    from .demo import run_demo

    run_demo(arguments.settings, arguments.out)


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "train": _train,
    "eval": _eval,
    "predict": _predict,
    "assign-view": _assign_view,
    "demo": _demo,
}


def _help() -> str:
    documented = {
        "train": TrainArguments,
        "eval": EvalArguments,
        "predict": PredictArguments,
        "assign-view": AssignViewArguments,
        "demo": DemoArguments,
    }
    lines = [f"  {name:<12} {kind.__doc__}" for name, kind in documented.items()]
    return "\n".join(["usage: python -m detector COMMAND [OPTIONS]", "", *lines, "", "COMMAND --help lists options."])


def _parse(default: T, name: str, options: list[str]) -> T:
    """Options on top of their defaults. tyro reports mistakes in a box; one line is made of it."""
    report = io.StringIO()
    try:
        with contextlib.redirect_stderr(report):
            return tyro.cli(type(default), prog=f"detector {name}", args=options, default=default)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise UsageError(_box_to_line(report.getvalue())) from None


def _config_of(options: list[str]) -> Config:
    """The configuration that ``--config`` names, which must be known before its options are parsed."""
    file = _value_of(options, "--config")
    return load_config(CONFIGS / "demo.yaml" if file is None else Path(file))


def _checkpoint_config_of(options: list[str]) -> Config:
    file = _value_of(options, "--checkpoint")
    if file is None:
        return Config()
    from .engine.checkpoint import checkpoint_config, load_checkpoint

    return checkpoint_config(load_checkpoint(Path(file)), Path(file))


def _value_of(options: list[str], name: str) -> str | None:
    for position, option in enumerate(options):
        if option == name and position + 1 < len(options):
            return options[position + 1]
        if option.startswith(f"{name}="):
            return option.removeprefix(f"{name}=")
    return None


def _box_to_line(report: str) -> str:
    """The message in the first part of tyro's box, and the first option that it suggests."""
    parts: list[list[str]] = [[]]
    for line in report.splitlines():
        text = line.strip("│╭╰╮╯─ ").strip()
        if line.startswith("│ ─"):
            parts.append([])
        elif line.startswith("│") and text:
            parts[-1].append(text)
    message = " ".join(parts[0]) or " ".join(report.split())
    suggestions = [part for part in parts[1:] if part and part[0].startswith("Perhaps you meant")]
    if suggestions and len(suggestions[0]) > 1:
        message += f"; perhaps you meant {suggestions[0][1].split()[0]}"
    return message


def _message(error: UserError) -> str:
    # A loader process hands its error over as a traceback, whose last line is the message.
    return str(error).strip().splitlines()[-1].removeprefix(f"{UserError.__module__}.{UserError.__name__}: ")
