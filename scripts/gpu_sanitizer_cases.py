"""The small calls that compute-sanitizer watches, on the current GPU: a sanitizer slows them many times over."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import torch  # noqa: E402
from samples import registration_inputs, sample_inputs  # noqa: E402

from pseudo_iou_ops import assign, centerness_loss, ltrb_iou_loss, quality_focal_loss, sigmoid_focal_loss  # noqa: E402

CROWDED = ("crowd", "more_boxes_than_a_tile_holds", "sizes_around_a_tile")

crowded = [sample for sample in sample_inputs() if sample.name in CROWDED]
for sample in [*registration_inputs(), *crowded]:
    for offsets_device in ("cuda", "cpu"):
        on_gpu = sample.to("cuda", offsets_device=offsets_device)
        out = assign(*on_gpu.args(), **on_gpu.kwargs())
        assign(*on_gpu.args(), **on_gpu.kwargs(), out=out)

# Levels in both memory formats, a class count that no vector divides, and every kind of label.
random = torch.Generator(device="cuda").manual_seed(0)
for dtype in (torch.float32, torch.bfloat16, torch.float16):
    for classes in (3, 80):
        levels = [
            torch.randn(2, classes, 5, 7, device="cuda", generator=random),
            torch.randn(2, classes, 2, 3, device="cuda"),
        ]
        levels = [level.to(dtype).requires_grad_() for level in levels]
        last = [level.detach().to(memory_format=torch.channels_last).requires_grad_() for level in levels]
        labels = torch.randint(-2, classes, (2, 41), device="cuda", generator=random)
        quality = torch.rand(2, 41, device="cuda", generator=random)
        for logits in (levels, last):
            sigmoid_focal_loss(logits, labels).backward()
            quality_focal_loss(logits, labels, quality, beta=1.5).backward()
    center = [torch.randn(2, 41, 1, device="cuda", dtype=dtype, requires_grad=True)]
    centerness_loss(center, labels, quality).backward()
    distances = (torch.rand(2, 41, 4, device="cuda", generator=random) * 50).to(dtype).requires_grad_()
    for kind in ("iou", "giou"):
        ltrb_iou_loss(distances, torch.rand(2, 41, 4, device="cuda") * 50, labels, quality, kind=kind).backward()
torch.cuda.synchronize()
print("all cases ran")
