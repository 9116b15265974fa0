"""The benchmark of a training step, on a tiny network."""

from __future__ import annotations

import pytest
import torch

from benchmarks import contest, environment, step
from benchmarks.workloads import WORKLOADS

CPU = torch.device("cpu")


def test_the_step_of_the_detector() -> None:
    pytest.importorskip("detector.engine.train")
    batch = WORKLOADS["coco"].shrunk(images=1, side=64, most_boxes=3).batch(0)
    rules = step.time_rules(batch, "resnet18", steps=1)
    assert set(rules) == set(step.PAPER_RULES)
    assert all(set(phases) == set(step.PHASES) and min(phases.values()) > 0 for phases in rules.values())
    seconds, loads = step.time_assignment(batch, contest.Settings(CPU, rounds=2))
    assert sorted(seconds) == sorted(step.SHOWN)
    assert len(loads) == 2
    assert all(value > 0 for value in seconds.values())
    facts = environment.describe(CPU, ["step"])
    text = step.render({"environment": facts, "step": "two images", "rules": rules, "assignment": seconds})
    assert all(name in text for name in (*step.SHOWN, *step.PAPER_RULES))
