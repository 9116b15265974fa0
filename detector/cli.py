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
from .errors import Stopped, UsageError, UserError

CONFIGS = Path(__file__).parent / "configs"

# The configuration's own sections are options of every command: --train.iterations, --assign.threshold, ...
Settings = Annotated[Config, tyro.conf.arg(name="")]
T = TypeVar("T")


@dataclass(frozen=True)
class TrainArguments:
    """Train a detector and write its checkpoint."""

    config: Path = CONFIGS / "demo.yaml"
    """The configuration, your own or a bundled one (configs/...); every option below overrides it."""
    out: Path | None = None
    """Folder of the run; runs/<name of the configuration> if not given."""
    overwrite: bool = False
    """Replace a run that the folder holds already."""
    resume: Annotated[tuple[Path, ...] | None, tyro.conf.arg(metavar="[CHECKPOINT]")] = None
    """Go on from a checkpoint, the folder's last.pt if none is named; without --config, with its configuration."""
    dry_run: bool = False
    """Check everything, take one batch through the network, say what the run would do, and write nothing."""
    settings: Settings = field(default_factory=Config)


@dataclass(frozen=True)
class EvalArguments:
    """Score a checkpoint on a split, by COCO's average precision and, on VOC data, by VOC's."""

    checkpoint: Path = tyro.MISSING
    """A last.pt; its configuration is used, and overridden by the options below."""
    split: Literal["val", "train"] = "val"
    out: Path | None = None
    """Folder of eval.json, detections.json and VOC's precision_recall.png; the checkpoint's if not given."""
    settings: Settings = field(default_factory=Config)


@dataclass(frozen=True)
class PredictArguments:
    """Draw the detections of a checkpoint, and write them as COCO results."""

    checkpoint: Path = tyro.MISSING
    """A last.pt; its configuration is used, and overridden by the options below."""
    images: tuple[Path, ...] = ()
    """Image files, folders and patterns; without any, the first images of a split beside their ground truth."""
    split: Literal["val", "train"] = "val"
    limit: int = 8
    """How many images of the split."""
    score: float = 0.3
    """Draw detections from this score on; the JSON holds all."""
    out: Path | None = None
    """Folder of what it writes; predictions/ beside the checkpoint if not given."""
    settings: Settings = field(default_factory=Config)


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
class DataCheckArguments:
    """Find what would break or spoil a training in a data set, and say in which file."""

    target: tyro.conf.Positional[Path]
    """A folder in VOC's or COCO's layout, or a configuration."""
    decode: bool = True
    """Decode every image; otherwise only their heads are read, which misses truncated ones."""
    format: Literal["text", "json"] = "text"
    limit: int = 10
    """How many problems of a kind the text lists; json lists all."""
    settings: Settings = field(default_factory=Config)


@dataclass(frozen=True)
class SweepArguments:
    """Train and score the cells of a table one after another, resuming what is unfinished."""

    table: Literal["1a", "1b", "1c", "2", "3", "4", "authors_code"] | None = None
    """A table of the paper, or the authors' README's figures."""
    file: Path | None = None
    """A sweep of your own, such as detector/configs/sweeps/bccd_cpu.yaml."""
    out: Path | None = None
    """Folder of the results; runs/table<table> or runs/<name of the file> if not given."""
    only: tuple[str, ...] = ()
    """Names of cells to run; all if not given."""
    seeds: tuple[int, ...] = ()
    """Each cell is trained once for each; the sweep's own if not given."""
    time_limit: float | None = None
    """Seconds after which the run at work is saved and the sweep stops; the same command goes on."""
    processes: int = 1
    """Processes of each training, one a GPU."""
    settings: Settings = field(default_factory=Config)


@dataclass(frozen=True)
class ExportArguments:
    """Write a checkpoint's network, from uint8 image to detections, for torch.export or ONNX.

    The file takes one image (1, 3, H, W) uint8 RGB, resized as for the evaluation, and gives boxes, scores and
    labels. The assigner is for training only and is never part of it.
    """

    checkpoint: Path = tyro.MISSING
    """A last.pt; its configuration is used, and overridden by the options below."""
    format: Literal["onnx", "torch"] = "onnx"
    """An ONNX file, or a torch.export program (.pt2)."""
    out: Path | None = None
    """The file; beside the checkpoint if not given."""
    nms: bool = True
    """Suppress non-maxima in the file; otherwise it gives the boxes and scores of all points."""
    check: tuple[Path, ...] = ()
    """Image files on which the written file is compared with the network."""
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
    except Stopped as stop:
        print(f"detector {name}: {stop}", file=sys.stderr)
        return stop.status
    except KeyboardInterrupt:
        return 130
    return 0


def _train(options: list[str]) -> None:
    # Parsed twice: the first time for the files whose configuration the other options override.
    named = _parse(TrainArguments(), "train", options)
    out, resume = _run_of(named)
    is_own = resume is not None and _value_of(options, "--config") is None
    settings = _checkpoint_config(resume) if resume is not None and is_own else load_config(named.config)
    arguments = _parse(TrainArguments(settings=settings), "train", options)
    from .distributed import process_group
    from .training import run_dry, run_train

    with process_group():
        if arguments.dry_run:
            run_dry(arguments.settings, out, arguments.overwrite, resume)
        else:
            run_train(arguments.settings, out, arguments.overwrite, resume)


