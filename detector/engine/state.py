"""All that changes while a run goes on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.amp.grad_scaler import GradScaler
from torch.optim.swa_utils import AveragedModel

from ..data import Annotations
from ..errors import UserError
from ..model import Detector
from .checkpoint import training_state


@dataclass
class TrainingState:
    """A run between two steps; its :meth:`content`, restored, continues it bit for bit."""

    model: Detector
    optimizer: torch.optim.Optimizer
    scaler: GradScaler
    average: AveragedModel | None
    step: int = 0
    """Steps taken."""
    best: float | None = None
    """The best evaluation so far."""

    def evaluated(self) -> Detector:
        """The network to evaluate: the average's, if there is one."""
        return self.model if self.average is None else self.average.module  # type: ignore[return-value]

    def content(self, annotations: Annotations) -> dict[str, Any]:
        return training_state(self.model, self.optimizer, self.step, annotations, self.scaler, self.average, self.best)

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
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{file}: not a state of this run: {' '.join(str(error).split())[:200]}") from None
