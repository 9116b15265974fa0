"""Peak memory where boxes choose points: nothing of boxes times points, which would be 1.3 GB a table here."""

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
from samples import training_batch
from task_aligned_samples import with_predictions
from pseudo_iou_ops import Atss, assign_top_k, presets

def status(key):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":"))

def call(sample, out=None):
    kwargs = {{}} if isinstance(rule, Atss) else sample.kwargs()
    return assign_top_k(*sample.args()[:5], rule, **kwargs, out=out)

torch.set_num_threads(2)
rule = presets.{preset}
strides = (8.0, 16.0, 32.0)
call(with_predictions(training_batch((64, 64), [50] * 2, strides=strides), presets.tood))  # starts the threads
sample = with_predictions(training_batch((640, 640), [5000] * 8, strides=strides), presets.tood)
out = call(sample)
with open("/proc/self/clear_refs", "w") as clear_refs:
    clear_refs.write("5")
before = status("VmRSS")
call(sample, out)
print(status("VmHWM") - before, *out.matched.shape, len(out.pos_per_box), int(out.num_pos.sum()))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's peak memory counters")
@pytest.mark.parametrize("preset", ["tood", "pp_yoloe", "pp_yoloe_atss"])
def test_peak_beyond_the_outputs_is_below_16_mib(preset: str) -> None:
    script = SCRIPT.format(tests=str(Path(__file__).parents[1]), preset=preset)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    peak, images, points, boxes, positives = map(int, result.stdout.split())
    assert (images, points, boxes) == (8, 8400, 40_000)
    assert positives > 1000
    assert peak < 16 << 20, f"{peak / 2**20:.1f} MiB beyond the outputs"
