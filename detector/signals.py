"""Signals that end a run: the step in work is finished and saved first."""

from __future__ import annotations

import atexit
import functools
import multiprocessing
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from .distributed import largest_over_ranks

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class StopRequest:
    """While entered, notes SIGTERM, SIGINT and SIGUSR1 instead of obeying them; a second SIGINT stops at once."""

    def __init__(self) -> None:
        self.received = 0
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            self._previous = {number: signal.signal(number, self._note) for number in STOPPING}
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def exit_status(self) -> int:
        """0 to go on, or the status to stop with: 130 after SIGINT, 143 otherwise. The same on every process."""
        received = largest_over_ranks(self.received)
        if received == 0:
            return 0
        return 128 + (signal.SIGINT if received == signal.SIGINT else signal.SIGTERM)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or number
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def ignore_stop_signals(worker: int) -> None:
    """For loader processes, which a terminal or a scheduler signals too: their parent decides when they end."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


@functools.cache
def kill_workers_at_exit() -> None:
    """For the parent of such processes: Python would end them by SIGTERM, which they ignore, and wait for ever."""
    atexit.register(_kill_workers)


def _kill_workers() -> None:
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()
