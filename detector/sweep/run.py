"""Running a sweep: one training after another, each in a process of its own, finished ones left alone."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pseudo_iou_ops.env import source_commit

from ..config import Config, DataConfig, config_to_yaml
from ..data import Annotations
from ..engine.checkpoint import load_checkpoint
from ..engine.log import METRICS
from ..engine.optim import total_steps
from ..engine.train import CHECKPOINT
from ..errors import Stopped, UsageError, UserError
from ..runtime import training_images
from ..signals import StopRequest
from .kept import Kept, kept_by
from .plan import Cell, Sweep
from .plot import draw_order, draw_sweep
from .results import Result, read_results, settings_digest, write_results
from .table import markdown_table

RESULTS = "results.csv"
TABLE = "table.md"
PLOT = "plot.png"
ORDER = "order.png"
# Before the time limit the run at work is told to stop: to end its step and write its checkpoint takes a while.
SAVING_SECONDS = 20.0


def run_sweep(
    sweep: Sweep, configs: Sequence[Config], out: Path, time_limit: float | None = None, processes: int = 1
) -> None:
    """Train and score every cell with every seed, the seeds one after another.

    Writes results.csv, table.md, plot.png and order.png. A run in results.csv is not repeated, an interrupted one goes
    on from its checkpoint.

    Args:
        sweep: the cells, their names and published figures.
        configs: one a cell, complete but for the seed.
        out: a folder; each run has one of its own in ``out/runs``.
        time_limit: seconds after which the run at work is told to save and stop.
        processes: of each training, one a GPU; more than one are started by torchrun.

    Raises:
        Stopped: at the time limit or a signal; another call goes on.
        UsageError: an argument is out of its domain.
        UserError: a run failed, or results.csv has runs of these names with other settings.
    """
    if time_limit is not None and time_limit <= SAVING_SECONDS:
        raise UsageError(
            f"--time-limit: expected more than {SAVING_SECONDS:g} seconds, kept for saving, got {time_limit:g}"
        )
    if processes < 1:
        raise UsageError(f"--processes: expected at least 1, got {processes}")
    started = time.monotonic()
    deadline = None if time_limit is None else started + time_limit - SAVING_SECONDS
    out.mkdir(parents=True, exist_ok=True)
    results = read_results(out / RESULTS)
    todo = [
        (cell, _with_seed(config, seed))
        for seed in sweep.seeds
        for cell, config in zip(sweep.cells, configs, strict=True)
        if not _is_finished(cell, seed, config, results, out)
    ]
    total = len(sweep.seeds) * len(sweep.cells)
    annotations = _TrainingSets()
    with StopRequest() as stop:
        runner = Runner(stop, deadline, processes)
        for position, (cell, config) in enumerate(todo, start=total - len(todo) + 1):
            print(f"run {position} of {total}: {cell.name}, seed {config.train.seed}", flush=True)
            images = annotations.of(config)
            folder = out / "runs" / f"{cell.slug}-seed{config.train.seed}"
            steps = total_steps(config, len(images))
            try:
                figures = runner.train_and_score(config, folder, steps)
            except Stopped:
                write_report(sweep, configs, results, out)
                raise Stopped(
                    f"stopped after {time.monotonic() - started:.0f} s, {position - 1} of {total} runs done; "
                    f"the same command goes on",
                    128 + signal.SIGTERM,
                ) from None
            kept = kept_by(config.assign.rule(), images, config.data)
            seconds = training_seconds(folder / METRICS)
            results.append(_result(cell, config, kept, figures, sweep.metrics, steps, seconds))
            write_results(out / RESULTS, results, sweep.metrics)
    write_report(sweep, configs, results, out)
    print((out / TABLE).read_text(encoding="utf-8"))
    print(f"wrote {', '.join(str(out / name) for name in (RESULTS, TABLE, PLOT, ORDER))}")


def write_report(sweep: Sweep, configs: Sequence[Config], results: Sequence[Result], out: Path) -> None:
    """The table and the pictures of what is finished; the rest is "not run"."""
    rules = [config.assign.rule() for config in configs]
    (out / TABLE).write_text(markdown_table(sweep, results), encoding="utf-8")
    draw_sweep(sweep, rules, results, out / PLOT)
    draw_order(sweep, rules, results, out / ORDER)


class Runner:
    """Starts the commands of a run, and ends them when the sweep has to stop."""

    def __init__(self, stop: StopRequest, deadline: float | None, processes: int) -> None:
        self.stop = stop
        self.deadline = deadline
        self.processes = processes

    def train_and_score(self, config: Config, folder: Path, steps: int) -> dict[str, float]:
        """The figures of an evaluation, in percent, by name; raises Stopped or UserError."""
        checkpoint = folder / CHECKPOINT
        is_begun = checkpoint.exists()
        if not is_begun or load_checkpoint(checkpoint)["step"] < steps:
            source = folder.with_name(f"{folder.name}.yaml")
            source.parent.mkdir(parents=True, exist_ok=True)
            source.write_text(config_to_yaml(config), encoding="utf-8")
            how = "--resume" if is_begun else "--overwrite"
            self._call("train", "--config", str(source), "--out", str(folder), how)
        self._call("eval", "--checkpoint", str(checkpoint), "--out", str(folder))
        return read_figures(folder / "eval.json")

    def _call(self, *arguments: str) -> None:
        launcher = [sys.executable, "-m"]
        if self.processes > 1:
            launcher += ["torch.distributed.run", "--standalone", f"--nproc-per-node={self.processes}", "-m"]
        status = run_until([*launcher, "detector", *arguments], self.stop, self.deadline)
        if status != 0:
            raise UserError(f"{arguments[0]}: exit status {status}; its message is above")


def run_until(command: Sequence[str], stop: StopRequest, deadline: float | None) -> int:
    """The exit status of a command; at a signal or at the deadline, of ``time.monotonic``, it is asked to end.

    Raises:
        Stopped: it was, and has ended.
    """
    child = subprocess.Popen(command)
    while (status := _wait(child, seconds=0.2)) is None:
        if stop.received or (deadline is not None and time.monotonic() > deadline):
            child.send_signal(signal.SIGTERM)
            child.wait()
            raise Stopped("stopped", 128 + signal.SIGTERM)
    if stop.received:  # a terminal signals the child too
        raise Stopped("stopped", 128 + signal.SIGTERM)
    return status


def read_figures(file: Path) -> dict[str, float]:
    """The figures of eval.json in percent."""
    stats = json.loads(file.read_text(encoding="utf-8"))["stats"]
    return {name: 100 * value for name, value in stats.items()}


def training_seconds(file: Path) -> float:
    """The time of all steps in a metrics.jsonl, those of a run that was interrupted and resumed included."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    logged = [row for row in rows if "seconds_per_step" in row]
    before = [0, *(row["step"] for row in logged)]
    return float(
        sum((row["step"] - begin) * row["seconds_per_step"] for begin, row in zip(before, logged, strict=False))
    )


