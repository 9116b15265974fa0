"""Boxes choose points in a compiled, an exported and a fake call."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from dynamic_k_samples import sim_ota_registration_inputs, soft_label_registration_inputs, with_objectness
from oracles import assert_same_bits
from samples import LEVEL_SHAPES, STRIDES, Sample, op_call, training_batch
from task_aligned_samples import task_aligned_registration_inputs, with_predictions
from top_k_samples import PRESETS, atss_registration_inputs
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import Dim, export

from pseudo_iou_ops import Atss, SoftLabel, TaskAligned, TopKAssignment, assign_top_k, presets

SAMPLES: list[Sample] = [
    *atss_registration_inputs(),
    *task_aligned_registration_inputs(),
    *sim_ota_registration_inputs(),
    *soft_label_registration_inputs(),
]


@pytest.mark.parametrize("rule", PRESETS.values(), ids=PRESETS.keys())
def test_one_dynamic_graph(rule: Atss) -> None:
    """A static and a dynamic graph, no third, and the bits of eager mode from both."""

    def function(maps: list[Tensor], boxes: Tensor, labels: Tensor, offsets: Tensor) -> TopKAssignment:
        shapes = [(level.shape[-2], level.shape[-1]) for level in maps]
        return assign_top_k(boxes, labels, offsets, shapes, STRIDES, rule)

    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(function, fullgraph=True, backend=counter)
    batches = [((640, 896), (9, 13)), ((384, 640), (30, 17)), ((512, 640), (2, 5)), ((256, 384), (3, 11))]
    for number, (size, counts) in enumerate(batches):
        sample = replace(training_batch(size, counts, seed=number), rule=rule)
        maps = [torch.empty(1, 1, *shape) for shape in sample.level_shapes]
        result = compiled(maps, sample.boxes, sample.labels, sample.offsets)
        assert_same_bits(result, assign_top_k(*sample.args()))
    assert counter.frame_count <= 2, f"{counter.frame_count} graphs"


@pytest.mark.parametrize("rule", [presets.yolov8, presets.rtmdet], ids=["yolov8", "rtmdet"])
def test_one_dynamic_graph_with_predictions(rule: TaskAligned | SoftLabel) -> None:
    def function(box_maps: list[Tensor], score_maps: list[Tensor], *ground_truths: Tensor) -> TopKAssignment:
        shapes = [(level.shape[-2], level.shape[-1]) for level in box_maps]
        predictions = {"pred_boxes": box_maps, "scores": score_maps}
        return assign_top_k(*ground_truths, shapes, STRIDES, rule, **predictions)

    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(function, fullgraph=True, backend=counter)
    batches = [((640, 896), (9, 13)), ((384, 640), (30, 17)), ((512, 640), (2, 5))]
    for number, (size, counts) in enumerate(batches):
        sample = with_predictions(training_batch(size, counts, seed=number), rule, number, "maps")
        result = compiled(sample.pred_boxes, sample.scores, sample.boxes, sample.labels, sample.offsets)
        assert_same_bits(result, assign_top_k(*sample.args(), **sample.kwargs()))
    assert counter.frame_count <= 2, f"{counter.frame_count} graphs"


def test_one_dynamic_graph_with_objectness() -> None:
    def function(maps: list[list[Tensor]], *ground_truths: Tensor) -> TopKAssignment:
        shapes = [(level.shape[-2], level.shape[-1]) for level in maps[0]]
        predictions = dict(zip(("pred_boxes", "scores", "objectness"), maps, strict=True))
        return assign_top_k(*ground_truths, shapes, STRIDES, presets.yolox, **predictions)

    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(function, fullgraph=True, backend=counter)
    batches = [((640, 896), (9, 13)), ((384, 640), (30, 17)), ((512, 640), (2, 5))]
    for number, (size, counts) in enumerate(batches):
        batch = training_batch(size, counts, seed=number)
        sample = with_objectness(batch, presets.yolox, number, "maps", objectness="maps")
        maps = [sample.pred_boxes, sample.scores, sample.objectness]
        result = compiled(maps, sample.boxes, sample.labels, sample.offsets)
        assert_same_bits(result, assign_top_k(*sample.args(), **sample.kwargs()))
    assert counter.frame_count <= 2, f"{counter.frame_count} graphs"


class Targets(nn.Module):
    def forward(self, boxes: Tensor, labels: Tensor, offsets: Tensor) -> tuple[Tensor, ...]:
        return tuple(assign_top_k(boxes, labels, offsets, LEVEL_SHAPES, STRIDES, presets.atss))


@pytest.mark.parametrize("strict", [False, True], ids=["non_strict", "strict"])
def test_export_with_any_number_of_boxes(strict: bool) -> None:
    sample = training_batch((64, 96), (5, 3))
    count = Dim("num_boxes")
    program = export(
        Targets(),
        (sample.boxes, sample.labels, sample.offsets),
        dynamic_shapes={"boxes": {0: count}, "labels": {0: count}, "offsets": {}},
        strict=strict,
    )
    targets = [node.target for node in program.graph.nodes if node.op == "call_function"]
    assert torch.ops.pseudo_iou_ops.assign_atss.default in targets
    for counts in ((5, 3), (11, 40), (2, 0)):
        other = replace(training_batch((64, 96), counts, seed=7), rule=presets.atss)
        result = program.module()(other.boxes, other.labels, other.offsets)
        assert_same_bits(TopKAssignment(*result), assign_top_k(*other.args()))


def metadata(tensors: Any) -> list[tuple[Any, ...]]:
    return [(t.shape, t.dtype, t.stride(), t.layout, t.requires_grad) for t in tensors]


def fake(mode: FakeTensorMode, value: Any, device: str) -> Any:
    if isinstance(value, list):
        return [fake(mode, entry, device) for entry in value]
    if not isinstance(value, Tensor):
        return value
    with mode:
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=device)


@pytest.mark.parametrize(("device", "offsets_device"), [("cpu", "cpu"), ("cuda", "cpu"), ("cuda", "cuda")])
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_fake_outputs_are_like_the_real_ones(sample: Sample, device: str, offsets_device: str) -> None:
    op, args = op_call(sample)
    names = [argument.name for argument in op._schema.arguments]
    mode = FakeTensorMode()
    fakes = [
        fake(mode, value, offsets_device if name.endswith("offsets") else device)
        for name, value in zip(names, args, strict=True)
    ]
    with mode:
        outputs = op(*fakes)
    assert metadata(outputs) == metadata(op(*args))
    assert {output.device.type for output in outputs} == {device}


def test_assign_top_k_of_meta_tensors() -> None:
    out = assign_top_k(*SAMPLES[0].to("meta").args())
    assert {field.device.type for field in out} == {"meta"}
    assert metadata(out) == metadata(assign_top_k(*SAMPLES[0].args()))
