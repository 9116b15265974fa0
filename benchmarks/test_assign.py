"""pytest-benchmark: the CPU op on every workload, and what a call costs besides its work.

pytest benchmarks                                   times
pytest benchmarks --benchmark-disable               runs each once and checks the result
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from pseudo_iou_ops import assign, presets, reference

sys.path.append(str(Path(__file__).resolve().parents[1]))

from benchmarks.assign import RULES
from benchmarks.peers import fused
from benchmarks.targets import difference
from benchmarks.workloads import WORKLOADS

pytest.importorskip("pytest_benchmark")


@pytest.mark.parametrize("form", ["fresh", "out="])
@pytest.mark.parametrize("workload", WORKLOADS)
def test_op(benchmark, workload: str, form: str) -> None:
    batch, rule = WORKLOADS[workload].batch(0), presets.authors_code
    call = fused.AssignInto() if form == "out=" else fused.assign
    targets = benchmark(call, batch, rule)
    assert difference(targets, fused.assign(batch, rule)) is None
    assert targets.num_pos.sum() > 0


@pytest.mark.parametrize("metric", RULES)
def test_metrics(benchmark, metric: str) -> None:
    batch, rule = WORKLOADS["coco"].batch(0), RULES[metric]
    targets = benchmark(fused.AssignInto(), batch, rule)
    assert difference(targets, fused.assign(batch, rule)) is None


@pytest.mark.parametrize("form", ["fresh", "out=", "checked by hand, op alone"])
def test_call_overhead(benchmark, form: str) -> None:
    """One box, one point: everything measured is overhead."""
    boxes, labels, offsets = torch.tensor([[0.0, 0, 8, 8]]), torch.tensor([3]), torch.tensor([0, 1])
    rule = presets.paper
    expected = reference.assign(boxes, labels, offsets, [(1, 1)], [8], rule)
    if form == "fresh":
        result = benchmark(assign, boxes, labels, offsets, [(1, 1)], [8], rule)
    elif form == "out=":
        result = benchmark(assign, boxes, labels, offsets, [(1, 1)], [8], rule, out=expected)
    else:
        op = torch.ops.pseudo_iou_ops.assign.default
        op_arguments = (boxes, labels, offsets, [1, 1], [8.0], 0.5, *rule.op_arguments, None, None, None)
        result = benchmark(op, *op_arguments)
    assert torch.equal(result[0], torch.zeros(1, 1, dtype=torch.int64))
    assert result[1].item() == 3
