"""`torch.export` of a module that assigns points."""

from __future__ import annotations

import pytest
import torch
from oracles import assert_same_bits
from samples import LEVEL_SHAPES, STRIDES, training_batch
from torch import Tensor, nn
from torch.export import Dim, export

from pseudo_iou_ops import Assignment, PointAssigner, assign, presets


class Targets(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.assigner = PointAssigner(STRIDES, presets.authors_code)

    def forward(self, boxes: Tensor, labels: Tensor, offsets: Tensor) -> tuple[Tensor, ...]:
        out: Assignment = self.assigner(LEVEL_SHAPES, boxes, labels, offsets)
        return tuple(out)


class TargetsOfMaps(Targets):
    def forward(self, level: Tensor, boxes: Tensor, labels: Tensor, offsets: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        shapes = [(level.shape[-2], level.shape[-1]), *LEVEL_SHAPES[1:]]
        return tuple(self.assigner(shapes, boxes, labels, offsets))


@pytest.mark.parametrize("strict", [False, True], ids=["non_strict", "strict"])
def test_export_with_any_number_of_boxes(strict: bool) -> None:
    sample = training_batch((64, 96), (5, 3), rule=presets.authors_code)
    count = Dim("num_boxes")
    program = export(
        Targets(),
        (sample.boxes, sample.labels, sample.offsets),
        dynamic_shapes={"boxes": {0: count}, "labels": {0: count}, "offsets": {}},
        strict=strict,
    )
    targets = [node.target for node in program.graph.nodes if node.op == "call_function"]
    assert torch.ops.pseudo_iou_ops.assign.default in targets
    for counts in ((5, 3), (11, 40), (2, 0)):
        other = training_batch((64, 96), counts, rule=presets.authors_code, seed=7)
        result = program.module()(other.boxes, other.labels, other.offsets)
        assert_same_bits(result, assign(*other.args()))


def test_export_with_any_level_shape() -> None:
    sample = training_batch((64, 96), (5, 3), rule=presets.authors_code)
    program = export(
        TargetsOfMaps(),
        (torch.empty(1, 1, 8, 12), sample.boxes, sample.labels, sample.offsets),
        dynamic_shapes={
            "level": {2: Dim("height"), 3: Dim("width")},
            "boxes": {},
            "labels": {},
            "offsets": {},
        },
    )
    for shape in ((8, 12), (13, 31)):
        expected = assign(*sample.args()[:3], (shape, *LEVEL_SHAPES[1:]), *sample.args()[4:])
        result = program.module()(torch.empty(1, 1, *shape), sample.boxes, sample.labels, sample.offsets)
        assert_same_bits(result, expected)
