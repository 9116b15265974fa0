"""The small calls that compute-sanitizer watches, on the current GPU: a sanitizer slows them many times over."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import torch  # noqa: E402
from samples import registration_inputs, sample_inputs  # noqa: E402

from pseudo_iou_ops import assign  # noqa: E402

CROWDED = ("crowd", "more_boxes_than_a_tile_holds", "sizes_around_a_tile")

crowded = [sample for sample in sample_inputs() if sample.name in CROWDED]
for sample in [*registration_inputs(), *crowded]:
    for offsets_device in ("cuda", "cpu"):
        on_gpu = sample.to("cuda", offsets_device=offsets_device)
        out = assign(*on_gpu.args(), **on_gpu.kwargs())
        assign(*on_gpu.args(), **on_gpu.kwargs(), out=out)
torch.cuda.synchronize()
print("all cases ran")
