"""Checkpoints that are never half-written and load without running code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from ..config import Config, config_from_dict, config_to_dict
from ..data import Annotations
from ..errors import UserError
from ..model import Detector

FORMAT = 1


def save_checkpoint(file: Path, **content: Any) -> None:
    """Write tensors, numbers, strings, lists, dicts; ``file`` holds old or new content, never a part."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as stream:
            torch.save({"format": FORMAT, **content}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load_checkpoint(file: Path) -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote; raises UserError that names the file."""
    if not file.is_file():
        raise UserError(f"no checkpoint {str(file)!r}")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and storage errors alike
        raise UserError(f"{file}: not a checkpoint: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{file}: not a checkpoint of this detector")
    return content


def training_state(
    model: Detector, optimizer: torch.optim.Optimizer, step: int, annotations: Annotations
) -> dict[str, Any]:
    """What a run is continued from, and the classes that its labels stand for."""
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "config": config_to_dict(model.config),
        "class_names": list(annotations.class_names),
        "category_ids": annotations.category_ids.tolist(),
    }


def checkpoint_config(content: dict[str, Any], file: Path) -> Config:
    return config_from_dict(content["config"], source=str(file))


def restore_detector(content: dict[str, Any], config: Config, file: Path) -> Detector:
    """The trained model; ``config`` may differ from the checkpoint's in everything but the network."""
    model = Detector(config, len(content["class_names"]), load_weights=False)
    try:
        model.load_state_dict(content["model"])
    except RuntimeError:
        raise UserError(f"{file}: the weights are not those of the network that --model.* describes") from None
    return model
