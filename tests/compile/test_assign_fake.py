"""Fake tensors: the metadata of the fakes is that of the real outputs, on a device that is not there too."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from samples import Sample, op_call, registration_inputs
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from pseudo_iou_ops import assign

SAMPLES = registration_inputs()


def metadata(tensors: Any) -> list[tuple[Any, ...]]:
    return [(t.shape, t.dtype, t.stride(), t.layout, t.requires_grad) for t in tensors]


def fake(mode: FakeTensorMode, value: Any, device: str) -> Any:
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


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_assign_of_fake_tensors(sample: Sample) -> None:
    mode = FakeTensorMode()
    args = [fake(mode, value, "cpu") for value in sample.args()]
    kwargs = {name: fake(mode, value, "cpu") for name, value in sample.kwargs().items()}
    with mode:
        outputs = assign(*args, **kwargs)
    assert metadata(outputs) == metadata(assign(*sample.args(), **sample.kwargs()))


def test_assign_of_meta_tensors() -> None:
    sample = SAMPLES[0]
    out = assign(*sample.to("meta").args())
    assert {field.device.type for field in out} == {"meta"}
    assert metadata(out) == metadata(assign(*sample.args()))


def test_out_of_fake_tensors() -> None:
    op, args = op_call(SAMPLES[0], "out")
    mode = FakeTensorMode()
    fakes = [fake(mode, value, "cuda") for value in args]
    with mode:
        op(*fakes)
