"""A training step on a GPU: nothing is read back by the host, and all of it fits in a CUDA graph."""

from __future__ import annotations

import copy

import pytest
import torch
from gpu_tools import synchronisation_is_an_error

from detector.config import Config
from detector.data.loader import Batch
from detector.engine.checkpoint import TrainingState
from detector.engine.log import LogWindow
from detector.engine.step import train_step
from detector.engine.train import build_model, new_state

pytestmark = pytest.mark.gpu

CLASSES = 3


def test_a_step_never_waits_for_the_device(config: Config, batch: Batch) -> None:
    device = torch.device("cuda")
    state = new_state(config, CLASSES, device)
    batch = batch.to(device)
    # The optimiser makes its state, and cuDNN chooses its algorithms.
    _, previous, _ = train_step(state, batch)
    window = LogWindow()
    with synchronisation_is_an_error():
        window.add(*train_step(state, batch, previous=previous), batch)


def test_a_step_is_captured_and_replayed(config: Config, batch: Batch) -> None:
    device = torch.device("cuda")
    model = build_model(config, CLASSES, device)
    # SGD keeps no counter of its own on the host; AdamW would have to be made capturable.
    state = TrainingState(model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9))
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
    eager = TrainingState(eager_model, eager_optimizer)

    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        losses, assignment, _ = train_step(state, batch)
    for _ in range(3):
        graph.replay()
        expected, expected_assignment, _ = train_step(eager, batch)
        assert torch.equal(assignment.labels, expected_assignment.labels)
        for name, loss in expected.items():
            torch.testing.assert_close(losses[name], loss, rtol=1e-3, atol=1e-4)
