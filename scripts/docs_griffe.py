"""Lets the API pages follow the references in docstrings: :class:`Name` becomes a link."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|data|func|mod):`([\w.]+)`")


def as_link(role: re.Match[str]) -> str:
    return f"[`{role[1]}`][{role[1]}]"


class References(griffe.Extension):
    """Runs on every object that has a docstring."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = ROLE.sub(as_link, obj.docstring.value)
