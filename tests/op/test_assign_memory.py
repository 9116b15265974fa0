"""Peak memory: no buffer of points times boxes, on a batch whose smallest one would be 350 MB."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# In a process of its own, so that no earlier peak hides this one. Linux resets a process's peak on demand.
SCRIPT = """
import sys
import torch
sys.path.insert(0, {tests!r})
from pseudo_iou_ops import AssignRule, assign
from samples import training_batch

def status(key):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":"))

torch.set_num_threads(2)
rule = AssignRule({switches})
assign(*training_batch((256, 256), [50] * 2, rule=rule).args())  # starts the threads
sample = training_batch((1024, 1024), [2000] * 8, rule=rule)
with open("/proc/self/clear_refs", "w") as clear_refs:
    clear_refs.write("5")
before = status("VmRSS")
out = assign(*sample.args())
print(status("VmHWM") - before, sum(field.nbytes for field in out))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's peak memory counters")
@pytest.mark.parametrize("switches", ["", "order='filter_then_choose'", "resolve='max_metric', ignore_threshold=0.2"])
def test_peak_is_below_three_times_the_outputs(switches: str) -> None:
    script = SCRIPT.format(tests=str(Path(__file__).parents[1]), switches=switches)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    peak, outputs = map(int, result.stdout.split())
    assert outputs > 6_900_000
    assert peak < 3 * outputs, f"peak of {peak / 1e6:.1f} MB for outputs of {outputs / 1e6:.1f} MB"
