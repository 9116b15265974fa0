"""Fonts for class names in any script: matplotlib's own has Latin, Greek, Cyrillic and little else."""

from __future__ import annotations

import functools
import sys
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

# The words that begin a character's name in Unicode, of scripts that one family of fonts holds together.
CJK = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL")
REGULAR = ("Regular", "Book", "Roman")


class Font(NamedTuple):
    """A font file and the characters it has."""

    file: str
    family: str
    is_regular: bool
    characters: frozenset[str]


def families_for(texts: Iterable[str]) -> tuple[str, ...]:
    """Families of the system's fonts to draw with, beside matplotlib's own font, so that every character is drawn.

    Says once, on the standard error, which characters no font has, and what to install.
    """
    return _families(frozenset(c for text in texts for c in text if c.isprintable() and not c.isspace()))


@functools.cache
def _families(characters: frozenset[str]) -> tuple[str, ...]:
    from matplotlib import font_manager

    own = _read(font_manager.findfont(font_manager.FontProperties(family=["sans-serif"])))
    missing = characters - (own.characters if own is not None else frozenset())
    families = []
    while missing:
        best = max(_system_fonts(), key=lambda font: (len(font.characters & missing), font.is_regular), default=None)
        if best is None or not best.characters & missing:
            print(_advice(missing), file=sys.stderr)
            break
        font_manager.fontManager.addfont(best.file)  # matplotlib lists the system's fonts once and for all
        families.append(best.family)
        missing -= best.characters
    return tuple(families)


@functools.cache
def _system_fonts() -> tuple[Font, ...]:
    from matplotlib import font_manager

    fonts = (_read(file) for file in sorted(font_manager.findSystemFonts()))
    return tuple(font for font in fonts if font is not None)


def _read(file: str) -> Font | None:
    """None for what is no font of outlines."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(file)
        if not font.scalable:
            return None
        return Font(file, font.family_name, font.style_name in REGULAR, frozenset(map(chr, font.get_charmap())))
    except (RuntimeError, OSError, ValueError):
        return None


def _advice(missing: frozenset[str]) -> str:
    shown = "".join(sorted(missing)[:20])
    scripts = sorted({unicodedata.name(c, "UNKNOWN").split()[0] for c in missing})
    names = sorted({"CJK" if script in CJK else script.title() for script in scripts})
    fonts = " and ".join(f"Noto Sans {name}" for name in names[:3])
    return f"class names: no font of this system has {shown}: pictures show boxes in their place; install {fonts}"
