"""The op called from two Python threads, from forked and spawned loader workers, and ten thousand times."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from assigned_batches import AssignedBatches
from oracles import assert_same_bits
from samples import training_batch
from torch.utils.data import DataLoader

from pseudo_iou_ops import AssignRule, assign, presets


def test_two_python_threads() -> None:
    rules = (presets.paper, AssignRule(resolve="max_metric", ignore_threshold=0.2))
    samples = [training_batch((256, 320), (40, 7), seed=seed, rule=rules[seed % 2]) for seed in range(8)]
    alone = [assign(*sample.args()) for sample in samples]
    with ThreadPoolExecutor(2) as threads:
        for _ in range(20):
            together = threads.map(lambda sample: assign(*sample.args()), samples)
            for given, expected in zip(together, alone, strict=True):
                assert_same_bits(given, expected)


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_loader_workers(start: str) -> None:
    """The parent has run its threads before: a fork inherits none of them."""
    data = AssignedBatches()
    expected = [data[index] for index in range(len(data))]
    loader = DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context=start, timeout=60)
    for given, wanted in zip(loader, expected, strict=True):
        for field, other in zip(given, wanted, strict=True):
            assert torch.equal(field, other)


SOAK = """
import sys
sys.path.insert(0, {tests!r})
import torch
from pseudo_iou_ops import PointAssigner, presets
from samples import STRIDES

def resident():
    with open("/proc/self/statm") as numbers:
        return int(numbers.read().split()[1]) * 4096

torch.set_num_threads(1)
random = torch.Generator().manual_seed(0)
assigner = PointAssigner(STRIDES, presets.authors_code)
shapes = [(16, 20), (8, 10), (4, 5), (2, 3), (1, 2)]

def calls(count):
    for call in range(count):
        boxes = [torch.rand(call % 23, 4, generator=random) * 160 for _ in range(2)]
        labels = [torch.zeros(len(image), dtype=torch.int64) for image in boxes]
        assigner(shapes, boxes, labels, ignore_boxes=boxes if call % 3 else None)

calls(1000)
before = resident()
calls(10000)
print(resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's memory counters")
def test_ten_thousand_calls_leave_memory_flat() -> None:
    script = SOAK.format(tests=str(Path(__file__).parents[1]))
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 4 << 20, f"{result.stdout.strip()} bytes more after 10,000 calls"
