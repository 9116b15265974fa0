"""One checked reading of each kind of value in an annotation file, for all formats.

A number may be written as text, as exporters do: XML knows nothing else. Text is read as a number only if it is one
in plain digits; errors say that a value is text.
"""

from __future__ import annotations

import math
import re
from reprlib import Repr
from typing import Any

from ..errors import UserError

LARGEST_ID = 2**63 - 1
LONGEST_SIDE = 10**6
LARGEST_COORDINATE = 1e7

# Python's own float() also takes 1_000, Arabic digits, nan and infinity.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WORDS = {"": 0, "false": 0, "true": 1}
_LARGEST_INTEGER = 10**300  # whose float64 is finite


def checked_number(value: object, where: str) -> float:
    """``value`` as a finite number; raises UserError that begins with ``where``."""
    number = _as_number(value)
    if number is None:
        raise UserError(f"{where}: expected a number, got {told(value)}")
    return float(number)


def checked_integer(value: object, low: int, high: int, where: str) -> int:
    """``value`` as an integer, which a file may hold as 640.0 or "640"; raises UserError that begins with ``where``."""
    number = _as_number(value)
    if number is None or number != int(number) or not low <= number <= high:
        raise UserError(f"{where}: expected a whole number from {low} to {high}, got {told(value)}")
    return int(number)


def checked_flag(value: object, where: str) -> bool:
    """``value``, which a file may hold as 0, 1, false, true, or one of these as text, as bool.

    Nothing (null, empty text) is False; raises UserError that begins with ``where``.
    """
    if value is None:
        return False
    word = value.strip().lower() if isinstance(value, str) else value
    number = (
        int(word) if isinstance(word, bool) else _WORDS[word] if word in ("", "false", "true") else _as_number(word)
    )
    if number not in (0, 1):
        raise UserError(f"{where}: expected 0 or 1, got {told(value)}")
    return number == 1


def is_missing_size(value: object) -> bool:
    """Whether a height or width is not given: null, empty, or 0, which some tools write for "unknown"."""
    return value is None or (isinstance(value, str) and not value.strip()) or _as_number(value) == 0


def is_box(x1: float, y1: float, x2: float, y2: float) -> bool:
    """Whether the coordinates are in range and not inverted; an empty box, which trains nothing, is one."""
    return x1 <= x2 and y1 <= y2 and min(x1, y1) >= -LARGEST_COORDINATE and max(x2, y2) <= LARGEST_COORDINATE


def told(value: object) -> str:
    """A value from a file for "got ...": it says so if the value is text."""
    return f"{shown(value)}, which is text" if isinstance(value, str) else shown(value)


def shown(value: object) -> str:
    """A value from a file for a message: one line, cut if it is long or deep."""
    return _REPR.repr(value)


def _as_number(value: Any) -> float | int | None:
    """A finite number, also from text; None if it is none. True and False are none."""
    if isinstance(value, str):
        text = value.strip()
        if not _NUMBER.fullmatch(text):
            return None
        # Digits alone stay an integer: float64 does not hold all ids.
        value = int(text) if len(text) < 20 and text.lstrip("+-").isdigit() else float(text)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    is_finite = abs(value) < _LARGEST_INTEGER if isinstance(value, int) else math.isfinite(value)
    return value if is_finite else None


_REPR = Repr()
_REPR.maxstring = _REPR.maxother = 80
