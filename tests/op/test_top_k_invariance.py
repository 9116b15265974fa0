"""Boxes choose points: what must not matter, and the memory that a call may take."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from oracles import assert_same_bits
from samples import training_batch
from top_k_samples import RULES, atss_inputs

from pseudo_iou_ops import Atss, assign_top_k


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_number_of_threads(rule: Atss) -> None:
    """Crowds of more boxes than a task holds, so that threads claim the same points."""
    sample = replace(training_batch((512, 640), (400, 0, 7, 100)), rule=rule)
    torch.set_num_threads(1)
    alone = assign_top_k(*sample.args())
    for threads in (2, 3, 8):
        torch.set_num_threads(threads)
        for _ in range(5):
            assert_same_bits(assign_top_k(*sample.args()), alone)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_an_image_alone_and_in_a_batch(rule: Atss) -> None:
    sample = replace(training_batch((512, 640), (40, 0, 7, 100)), rule=rule)
    whole = assign_top_k(*sample.args())
    for image, (begin, end) in enumerate(pairwise(sample.offsets.tolist())):
        offsets = torch.tensor([0, end - begin])
        alone = assign_top_k(sample.boxes[begin:end], sample.labels[begin:end], offsets, *sample.args()[3:])
        matched = torch.where(alone.matched >= 0, alone.matched + begin, alone.matched)
        one = slice(image, image + 1)
        assert_same_bits(
            alone._replace(matched=matched), (*(field[one] for field in whole[:6]), whole.pos_per_box[begin:end])
        )


def test_counts_are_those_of_the_matches() -> None:
    positives = 0
    for sample in atss_inputs():
        out = assign_top_k(*sample.args(), **sample.kwargs())
        is_positive = out.matched >= 0
        positives += int(is_positive.sum())
        assert torch.equal(out.num_pos, is_positive.sum(dim=1)), sample.name
        counts = torch.bincount(out.matched[is_positive], minlength=sample.boxes.shape[0])
        assert torch.equal(out.pos_per_box, counts), sample.name
        assert torch.equal(out.labels[is_positive], sample.labels[out.matched[is_positive]]), sample.name
        assert (out.score == is_positive).all(), sample.name
        for field in (out.ltrb, out.iou):
            assert not field[~is_positive].any(), sample.name
            assert field.isfinite().all(), sample.name
    assert positives > 1000


# In a process of its own, so that no earlier peak hides this one. Linux resets a process's peak on demand.
SCRIPT = """
import sys
import torch
sys.path.insert(0, {tests!r})
from dataclasses import replace
from pseudo_iou_ops import Atss, SimOta, SoftLabel, TaskAligned, assign_top_k
from samples import training_batch
from dynamic_k_samples import with_objectness
from task_aligned_samples import with_predictions

def status(key):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":"))

torch.set_num_threads(2)
rule = {rule}
make = {{Atss: replace, SimOta: with_objectness}}.get(type(rule), with_predictions)
small = make(training_batch((256, 256), [50] * 2), rule=rule)
assign_top_k(*small.args(), **small.kwargs())  # starts the threads
sample = make(training_batch((640, 640), [5000] * 8, strides=(8.0, 16.0, 32.0)), rule=rule)
assert sample.num_points == 8400
with open("/proc/self/clear_refs", "w") as clear_refs:
    clear_refs.write("5")
before = status("VmRSS")
out = assign_top_k(*sample.args(), **sample.kwargs())
print(status("VmHWM") - before - sum(field.nbytes for field in out))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's peak memory counters")
@pytest.mark.parametrize(
    "rule",
    [
        *("Atss()", "Atss(among='all')", "TaskAligned()", "TaskAligned(among='holders', keep=1)"),
        *("SimOta()", "SoftLabel()"),
    ],
)
def test_memory_does_not_grow_with_points_times_boxes(rule: str) -> None:
    """A table of one byte a pair of 5,000 boxes and 8,400 points would be 42 MB an image."""
    script = SCRIPT.format(tests=str(Path(__file__).parents[1]), rule=rule)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 16 * 2**20, f"{int(result.stdout) / 2**20:.1f} MiB beyond the outputs"
