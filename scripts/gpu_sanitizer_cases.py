"""The small calls that compute-sanitizer watches: every named case and a few rules, on the current GPU."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import torch  # noqa: E402
from samples import sample_inputs  # noqa: E402

from pseudo_iou_ops import assign  # noqa: E402

for sample in sample_inputs():
    for offsets_device in ("cuda", "cpu"):
        on_gpu = sample.to("cuda", offsets_device=offsets_device)
        out = assign(*on_gpu.args(), **on_gpu.kwargs())
        assign(*on_gpu.args(), **on_gpu.kwargs(), out=out)
torch.cuda.synchronize()
print("all cases ran")