class _TrainingSets:
    """The annotations of the last data set asked for: a sweep's cells mostly share one."""

    def __init__(self) -> None:
        self.data: DataConfig | None = None
        self.annotations: Annotations | None = None

    def of(self, config: Config) -> Annotations:
        if self.annotations is None or self.data != config.data:
            self.data, self.annotations = config.data, training_images(config)
        return self.annotations


def _wait(child: subprocess.Popen[bytes], seconds: float) -> int | None:
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def _with_seed(config: Config, seed: int) -> Config:
    return dataclasses.replace(config, train=dataclasses.replace(config.train, seed=seed))


def _is_finished(cell: Cell, seed: int, config: Config, results: Sequence[Result], out: Path) -> bool:
    for result in results:
        if (result.cell, result.seed) == (cell.name, seed):
            if result.settings != settings_digest(config):
                raise UsageError(
                    f"--out: {out / RESULTS} holds {cell.name!r}, seed {seed}, with other settings; "
                    "choose another folder"
                )
            return True
    return False


def _result(
    cell: Cell,
    config: Config,
    kept: Kept | None,
    figures: dict[str, float],
    metrics: Sequence[str],
    steps: int,
    seconds: float,
) -> Result:
    missing = [name for name in metrics if name not in figures]
    if missing:
        raise UserError(f"metrics: the evaluation has no {', '.join(missing)}; it has {', '.join(figures)}")
    return Result(
        cell.name,
        config.train.seed,
        None if kept is None else 100 * kept.points,
        None if kept is None else 100 * kept.boxes_without_positive,
        steps,
        round(seconds, 1),
        source_commit() or "",
        settings_digest(config),
        {name: figures[name] for name in metrics},
    )
