"""What ends a command early; the command line prints it as one line."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN_ERRORS = 3


class UserError(Exception):
    """Something outside the program is wrong: a file, a folder, a value in the data."""


class UsageError(UserError):
    """The command line or the configuration is wrong."""


class Stopped(Exception):
    """A signal ended a run, whose state was saved; ``status`` is the exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def one_line(error: BaseException) -> str:
    """What an error says, in one line; one that is not ours begins with the name of its type."""
    text = str(error).strip()
    if isinstance(error, UserError):
        # A loader process hands its error over as a traceback, whose last line is the message.
        return text.splitlines()[-1].removeprefix(f"{UserError.__module__}.{UserError.__name__}: ") if text else ""
    first = next(iter(text.splitlines()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def first_few(messages: Sequence[str]) -> str:
    """Many errors as one line: the first three, and how many more there are."""
    more = len(messages) - SHOWN_ERRORS
    return "; ".join((*messages[:SHOWN_ERRORS], *([f"and {more} more"] if more > 0 else [])))
