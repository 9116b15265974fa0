"""A training step on a GPU: nothing is read back by the host, and all of it fits in a CUDA graph."""

from __future__ import annotations

import copy

import pytest
import torch
from gpu_tools import synchronisation_is_an_error

from detector.config import Config
from detector.data.loader import Batch
from detector.engine.log import LogWindow
from detector.engine.optimizer import build_optimizer
from detector.engine.step import train_step
from detector.engine.train import build_model

pytestmark = pytest.mark.gpu

CLASSES = 3


def test_a_step_never_waits_for_the_device(config: Config, batch: Batch) -> None:
    device = torch.device("cuda")
    model = build_model(config, CLASSES, device)
    optimizer = build_optimizer(model, config)
    batch = batch.to(device)
    train_step(model, optimizer, batch)  # the optimiser makes its state, cuDNN chooses its algorithms
    window = LogWindow()
    with synchronisation_is_an_error():
        window.add(*train_step(model, optimizer, batch), batch)


def test_a_step_is_captured_and_replayed(config: Config, batch: Batch) -> None:
    device = torch.device("cuda")
    model = build_model(config, CLASSES, device)
    # SGD keeps no counter of its own on the host; AdamW would have to be made capturable.
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    batch = batch.to(device)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            train_step(model, optimizer, batch)
    torch.cuda.current_stream().wait_stream(side)
    eager_model = copy.deepcopy(model)
    eager_optimizer = torch.optim.SGD(eager_model.parameters(), lr=0.01, momentum=0.9)
    eager_optimizer.load_state_dict(optimizer.state_dict())

    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        losses, assignment, _ = train_step(model, optimizer, batch)
    for _ in range(3):
        graph.replay()
        expected, expected_assignment, _ = train_step(eager_model, eager_optimizer, batch)
        assert torch.equal(assignment.labels, expected_assignment.labels)
        for name, loss in expected.items():
            torch.testing.assert_close(losses[name], loss, rtol=1e-3, atol=1e-4)
