"""`torch.compile(fullgraph=True)`: one dynamic graph for any number of boxes and any level shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from oracles import assert_same_bits
from samples import STRIDES, Sample, registration_inputs, training_batch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from pseudo_iou_ops import Assignment, AssignRule, PointAssigner, assign, pack_padded, presets

RULES = {
    "paper": presets.paper,
    "fcos": presets.fcos,
    "band": AssignRule(ignore_threshold=0.2, order="filter_then_choose", normalize_by_stride=True),
}

# Image size and boxes of each image. Everything changes between the first two, so that the second graph is
# dynamic in all of it. No size is 0 or 1, for which dynamo makes a graph of its own; and no two sizes of the
# first call are equal to each other or to the 4 of a box, which it would take for a rule.
BATCHES = [
    ((640, 896), (9, 13)),
    ((384, 640), (30, 17)),
    ((512, 640), (2, 5)),
    ((256, 384), (3, 11)),
    ((640, 640), (2, 2)),
    ((448, 512), (100, 60)),
]


def lists(sample: Sample) -> tuple[list[Tensor], list[Tensor]]:
    counts = (sample.offsets[1:] - sample.offsets[:-1]).tolist()
    return list(sample.boxes.split(counts)), list(sample.labels.split(counts))


def features(sample: Sample) -> list[Tensor]:
    """Maps whose sizes are the level shapes, as a detector's head has them."""
    return [torch.empty(1, 1, *shape) for shape in sample.level_shapes]


def shapes_of(maps: list[Tensor]) -> list[tuple[int, int]]:
    return [(level.shape[-2], level.shape[-1]) for level in maps]


def assert_compiles_once(
    function: Callable[..., Assignment], inputs: Callable[[Sample], Any], rule: AssignRule
) -> None:
    """A static and a dynamic graph, no third, and the bits of eager mode from both."""
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(function, fullgraph=True, backend=counter)
    for number, (size, counts) in enumerate(BATCHES):
        sample = training_batch(size, counts, rule=rule, seed=number)
        assert_same_bits(compiled(*inputs(sample)), assign(*sample.args()))
    assert counter.frame_count <= 2, f"{counter.frame_count} graphs"


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_packed_boxes(rule: AssignRule) -> None:
    def function(maps: list[Tensor], boxes: Tensor, labels: Tensor, offsets: Tensor) -> Assignment:
        return assign(boxes, labels, offsets, shapes_of(maps), STRIDES, rule)

    assert_compiles_once(function, lambda s: (features(s), s.boxes, s.labels, s.offsets), rule)


def test_module_with_packed_boxes() -> None:
    assigner = PointAssigner(STRIDES, presets.authors_code)

    def function(maps: list[Tensor], boxes: Tensor, labels: Tensor, offsets: Tensor) -> Assignment:
        return assigner(shapes_of(maps), boxes, labels, offsets)

    assert_compiles_once(function, lambda s: (features(s), s.boxes, s.labels, s.offsets), presets.authors_code)


def test_module_with_lists() -> None:
    assigner = PointAssigner(STRIDES)

    def function(maps: list[Tensor], boxes: list[Tensor], labels: list[Tensor]) -> Assignment:
        return assigner(shapes_of(maps), boxes, labels)

    assert_compiles_once(function, lambda s: (features(s), *lists(s)), presets.paper)


def test_everything_dynamic_from_the_first_call() -> None:
    """`dynamic=True`: one graph, and a recompilation is an error."""

    def function(maps: list[Tensor], boxes: Tensor, labels: Tensor, offsets: Tensor) -> Assignment:
        return assign(boxes, labels, offsets, shapes_of(maps), STRIDES)

    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend="aot_eager")
    with torch._dynamo.config.patch(error_on_recompile=True):
        for number, (size, counts) in enumerate(BATCHES):
            sample = training_batch(size, counts, seed=number)
            actual = compiled(features(sample), sample.boxes, sample.labels, sample.offsets)
            assert_same_bits(actual, assign(*sample.args()))


def test_changing_number_of_images() -> None:
    compiled = torch.compile(assign, fullgraph=True, dynamic=True, backend="aot_eager")
    with torch._dynamo.config.patch(error_on_recompile=True):
        for images in (2, 3, 7):
            sample = training_batch((64, 96), (4,) * images)
            assert_same_bits(compiled(*sample.args()), assign(*sample.args()))


@pytest.mark.parametrize("counts", [(0, 0), (1, 0), (1,), (0,), ()], ids=str)
def test_few_boxes(counts: tuple[int, ...]) -> None:
    compiled = torch.compile(assign, fullgraph=True, backend="aot_eager")
    for sample in (training_batch((64, 96), (4, 3)), training_batch((64, 96), counts)):
        assert_same_bits(compiled(*sample.args()), assign(*sample.args()))


@pytest.mark.parametrize("sample", registration_inputs(), ids=str)
def test_samples(sample: Sample) -> None:
    compiled = torch.compile(assign, fullgraph=True, backend="aot_eager")
    assert_same_bits(compiled(*sample.args(), **sample.kwargs()), assign(*sample.args(), **sample.kwargs()))


def test_padded_boxes() -> None:
    """The YOLO family's layout keeps every shape: one graph from the start."""

    def function(boxes: Tensor, labels: Tensor, mask: Tensor) -> Assignment:
        return assign(*pack_padded(boxes, labels, mask), [(8, 12), (4, 6)], (8, 16))

    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    with torch._dynamo.config.patch(error_on_recompile=True):
        for seed in range(3):
            sample = training_batch((64, 96), (5, 5, 5), seed=seed)
            boxes, labels = sample.boxes.view(3, 5, 4), sample.labels.view(3, 5)
            mask = torch.rand(3, 5, generator=torch.Generator().manual_seed(seed)) > 0.4
            assert_same_bits(compiled(boxes, labels, mask), function(boxes, labels, mask))


def test_out() -> None:
    sample = training_batch((64, 96), (5, 3))
    expected = assign(*sample.args())
    out = Assignment(*(torch.full_like(field, 7) for field in expected))

    def function(boxes: Tensor, out: Assignment) -> Assignment:
        return assign(boxes, *sample.args()[1:], out=out)

    torch.compile(function, fullgraph=True, backend="aot_eager")(sample.boxes, out)
    assert_same_bits(out, expected)


def test_between_other_operations_and_their_gradients() -> None:
    """The op inside a loss: its results are constants, everything around them is differentiated."""
    sample = training_batch((64, 96), (5, 3))

    def loss(prediction: Tensor, boxes: Tensor) -> Tensor:
        target = assign(boxes * 2, *sample.args()[1:])
        weight = target.pseudo_iou[..., None] / target.num_pos.sum().clamp(min=1)
        return ((prediction - target.ltrb).abs() * weight).sum()

    gradients = []
    for function in (loss, torch.compile(loss, fullgraph=True, backend="aot_eager")):
        prediction = torch.ones(2, sample.num_points, 4, requires_grad=True)
        boxes = sample.boxes.clone().requires_grad_()
        function(prediction, boxes).backward()
        assert boxes.grad is None
        gradients.append(prediction.grad)
    assert torch.equal(*gradients)


def test_inductor() -> None:
    compiled = torch.compile(assign, fullgraph=True, dynamic=True)
    for size, counts in BATCHES[:2]:
        sample = training_batch(size, counts, rule=dataclasses.replace(presets.paper, ignore_threshold=0.2))
        assert_same_bits(compiled(*sample.args()), assign(*sample.args()))
