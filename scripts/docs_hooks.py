"""What mkdocs is told beside mkdocs.yml, about what lies outside the site."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\[([^\]]+)\]\((\.\./[^)#\s]+)[^)]*\)")
ASSET = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//[^>]*>")

log = logging.getLogger("mkdocs.hooks.docs")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """A link from a page to a file of the repository, which works where the sources are read, becomes its path."""

    def path_of(link: re.Match[str]) -> str:
        target = (ROOT / "docs" / Path(page.file.src_uri).parent / link[2]).resolve()
        path = target.relative_to(ROOT).as_posix()
        return f"`{path}`" if path in link[1] else f"{link[1]} (`{path}`)"

    return LINK.sub(path_of, markdown)


def on_post_page(output: str, *, page: Any, **_: Any) -> None:
    """A reader needs no network: nothing is loaded from elsewhere."""
    for asset in ASSET.findall(output):
        log.warning("%s: loads from elsewhere: %s", page.file.src_uri, asset)
