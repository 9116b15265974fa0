"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from . import assign, contest, decode, losses, plot, step, table, top_k

INSTALL = 'install the extra detector: pip install --no-build-isolation -e ".[detector]"'
Needs = Callable[[argparse.Namespace], Sequence[str]]


def main(arguments: Sequence[str]) -> int:
    try:
        return _main(arguments)
    except OSError as error:
        if error.filename is None:
            raise
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1


def _main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    return int(options.run(options, arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Time label assignment beside its alternatives; each is verified before it is timed.",
    )
    _add_contest(parser, assign, table.render)
    commands = parser.add_subparsers(metavar="COMMAND", help="without one, the contestants are timed")
    step_parser = commands.add_parser("step", help="the share of the reference detector's training step")
    _add_contest(step_parser, step, step.render, step.needs)
    losses_parser = commands.add_parser("losses", help="the focal loss, forward and backward, beside torchvision's")
    _add_contest(losses_parser, losses, losses.render, losses.needs)
    decode_parser = commands.add_parser("decode", help="the best candidates of a head, beside plain torch")
    _add_contest(decode_parser, decode, decode.render)
    top_k_parser = commands.add_parser("top_k", help="the rules where boxes choose points, beside their alternatives")
    _add_contest(top_k_parser, top_k, top_k.render)
    table_parser = commands.add_parser("table", help="print the tables of a JSON file")
    table_parser.add_argument("json", type=Path)
    table_parser.set_defaults(run=_table)
    plot_parser = commands.add_parser("plot", help="draw the sweep of a JSON file again")
    plot_parser.add_argument("json", type=Path)
    plot_parser.add_argument("image", type=Path)
    plot_parser.set_defaults(run=_plot)
    return parser


def _sweep_needs(options: argparse.Namespace) -> Sequence[str]:
    return [plot.PACKAGE] if getattr(options, "plot", None) else []


def _add_contest(parser: argparse.ArgumentParser, module: Any, render: Any, needs: Needs = _sweep_needs) -> None:
    module.add_options(parser)
    contest.add_options(parser)
    parser.set_defaults(run=partial(_contest, module=module, render=render, needs=needs))


def _contest(options: argparse.Namespace, arguments: Sequence[str], module: Any, render: Any, needs: Needs) -> int:
    def draw(document: dict[str, Any]) -> None:
        if getattr(options, "plot", None):
            plot.draw(document["sweep"], options.plot)

    if _tell_missing(needs(options)):
        return 1
    return contest.run(options, arguments, module.hold, render, draw)


def _tell_missing(packages: Sequence[str]) -> bool:
    """Before minutes of measuring."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        print(f"error: not installed: {', '.join(missing)}; {INSTALL}", file=sys.stderr)
    return bool(missing)


def _read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def _table(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    document = _read(options.json)
    print((top_k if "top_k" in document else table).render(document), end="")
    return 0


def _plot(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    if _tell_missing([plot.PACKAGE]):
        return 1
    sweep = _read(options.json).get("sweep")
    if not sweep:
        print(f"error: {options.json}: expected a sweep, which --plot measures", file=sys.stderr)
        return 1
    plot.draw(sweep, options.image)
    return 0
