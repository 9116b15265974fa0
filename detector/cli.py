"""The command line: ``python -m detector COMMAND [OPTIONS]``."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import io
import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, TypeVar, get_type_hints

import tyro

from .commands import COMMANDS, SECTIONS, Command
from .config import Config, check_config
from .errors import Stopped, UsageError, UserError, one_line

T = TypeVar("T")
HELP, HELP_ALL = ("-h", "--help"), "--help-all"
OUTPUT_CLOSED = 128 + 13  # as a shell reports a program that SIGPIPE ended


def main(argv: Sequence[str]) -> int:
    """Run a command; returns the exit status: 0 done, 1 failed, 2 wrong usage."""
    try:
        status = _main(argv)
        sys.stdout.flush()
    except BrokenPipeError:
        if not _is_output_closed():
            raise
        return OUTPUT_CLOSED
    return status


def _main(argv: Sequence[str]) -> int:
    if not argv or argv[0] in (*HELP, HELP_ALL):
        print(_overview())
        return 0
    name, options = None, list(argv)
    try:
        name, options = _split(argv)
        if HELP_ALL in options or not set(options).isdisjoint(HELP):
            _print_help(name, options)
        else:
            _run(name, options)
    except UserError as error:
        print(f"{_program(name)}: error: {one_line(error)}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except OSError as error:
        if error.filename is None:  # not of a file: a closed pipe, or a fault of this program
            raise
        print(f"{_program(name)}: error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except Stopped as stop:
        print(f"{_program(name)}: {stop}", file=sys.stderr)
        return stop.status
    except KeyboardInterrupt:
        return 130
    return 0


def _split(argv: Sequence[str]) -> tuple[str, list[str]]:
    """The name of a command, which may have two words, and its options."""
    for words in (1, 2):
        name = " ".join(argv[:words])
        if name in COMMANDS:
            return name, list(argv[words:])
    raise UsageError(f"unknown command {argv[0]!r}; expected one of {', '.join(COMMANDS)}")


def _run(name: str, options: list[str]) -> None:
    """Parse the options twice: the first time for the files whose configuration the other options override."""
    command = COMMANDS[name]
    found = command.source(_parse(command.arguments(), name, options))
    configs = [found] if isinstance(found, Config) else found
    arguments = [_parse(command.arguments(settings=config), name, options) for config in configs]
    for one in arguments:
        check_config(one.settings)
    command.run(*arguments)


def _parse(default: T, name: str, options: Sequence[str]) -> T:
    """Options on top of their defaults; raises a UsageError of one line for a mistake in them."""
    report = io.StringIO()
    try:
        with contextlib.redirect_stderr(report):
            arguments, unknown = tyro.cli(
                type(default), prog=_program(name), args=options, default=default, return_unknown_args=True
            )
    except SystemExit:
        raise UsageError(_without_box(report.getvalue())) from None
    if unknown:
        known = [f"--{option}" for option in _option_names(type(default))]
        likely = difflib.get_close_matches(unknown[0].partition("=")[0].replace("_", "-"), known, n=1)
        hint = f"; perhaps you meant {likely[0]}" if likely else ""
        raise UsageError(f"Unrecognized options: {', '.join(unknown)}{hint}")
    return arguments


def _without_box(report: str) -> str:
    """Title and message of an error of tyro, which draws a box around them and a rule between them and its advice."""
    parts = (re.sub("[\u2500-\u257f]", " ", part).split() for part in re.split("[\u2500-\u257f]{2,}", report))
    return ": ".join([" ".join(words) for words in parts if words][:2])


def _option_names(kind: Any) -> Iterator[str]:
    """Every option of a dataclass and of those in it: ``checkpoint``, ``train.batch-size``."""
    for name, hint in get_type_hints(kind).items():
        prefix = "" if name == "settings" else f"{name.replace('_', '-')}."
        if dataclasses.is_dataclass(hint):
            yield from (f"{prefix}{inner}" for inner in _option_names(hint))
        else:
            yield prefix.rstrip(".")


def _overview() -> str:
    lines = [f"  {name:<12} {command.arguments.__doc__}" for name, command in COMMANDS.items()]
    return "\n".join(["usage: python -m detector COMMAND [OPTIONS]", "", *lines, "", "COMMAND --help lists options."])


def _print_help(name: str, options: list[str]) -> None:
    """List the command's own options and those of the sections that it reads, with the values they would have."""
    command = COMMANDS[name]
    given = [option for option in options if option not in (*HELP, HELP_ALL)]
    arguments = command.arguments(settings=_likely_settings(command, name, given))
    is_whole = HELP_ALL in options or command.sections == SECTIONS
    shown = arguments if is_whole else _showing(arguments, _own_options(arguments, command))
    with contextlib.suppress(SystemExit):
        tyro.cli(type(shown), prog=_program(name), args=["--help"], default=shown)
    if not is_whole:
        print(f"{HELP_ALL} lists the other options of the configuration as well.")


def _likely_settings(command: Command, name: str, options: list[str]) -> Config:
    """The configuration that the options would override, the default one if they do not say or there are several."""
    try:
        found = command.source(_parse(command.arguments(), name, options))
    except UserError:
        return Config()
    return found if isinstance(found, Config) else Config()


def _own_options(arguments: Any, command: Command) -> list[str]:
    own = [field.name for field in dataclasses.fields(arguments) if field.name != "settings"]
    return own + [f"settings.{section}" for section in command.sections]


def _showing(value: Any, names: Sequence[str]) -> Any:
    """A dataclass of the same values, of whose fields tyro's help shows the named ones: ``out``, ``train.device``."""
    kind, fields, values = type(value), [], dict(vars(value))
    annotated: Any = Annotated  # mypy takes what stands between its brackets for a type
    suppressed: Any = tyro.conf.Suppress
    for name, hint in get_type_hints(kind, include_extras=True).items():
        inner = [shown.removeprefix(f"{name}.") for shown in names if shown.startswith(f"{name}.")]
        if name in names:
            continue
        if inner:
            values[name] = _showing(values[name], inner)
            parts = (type(values[name]), *getattr(hint, "__metadata__", ("",)))
            hint = annotated[parts]
        else:
            hint = suppressed[hint]
        fields.append((name, hint, dataclasses.field(default=values[name])))
    # The fields that are not redefined are inherited: their descriptions are in the source of their own class.
    shown = dataclasses.make_dataclass(
        kind.__name__, fields, bases=(kind,), namespace={"__doc__": kind.__doc__}, frozen=True
    )
    return shown(**values)


def _program(name: str | None) -> str:
    return "detector" if name is None else f"detector {name}"


def _is_output_closed() -> bool:
    """Whether the reader of the standard output has gone; then nothing more is written, also not at exit."""
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False
