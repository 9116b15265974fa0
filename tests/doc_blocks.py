"""The fenced blocks of the documentation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]


class Block(NamedTuple):
    name: str
    language: str
    text: str
    project: str


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks; a comment above one names the project it needs."""
    fence = re.compile(r"^(?:<!-- run with: (\w+) -->\n)?```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    found = fence.findall(page.read_text())
    return [Block(f"{page.name}-{n}", language, text, project) for n, (project, language, text) in enumerate(found)]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
