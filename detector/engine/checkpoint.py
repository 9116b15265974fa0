"""The state of a run, and checkpoints of it that are never half-written and load without running code."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.amp.grad_scaler import GradScaler
from torch.optim.swa_utils import AveragedModel

from ..config import Config, config_from_dict, config_to_dict
from ..data import Annotations
from ..errors import UserError, one_line
from ..model import Detector
from ..torch_file import load_torch_file

FORMAT = 2
LEFTOVER = re.compile(r"\..+\.pt\.\d+")


def save_checkpoint(file: Path, **content: Any) -> None:
    """Write tensors, numbers, strings, lists, dicts; ``file`` holds old or new content, never a part.

    Raises:
        UserError: the file can not be written, for want of room or of permission.
    """
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as stream:
            torch.save({"format": FORMAT, **content}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, (OSError, RuntimeError)):  # torch's writer turns the one into the other
            raise UserError(f"{file}: can not be written: {one_line(error)}") from error
        raise


def load_checkpoint(file: Path) -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote; raises UserError that names the file."""
    if not file.is_file():
        raise UserError(f"no checkpoint {str(file)!r}")
    content = load_torch_file(file, "a checkpoint")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{file}: not a checkpoint of this detector")
    return content


def remove_leftovers(folder: Path) -> None:
    """Delete what saves that were killed left behind."""
    for file in folder.glob(".*.pt.*"):
        if LEFTOVER.fullmatch(file.name):
            file.unlink(missing_ok=True)


def keep_checkpoint(file: Path, name: str) -> None:
    """Give a checkpoint a second name in its folder, which later saves under the first leave as it is."""
    temporary = file.with_name(f".{name}.{os.getpid()}")
    try:
        try:
            os.link(file, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(file, temporary)
        os.replace(temporary, file.with_name(name))
    finally:
        # Two names of one file: the replacement does nothing, and the temporary name stays.
        temporary.unlink(missing_ok=True)


@dataclass
class TrainingState:
    """A run between two steps; its :meth:`content`, restored, continues it bit for bit."""

    model: Detector
    optimizer: torch.optim.Optimizer
    scaler: GradScaler = field(default_factory=lambda: GradScaler(enabled=False))
    average: AveragedModel | None = None
    step: int = 0
    """How many steps were taken."""
    best: float | None = None
    """The best evaluation so far."""
    evaluated_at: int = 0
    """How many steps were taken when the network was last evaluated."""

    def evaluated(self) -> Detector:
        """The network to evaluate: the average's, if there is one."""
        return self.model if self.average is None else self.average.module  # type: ignore[return-value]

    def content(self, annotations: Annotations) -> dict[str, Any]:
        """What a run is continued from, and the classes that its labels stand for.

        No generator is saved, as no step draws from one: the order of the images, their augmentation and the
        learning rate are functions of the seed and the step.
        """
        return {
            "model": self.model.state_dict(),
            "average": None if self.average is None else self.average.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "best": self.best,
            "evaluated_at": self.evaluated_at,
            "config": config_to_dict(self.model.config),
            "class_names": list(annotations.class_names),
            "category_ids": annotations.category_ids.tolist(),
            "data": fingerprint(annotations),
        }

    def restore(self, content: dict[str, Any], file: Path) -> None:
        """Take over what :meth:`content` gave; raises UserError if it is of another network."""
        try:
            self.model.load_state_dict(content["model"])
            self.optimizer.load_state_dict(content["optimizer"])
            self.scaler.load_state_dict(content["scaler"])
            if self.average is not None:
                self.average.module.load_state_dict(content["average"])
                self.average.n_averaged.fill_(content["step"])
            self.step, self.best = content["step"], content["best"]
            self.evaluated_at = evaluated_at(content)
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{file}: not a state of this run: {' '.join(str(error).split())[:200]}") from None


def evaluated_at(content: dict[str, Any]) -> int:
    """The step of the last evaluation; checkpoints that do not tell were written after theirs."""
    return int(content.get("evaluated_at", content["step"]))


def fingerprint(annotations: Annotations) -> str:
    """A digest of the images' ids and sizes and of their boxes; it does not depend on where the files lie."""
    digest = hashlib.blake2b(digest_size=16)
    for tensor in (
        annotations.image_ids,
        annotations.sizes,
        annotations.offsets,
        annotations.boxes,
        annotations.labels,
        annotations.ignore,
    ):
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def checkpoint_config(content: dict[str, Any], file: Path) -> Config:
    """The configuration of a run; raises UserError if ``content`` is not :meth:`TrainingState.content`'s."""
    if not _is_complete(content):
        raise UserError(f"{file}: not a checkpoint of a training run")
    return config_from_dict(content["config"], source=str(file))


def restore_detector(content: dict[str, Any], config: Config, file: Path) -> Detector:
    """The trained model, or the average of its weights if the run kept one.

    ``config`` may differ from the checkpoint's in everything but the network.
    """
    model = Detector(config, len(content["class_names"]), load_weights=False)
    try:
        model.load_state_dict(content.get("average") or content["model"])
    except RuntimeError:
        raise UserError(f"{file}: the weights are not those of the network that --model.* describes") from None
    return model


def _is_complete(content: dict[str, Any]) -> bool:
    """Whether all that is read without further checks is there, and of its type."""
    names, ids = content.get("class_names"), content.get("category_ids")
    return (
        isinstance(content.get("model"), dict)
        and isinstance(content.get("step"), int)
        and isinstance(names, list)
        and all(isinstance(name, str) for name in names)
        and isinstance(ids, list)
        and all(isinstance(number, int) for number in ids)
        and len(names) == len(ids) > 0
        and isinstance(content.get("config"), dict)
    )
