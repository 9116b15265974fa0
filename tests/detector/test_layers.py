"""The rooms of the detector are floors: each imports from those below it alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

DETECTOR = Path(__file__).parents[2] / "detector"
ORDER = (
    *(
        "errors",
        "torch_file",
        "places",
        "distributed",
        "signals",
        "progress",
        "assign_config",
        "config",
        "data",
        "model",
        "evaluation",
        "visualise",
        "engine",
    ),
    *("runtime", "export", "sweep", "commands", "cli", "__main__"),
)


def room_of(file: Path) -> str:
    return file.relative_to(DETECTOR).parts[0].removesuffix(".py")


def imported_rooms(source: str, package: tuple[str, ...]) -> Iterator[str]:
    """The rooms that a module of a package imports from, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            path = (*above, *(node.module.split(".") if node.module else ()))
            targets = [(*path, alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            targets = [tuple(alias.name.split(".")) for alias in node.names]
        else:
            continue
        yield from (target[1] for target in targets if target[0] == "detector" and len(target) > 1)


def test_no_import_goes_up() -> None:
    arrows = {
        (room_of(file), room)
        for file in sorted(DETECTOR.rglob("*.py"))
        if file != DETECTOR / "__init__.py"
        for room in imported_rooms(file.read_text(encoding="utf-8"), file.relative_to(DETECTOR.parent).parts[:-1])
        if room != room_of(file)
    }
    assert {("cli", "commands"), ("commands", "engine"), ("data", "config"), ("engine", "model")} <= arrows
    assert sorted({room for arrow in arrows for room in arrow} - set(ORDER)) == []
    assert [f"{user} -> {used}" for user, used in sorted(arrows) if ORDER.index(user) < ORDER.index(used)] == []


@pytest.mark.parametrize(
    ("source", "room"),
    [
        ("from ..visualise.detections import draw_targets", "visualise"),
        ("from .. import runtime", "runtime"),
        ("def run():\n    from detector.commands import train", "commands"),
        ("import detector.cli as cli", "cli"),
        ("from .train import train", "engine"),
    ],
)
def test_an_import_is_found_however_it_is_written(source: str, room: str) -> None:
    assert list(imported_rooms(source, ("detector", "engine"))) == [room]
