"""A step's forward pass, assignment and losses are one graph for the compiler."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from detector_samples import changed
from torch import Tensor

from detector.assign_config import KINDS
from detector.config import Config
from detector.data.loader import Batch
from detector.engine.step import forward
from detector.engine.train import build_model

CPU = torch.device("cpu")
CLASSES = 3


def total_loss(model: torch.nn.Module, batch: Batch) -> Tensor:
    losses, _ = forward(model, batch)  # type: ignore[arg-type]
    return torch.stack(list(losses.values())).sum()


@pytest.mark.parametrize(
    "changes", [{}, {"model": {"centerness": True}}, *({"assign": {"kind": k}} for k in KINDS[1:])]
)
def test_loss_and_gradients_of_one_graph(config: Config, batch: Batch, changes: dict[str, dict[str, Any]]) -> None:
    config = changed(config, changes)
    eager = build_model(config, CLASSES, CPU)
    compiled = copy.deepcopy(eager)
    step = torch.compile(total_loss, backend="aot_eager", fullgraph=True)  # fullgraph: a break is an error
    expected, given = total_loss(eager, batch), step(compiled, batch)
    torch.testing.assert_close(given, expected)
    expected.backward()
    given.backward()
    for (name, parameter), other in zip(eager.named_parameters(), compiled.parameters(), strict=True):
        if parameter.requires_grad:
            assert other.grad is not None, name
            assert parameter.grad is not None
            tolerance = 1e-5 * max(parameter.grad.abs().max().item(), 1e-6)
            torch.testing.assert_close(other.grad, parameter.grad, rtol=1e-3, atol=tolerance)
