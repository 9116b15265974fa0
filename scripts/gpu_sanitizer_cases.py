"""Small calls of everything, each compared with the CPU's (there, labels with the reference's): the smoke test of
gpu_check.sh and, because a sanitizer slows a program many times over, what compute-sanitizer watches.

    python scripts/gpu_sanitizer_cases.py cuda|cpu
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import torch  # noqa: E402
from loss_samples import HeadSample, box_sample, class_sample  # noqa: E402
from oracles import assert_same_bits  # noqa: E402
from samples import Sample, registration_inputs, sample_inputs  # noqa: E402
from top_k_samples import atss_registration_inputs  # noqa: E402
from torch import Tensor  # noqa: E402

from pseudo_iou_ops import (  # noqa: E402
    assign,
    assign_top_k,
    centerness_loss,
    decode_topk,
    level_points,
    ltrb_iou_loss,
    quality_focal_loss,
    reference,
    reference_top_k,
    sigmoid_focal_loss,
)

CROWDED = ("crowd", "more_boxes_than_a_tile_holds", "sizes_around_a_tile")

# A level whose points fill 16 bytes in every dtype, one that is several tiles, and one that fills nothing.
SHAPES = ((16, 24), (32, 48), (3, 5))
STRIDES = (8, 16, 32)
UNITS = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}

Loss = Callable[[list[Tensor], HeadSample], Tensor]


def check_labels(device: str) -> None:
    crowded = [sample for sample in sample_inputs() if sample.name in CROWDED]
    for sample in [*registration_inputs(), *crowded]:
        check_sample(sample, device, assign, reference.assign)
    for sample in atss_registration_inputs():
        check_sample(sample, device, assign_top_k, reference_top_k.assign_top_k)


def check_sample(sample: Sample, device: str, op: Callable[..., Any], reference_op: Callable[..., Any]) -> None:
    compute = reference_op if device == "cpu" else op
    expected = compute(*sample.args(), **sample.kwargs())
    for offsets_device in {device, "cpu"}:
        moved = sample.to(device, offsets_device=offsets_device)
        out = op(*moved.args(), **moved.kwargs())
        assert_same_bits(out, expected)
        assert_same_bits(op(*moved.args(), **moved.kwargs(), out=out), expected)


def losses() -> Iterator[tuple[Loss, HeadSample]]:
    """Levels in both memory formats, class counts that fill vectors and one that does not, every kind of label."""
    for dtype in UNITS:
        for classes in (3, 80):
            for layout in ("planes", "channels_last", "flat"):
                sample = class_sample(layout, dtype, classes, SHAPES)
                yield lambda levels, s: sigmoid_focal_loss(levels, s.labels), sample
                yield lambda levels, s: quality_focal_loss(levels, s.labels, s.quality, beta=1.5), sample
        centers = class_sample("planes", dtype, 1, SHAPES)
        yield lambda levels, s: centerness_loss(levels, s.labels, s.quality), centers
        for kind in ("iou", "giou"):
            boxes = box_sample("flat", dtype, SHAPES)
            yield lambda levels, s, kind=kind: ltrb_iou_loss(levels, s.quality, s.labels, kind=kind), boxes


def check_losses(device: str) -> None:
    for loss, sample in losses():
        (value, gradients), (expected, expected_gradients) = (step(loss, sample.to(d)) for d in (device, "cpu"))
        unit = UNITS[sample.levels[0].dtype]
        torch.testing.assert_close(value.cpu(), expected, rtol=1e-5, atol=0)
        for gradient, wanted in zip(gradients, expected_gradients, strict=True):
            torch.testing.assert_close(gradient.cpu(), wanted, rtol=unit, atol=unit)


def step(loss: Loss, sample: HeadSample) -> tuple[Tensor, list[Tensor]]:
    """Twice the loss, so that the kernel that scales the gradients has something to do."""
    leaves = [level.detach().requires_grad_() for level in sample.levels]
    value = 2 * loss(leaves, sample)
    value.backward()
    return value.detach(), [leaf.grad for leaf in leaves]


def check_decoding(device: str) -> None:
    points = level_points(SHAPES, STRIDES)
    for layout in ("planes", "flat"):
        heads = [class_sample(layout, shapes=SHAPES), box_sample(layout, shapes=SHAPES)]
        heads.append(class_sample(layout, classes=1, shapes=SHAPES, seed=1))
        logits, boxes, centers = ([level.to(device) for level in head.levels] for head in heads)
        actual = decode_topk(logits, boxes, points.to(device), centers, 0.3, 50)
        expected = decode_topk(heads[0].levels, heads[1].levels, points, heads[2].levels, 0.3, 50)
        for mine, wanted in zip(actual, expected, strict=True):
            torch.testing.assert_close(mine.cpu(), wanted, rtol=1e-5, atol=0)


if __name__ == "__main__":
    for check in (check_labels, check_losses, check_decoding):
        check(sys.argv[1])
    if sys.argv[1] == "cuda":
        torch.cuda.synchronize()
    print("all cases ran, with the expected results")
