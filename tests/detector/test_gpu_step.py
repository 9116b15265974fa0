"""A training step on a GPU: nothing is read back by the host, and all of it fits in a CUDA graph."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from detector_samples import FAMILIES, changed
from gpu_tools import synchronisation_is_an_error

from detector.config import Config
from detector.data.loader import Batch
from detector.engine.checkpoint import TrainingState
from detector.engine.log import LogWindow
from detector.engine.step import train_step
from detector.engine.train import build_model, new_state

pytestmark = pytest.mark.gpu

CLASSES = 3
EVERY_FAMILY = pytest.mark.parametrize("family", [pytest.param({}, id="points"), *FAMILIES])


@EVERY_FAMILY
def test_a_step_never_waits_for_the_device(config: Config, batch: Batch, family: dict[str, dict[str, Any]]) -> None:
    device = torch.device("cuda")
    config = changed(config, family)
    state = new_state(config, CLASSES, device)
    state.step = config.assign.initial_iterations  # from here on the family's own rule assigns
    batch = batch.to(device)
    # The optimiser makes its state, and cuDNN chooses its algorithms.
    _, previous, _ = train_step(state, batch)
    window = LogWindow()
    with synchronisation_is_an_error():
        window.add(*train_step(state, batch, previous=previous), batch)


@EVERY_FAMILY
def test_a_step_is_captured_and_replayed(config: Config, batch: Batch, family: dict[str, dict[str, Any]]) -> None:
    device = torch.device("cuda")
    config = changed(config, family)
    model, first = build_model(config, CLASSES, device), config.assign.initial_iterations
    # SGD keeps no counter of its own on the host; AdamW would have to be made capturable.
    state = TrainingState(model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), step=first)
    batch = batch.to(device)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            train_step(state, batch)
    torch.cuda.current_stream().wait_stream(side)
    eager_model = copy.deepcopy(model)
    eager_optimizer = torch.optim.SGD(eager_model.parameters(), lr=0.01, momentum=0.9)
    eager_optimizer.load_state_dict(state.optimizer.state_dict())
    eager = TrainingState(eager_model, eager_optimizer, step=first)

    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        losses, assignment, _ = train_step(state, batch)
    # cuDNN may sum gradients in any order. A choice by predictions can then change from the second step on.
    for _ in range(1 if config.assign.reads_predictions else 3):
        graph.replay()
        expected, expected_assignment, _ = train_step(eager, batch)
        assert torch.equal(assignment.labels, expected_assignment.labels)
        for name, loss in expected.items():
            torch.testing.assert_close(losses[name], loss, rtol=1e-3, atol=1e-4)
