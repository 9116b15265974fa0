"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from . import environment, losses, plot, runner, step, table
from .peers import BASELINE, Contestant, contestants
from .workloads import SWEPT_BOXES, WORKLOADS, swept_workload

QUICK_WORKLOADS = ("voc", "coco", "lvis", "crowd", "dota2k", "4k")

# Other processes may take this much of a core before the figures are called noisy.
QUIET_LOAD = 0.15


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    return int(options.run(options, list(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Time label assignment beside its alternatives; each is verified before it is timed.",
    )
    _add_run_options(parser)
    parser.set_defaults(run=_run)
    commands = parser.add_subparsers(metavar="COMMAND", help="without one, the contestants are timed")
    table_parser = commands.add_parser("table", help="print the tables of a JSON file")
    table_parser.add_argument("json", type=Path)
    table_parser.set_defaults(run=_table)
    plot_parser = commands.add_parser("plot", help="draw the sweep of a JSON file again")
    plot_parser.add_argument("json", type=Path)
    plot_parser.add_argument("image", type=Path)
    plot_parser.set_defaults(run=_plot)
    step.add_parser(commands)
    losses.add_parser(commands)
    return parser


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    names = [contestant.name for contestant in contestants()]
    parser.add_argument(
        "--quick", action="store_true", help="few rounds, no call beyond a second: 3 minutes on 2 cores"
    )
    parser.add_argument("--workloads", nargs="+", choices=list(WORKLOADS), metavar="NAME", help=", ".join(WORKLOADS))
    parser.add_argument(
        "--contestants",
        nargs="+",
        choices=names,
        metavar="NAME",
        help=f"beside {BASELINE!r}: " + "; ".join(names),
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, help="of torch on the CPU; by default torch's own choice")
    parser.add_argument("--json", type=Path, metavar="PATH", help="store all samples and the environment")
    parser.add_argument("--plot", type=Path, metavar="PATH", help="also sweep the boxes per image, and draw the result")


def _run(options: argparse.Namespace, arguments: list[str]) -> int:
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    settings = runner.Settings.quick(device) if options.quick else runner.Settings(device)
    if device.type == "cuda":
        settings = replace(settings, largest_call=0.5 * torch.cuda.mem_get_info()[0])
    names = options.workloads or (QUICK_WORKLOADS if options.quick else tuple(WORKLOADS))

    def chosen() -> list[Contestant]:
        wanted = options.contestants
        return [c for c in contestants() if not wanted or c.name in wanted or c.name == BASELINE]

    document: dict[str, Any] = {"environment": environment.describe(device, arguments), "results": []}
    try:
        document["results"] += runner.run([WORKLOADS[name] for name in names], chosen, settings)
        if options.plot:
            document["sweep"] = list(runner.run([swept_workload(n) for n in SWEPT_BOXES], chosen, settings))
    except runner.MismatchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(table.render(document), end="")
    if options.plot:
        plot.draw(document["sweep"], options.plot)
    _warn_of_load([*document["results"], *document.get("sweep", [])])
    return 0


def _warn_of_load(results: Sequence[dict[str, Any]]) -> None:
    load = statistics.median(load for result in results for load in result["other_load"])
    if load > QUIET_LOAD:
        print(
            f"warning: other processes used {load:.2f} cores meanwhile; the times are too long",
            file=sys.stderr,
        )


def _read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def _table(options: argparse.Namespace, arguments: list[str]) -> int:
    print(table.render(_read(options.json)), end="")
    return 0


def _plot(options: argparse.Namespace, arguments: list[str]) -> int:
    sweep = _read(options.json).get("sweep")
    if not sweep:
        print(f"error: {options.json}: expected a sweep, which --plot measures", file=sys.stderr)
        return 1
    plot.draw(sweep, options.image)
    return 0
