"""How far a run is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

from .distributed import is_main


class Progress:
    """Counts steps. Lines go above the bar on a terminal, and carry the time left elsewhere.

    Of several processes, the main one alone shows it.
    """

    def __init__(self, total: int, first: int = 0, unit: str = "it") -> None:
        self.total = total
        self.first = first
        self.done = first
        self.started = time.monotonic()
        self.is_terminal = sys.stderr.isatty()
        # disable=None lets tqdm write to terminals only: log files get no carriage returns.
        self.bar = tqdm(total=total, initial=first, unit=unit, disable=None if is_main() else True, leave=False)

    def advance(self) -> None:
        self.done += 1
        self.bar.update()

    def line(self, text: str) -> None:
        if not is_main():
            return
        if self.is_terminal:
            self.bar.write(text)
        else:
            print(f"{text}  eta {self.time_left()}", flush=True)

    def time_left(self) -> str:
        """As h:mm:ss, from the mean speed so far."""
        passed = self.done - self.first
        if passed == 0:
            return "?"
        seconds = round((time.monotonic() - self.started) / passed * (self.total - self.done))
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"

    def close(self) -> None:
        self.bar.close()
