"""What the data check can find: every kind of problem, which docs/your_data.md explains one by one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]

UNUSABLE = "annotation that can not be used"
MISSING = "image that is missing"
UNREADABLE = "image that can not be read"
OTHER_SIZE = "image of another size than annotated (width x height)"
OUTSIDE = "box outside its image"
OVER = "box that reaches over the border of its image"
TINY = "box of at most a pixel in width or height"
TWICE = "box that occurs twice"
TWO_CLASSES = "box of two classes"
PLACEHOLDER = "box 0 0 0 0, a placeholder that marks no object; left out"
AREA = "area that contradicts its box: expected more than 0 and at most the box's"
SAME_AREA = "area that is the same for all boxes"
NULL_AREA = "area that is null; the box's is taken"
ANNOTATION_ID = "annotation id that occurs twice"
NO_BOX = "image without a box to train on"
LISTED_TWICE = "image that is listed twice"
COPY = "image that is a copy of another"
IN_BOTH = "image in both train and val"
TURNED = "image with an EXIF orientation"
FRAMES = "image with several frames or pages, of which the first is read"
ONE_COLOUR = "image of a single colour"
TRANSPARENT = "image with transparent pixels, which are read on white"
NO_TRAIN_BOX = "class without a box in train"
NO_VAL_BOX = "class without a box in val"
OTHER_CLASSES = "classes of val that train does not have"
ONLY_PARENT = "category that is only the parent of others"
UNLISTED = "annotation file that no list names"
NOT_ANNOTATED = "split without annotations: to predict on, not to score"

SEVERITY: dict[str, Severity] = {
    **dict.fromkeys((UNUSABLE, MISSING, UNREADABLE, OTHER_SIZE, OUTSIDE, OTHER_CLASSES), "error"),
    **dict.fromkeys((OVER, TINY, TWICE, TWO_CLASSES, PLACEHOLDER, AREA, SAME_AREA, NULL_AREA), "warning"),
    **dict.fromkeys((ANNOTATION_ID, NO_BOX, LISTED_TWICE, COPY, IN_BOTH, TURNED, FRAMES), "warning"),
    **dict.fromkeys(
        (ONE_COLOUR, TRANSPARENT, NO_TRAIN_BOX, NO_VAL_BOX, ONLY_PARENT, UNLISTED, NOT_ANNOTATED), "warning"
    ),
}


@dataclass(frozen=True)
class Problem:
    """An error stops a training or teaches it something wrong; a warning is worth a look."""

    severity: Severity
    kind: str
    """What the problems of a kind have in common."""
    message: str
    """One line that begins with the file."""


def problem(kind: str, message: str) -> Problem:
    """A problem of a kind of :data:`SEVERITY`."""
    return Problem(SEVERITY[kind], kind, message)


def by_kind(problems: Iterable[Problem]) -> dict[tuple[str, str], list[str]]:
    """The messages of each severity and kind, errors first."""
    groups: dict[tuple[str, str], list[str]] = {}
    for one in sorted(problems, key=lambda problem: problem.severity):
        groups.setdefault((one.severity, one.kind), []).append(one.message)
    return groups