def _run_of(arguments: TrainArguments) -> tuple[Path, Path | None]:
    """The folder of a run, and the checkpoint it goes on from, if it does."""
    if arguments.resume is None:
        return arguments.out or Path("runs") / arguments.config.stem, None
    if arguments.overwrite:
        raise UsageError("--resume and --overwrite: expected one of them")
    if len(arguments.resume) > 1:
        raise UsageError(f"--resume: expected one checkpoint, got {' '.join(map(str, arguments.resume))}")
    if arguments.resume:
        file = arguments.resume[0]
        return arguments.out or file.parent, file
    out = arguments.out or Path("runs") / arguments.config.stem
    return out, out / "last.pt"


def _eval(options: list[str]) -> None:
    arguments = _parse(EvalArguments(settings=_checkpoint_config_of(options)), "eval", options)
    from .commands import run_eval
    from .distributed import process_group

    out = arguments.out or arguments.checkpoint.parent
    with process_group():
        run_eval(arguments.settings, arguments.checkpoint, arguments.split, out)


def _predict(options: list[str]) -> None:
    arguments = _parse(PredictArguments(settings=_checkpoint_config_of(options)), "predict", options)
    from .distributed import process_group
    from .predict import run_predict

    with process_group():
        run_predict(
            arguments.settings,
            arguments.checkpoint,
            arguments.images,
            arguments.split,
            arguments.limit,
            arguments.score,
            arguments.out or arguments.checkpoint.parent / "predictions",
        )


def _compare(options: list[str]) -> None:
    default = CompareArguments(settings=_checkpoint_config_of(options, "--checkpoints"))
    arguments = _parse(default, "compare", options)
    from .compare import run_compare

    run_compare(
        arguments.settings,
        arguments.checkpoints,
        arguments.names,
        arguments.split,
        arguments.indices,
        arguments.count,
        arguments.score,
        arguments.out,
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


def _data(options: list[str]) -> None:
    if options[:1] != ["check"]:
        raise UsageError(f"expected 'data check', got 'data {' '.join(options[:1])}'")
    from .check import data_config_of, run_data_check

    # Parsed twice: the first time for the target, whose configuration the other options override.
    target = _parse(DataCheckArguments(tyro.MISSING), "data check", options[1:]).target
    arguments = _parse(DataCheckArguments(target, settings=data_config_of(target)), "data check", options[1:])
    run_data_check(arguments.settings, target, arguments.decode, arguments.format, arguments.limit)


def _sweep(options: list[str]) -> None:
    arguments = _parse(SweepArguments(), "sweep", options)
    from .sweep import cell_config, chosen, load_sweep, load_table, run_sweep

    if arguments.table is not None and arguments.file is None:
        sweep, name = load_table(arguments.table), f"table{arguments.table}"
    elif arguments.file is not None and arguments.table is None:
        sweep, name = load_sweep(arguments.file), arguments.file.stem
    else:
        raise UsageError("--table, --file: expected one of them")
    sweep = chosen(sweep, arguments.only, arguments.seeds)
    # Parsed again for each cell, whose configuration the other options override.
    configs = [_parse(SweepArguments(settings=cell_config(cell)), "sweep", options).settings for cell in sweep.cells]
    out = arguments.out or Path("runs") / name
    run_sweep(sweep, configs, out, arguments.time_limit, arguments.processes)


def _export(options: list[str]) -> None:
    arguments = _parse(ExportArguments(settings=_checkpoint_config_of(options)), "export", options)
    from .export import run_export

    ending = ".onnx" if arguments.format == "onnx" else ".pt2"
    out = arguments.out or arguments.checkpoint.with_suffix(ending)
    run_export(arguments.settings, arguments.checkpoint, arguments.format, out, arguments.nms, arguments.check)


def _demo(options: list[str]) -> None:
    arguments = _parse(DemoArguments(settings=_config_of(options)), "demo", options)
    from .demo import run_demo

    run_demo(arguments.settings, arguments.out)


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "train": _train,
    "eval": _eval,
    "predict": _predict,
    "compare": _compare,
    "assign-view": _assign_view,
    "data": _data,
    "sweep": _sweep,
    "export": _export,
    "demo": _demo,
}


def _help() -> str:
    documented = {
        "train": TrainArguments,
        "eval": EvalArguments,
        "predict": PredictArguments,
        "compare": CompareArguments,
        "assign-view": AssignViewArguments,
        "data check": DataCheckArguments,
        "sweep": SweepArguments,
        "export": ExportArguments,
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


def _checkpoint_config_of(options: list[str], name: str = "--checkpoint") -> Config:
    file = _value_of(options, name)
    return Config() if file is None else _checkpoint_config(Path(file))


def _checkpoint_config(file: Path) -> Config:
    from .engine.checkpoint import checkpoint_config, load_checkpoint

    return checkpoint_config(load_checkpoint(file), file)


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
