"""Classes that several inputs have to agree in: those of a checkpoint, of the training and of the validation."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..errors import UserError
from .annotations import Annotations

MOST_NAMES = 20


def with_classes_of(annotations: Annotations, class_names: Sequence[str], name: str, other: str) -> Annotations:
    """The annotations with another input's classes, in its order: the labels are looked up by name.

    A class that one of the two does not list is no difference as long as no box of the annotations is of it.
    Category ids stay the annotations' own; those that they do not have are given new ones.

    Args:
        annotations: any.
        class_names: the other input's, in the order of its labels.
        name: of the annotations, for the message: ``data.val``.
        other: of the other input: ``data.train``, or a checkpoint's file.

    Raises:
        UserError: there are boxes of a class that the other input does not know; both lists are named.

    Examples:
        >>> from pathlib import Path
        >>> from detector.data.annotations import AnnotationsBuilder
        >>> builder = AnnotationsBuilder(("dog", "cat"), [7, 9])
        >>> builder.add_image(Path("a.png"), 1, height=32, width=32)
        >>> builder.add_box((4.0, 4.0, 20.0, 20.0), 256.0, label=0, ignore=False)
        >>> turned = with_classes_of(builder.build(), ("cat", "dog"), "data.val", "data.train")
        >>> turned.class_names, turned.category_ids.tolist(), turned.labels.tolist()
        (('cat', 'dog'), [9, 7], [1])
    """
    own, target = annotations.class_names, tuple(class_names)
    if own == target:
        return annotations
    label_of = {class_name: label for label, class_name in enumerate(target)}
    used = [own[label] for label in annotations.labels.unique().tolist()]
    unknown = [class_name for class_name in used if class_name not in label_of]
    if unknown:
        raise UserError(
            f"{name}: its classes are not those of {other}: {_listed(unknown)} occur in {name} alone; "
            f"{name} has {_listed(own)}; {other} has {_listed(target)}"
        )
    id_of = dict(zip(own, annotations.category_ids.tolist(), strict=True))
    new_ids = itertools.count(max((0, *id_of.values())) + 1)
    ids = [id_of[class_name] if class_name in id_of else next(new_ids) for class_name in target]
    labels = torch.tensor([label_of.get(class_name, -1) for class_name in own], dtype=torch.int64)
    return replace(
        annotations,
        class_names=target,
        category_ids=torch.tensor(ids, dtype=torch.int64),
        labels=labels[annotations.labels],
    )


def labels_in(class_names: Sequence[str], other_names: Sequence[str], name: str, other: str) -> Tensor:
    """(C,) int64, which label of the other's each of the own is; raises UserError if the sets of names differ."""
    if set(class_names) != set(other_names):
        raise UserError(
            f"{name}: its classes are not those of {other}: {name} has {_listed(class_names)}; "
            f"{other} has {_listed(other_names)}"
        )
    return torch.tensor([list(other_names).index(class_name) for class_name in class_names], dtype=torch.int64)


def _listed(names: Iterable[str]) -> str:
    """Names for a message, the first of very many."""
    listed = list(names)
    more = f" and {len(listed) - MOST_NAMES} more" if len(listed) > MOST_NAMES else ""
    return f"{', '.join(listed[:MOST_NAMES])}{more}" or "none"
