"""Going on with a run that was stopped."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from ..config import Config, config_to_dict
from ..data import Annotations
from ..errors import UsageError, UserError
from .checkpoint import checkpoint_config, fingerprint

# What may change: the length, logging, saving and evaluation, and where the run takes place.
MAY_CHANGE = (
    "train.epochs",
    "train.iterations",
    "train.log_every",
    "train.save_every",
    "train.keep_every",
    "train.eval_every",
    "train.tensorboard",
    "train.device",
    "data.root",
    "data.workers",
    "data.max_pixels",
    "eval.",
    "postprocess.",
)


class Resumed(NamedTuple):
    """A checkpoint to go on from."""

    file: Path
    content: dict[str, Any]


def changed_options(resumed: Resumed, config: Config) -> list[str]:
    """The options in which a configuration differs from the run's, as text.

    Raises:
        UsageError: one of them is not of those that may change.
    """
    before = _flat(config_to_dict(checkpoint_config(resumed.content, resumed.file)))
    after = _flat(config_to_dict(config))
    changes = {name: f"{name} {before[name]} -> {after[name]}" for name in after if before[name] != after[name]}
    wrong = [text for name, text in changes.items() if not name.startswith(MAY_CHANGE)]
    if wrong:
        raise UsageError(
            f"--resume: {resumed.file} was trained with other options: {', '.join(wrong)}; "
            f"only {', '.join(name.rstrip('.') for name in MAY_CHANGE)} may change"
        )
    return list(changes.values())


def check_unfinished(resumed: Resumed, annotations: Annotations, total: int) -> None:
    """Raise UserError if the run is finished, or began with other data."""
    file, content = resumed
    if content.get("data") != fingerprint(annotations):
        raise UserError(f"{file}: the training images or their boxes are not those that the run began with")
    if content["step"] >= total:
        raise UsageError(
            f"--resume: {file} is of a finished run: step {content['step']} of {total}; "
            "to train longer, raise --train.epochs or --train.iterations"
        )


def cut_rows(file: Path, step: int) -> None:
    """Keep the rows of a metrics file up to a step: those after it will be written again."""
    if not file.exists():
        return
    kept = [line for line in file.read_text(encoding="utf-8").splitlines() if _is_row_up_to(line, step)]
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    os.replace(temporary, file)


def _is_row_up_to(line: str, step: int) -> bool:
    try:
        return bool(json.loads(line)["step"] <= step)
    except (ValueError, KeyError, TypeError):  # the process was killed while it wrote the line
        return False


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as one dict: ``train.seed``."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
