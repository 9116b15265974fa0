"""Going on with a run that was stopped."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from ..config import Config, config_to_dict
from ..data import Annotations
from ..errors import UsageError, UserError
from .checkpoint import checkpoint_config, evaluated_at, fingerprint
from .log import EVALUATION
from .optim import learning_rate, total_steps

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
    "model.feature_cache",
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


def check_unfinished(resumed: Resumed, config: Config, annotations: Annotations, total: int) -> None:
    """Raise UserError if nothing of the run is left to do, or if it began with other data."""
    file, content = resumed
    if content.get("data") != fingerprint(annotations):
        raise UserError(f"{file}: the training images or their boxes are not those that the run began with")
    step = content["step"]
    awaits_evaluation = step == total and config.train.eval_every > 0 and evaluated_at(content) < step
    if step >= total and not awaits_evaluation:
        raise UsageError(
            f"--resume: {file} is of a finished run: step {step} of {total}; "
            "to train longer, raise --train.epochs or --train.iterations"
        )


def schedule_change(resumed: Resumed, config: Config, images: int) -> str | None:
    """What another length does to the learning rate, whose course is spread over the whole run; None if nothing."""
    step, before = resumed.content["step"], checkpoint_config(resumed.content, resumed.file)
    old_total, new_total = total_steps(before, images), total_steps(config, images)
    old, new = learning_rate(step, old_total, before.optim), learning_rate(step, new_total, config.optim)
    if old == new:
        return None
    return (
        f"the schedule of the learning rate now spans {new_total} steps instead of {old_total}: "
        f"at step {step + 1} the rate goes from {old:g} to {new:g}"
    )


def cut_rows(file: Path, step: int, evaluated_at: int) -> None:
    """Keep the rows of a metrics file up to a step, and to the last evaluation: those after it are written again."""
    if not file.exists():
        return
    kept = [line for line in file.read_text(encoding="utf-8").splitlines() if _is_row_up_to(line, step, evaluated_at)]
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    os.replace(temporary, file)


def _is_row_up_to(line: str, step: int, evaluated_at: int) -> bool:
    try:
        row = json.loads(line)
        is_evaluation = any(name.startswith(EVALUATION) for name in row)
        return bool(row["step"] <= (min(step, evaluated_at) if is_evaluation else step))
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
