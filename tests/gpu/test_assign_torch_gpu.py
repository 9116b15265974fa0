"""The op on CUDA as torch sees it: registration, checks, autocast, torch.compile."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from oracles import assert_same_bits
from samples import STRIDES, Sample, op_call, registration_inputs, training_batch

from pseudo_iou_ops import assign

pytestmark = pytest.mark.gpu

BATCHES = [((640, 896), (9, 13)), ((384, 640), (30, 17)), ((256, 384), (3, 11)), ((448, 512), (100, 60))]


@pytest.mark.parametrize("overload", ["default", "out"])
@pytest.mark.parametrize("sample", registration_inputs(), ids=str)
def test_opcheck(sample: Sample, overload: str) -> None:
    torch.library.opcheck(*op_call(sample.to("cuda", "cpu"), overload))


def test_opcheck_with_offsets_on_the_device() -> None:
    torch.library.opcheck(*op_call(registration_inputs()[0].to("cuda")))


@pytest.mark.parametrize("argument", ["labels", "ignore_boxes", "valid_sizes"])
def test_inputs_on_two_devices_are_refused_by_name(argument: str) -> None:
    sample = next(sample for sample in registration_inputs() if sample.name == "every_option").to("cuda", "cpu")
    names = ("boxes", "labels", "offsets", "level_shapes", "strides", "rule")
    call = dict(zip(names, sample.args(), strict=True)) | sample.kwargs()
    call[argument] = call[argument].cpu()
    with pytest.raises(ValueError, match=rf"^{argument}\b.*expected.*cuda.*got cpu"):
        assign(**call)


def test_out_on_the_cpu_is_refused_by_name() -> None:
    sample = training_batch((64, 96), (5, 3))
    with pytest.raises(ValueError, match=r"^out\.matched\b.*expected.*cuda.*got cpu"):
        assign(*sample.to("cuda").args(), out=assign(*sample.args()))


def test_a_direct_call_with_too_many_cpu_offsets_is_refused() -> None:
    sample = training_batch((32, 48), (1,) * 1001, strides=STRIDES[:2])
    op, args = op_call(sample.to("cuda"))
    names = [argument.name for argument in op._schema.arguments]
    args = [value.cpu() if name == "offsets" else value for name, value in zip(names, args, strict=True)]
    with pytest.raises(RuntimeError, match="offsets"):
        op(*args)


def test_autocast_does_not_lower_the_precision() -> None:
    sample = training_batch((64, 96), (5, 3))
    with torch.autocast("cuda", dtype=torch.float16):
        result = assign(*sample.to("cuda").args())
    assert_same_bits(result, assign(*sample.args()))


@pytest.mark.parametrize("offsets_device", ["cuda", "cpu"])
@pytest.mark.parametrize("options", [{"backend": "aot_eager"}, {}], ids=["aot_eager", "inductor"])
def test_compile(options: dict[str, Any], offsets_device: str) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(assign, fullgraph=True, dynamic=True, **options)
    for seed, (size, counts) in enumerate(BATCHES):
        sample = training_batch(size, counts, seed=seed)
        assert_same_bits(compiled(*sample.to("cuda", offsets_device).args()), assign(*sample.args()))


def test_compile_with_cuda_graphs() -> None:
    """`reduce-overhead` replays a graph from the second or third call on."""
    torch._dynamo.reset()
    compiled = torch.compile(assign, fullgraph=True, mode="reduce-overhead")
    for seed in range(5):
        sample = training_batch((256, 384), (12, 5), seed=seed)
        moved = sample.to("cuda")
        torch.compiler.cudagraph_mark_step_begin()
        assert_same_bits(compiled(*moved.args()), assign(*sample.args()))


def test_out_that_begins_between_sixteen_bytes_is_refused() -> None:
    sample = training_batch((64, 96), (5, 3)).to("cuda")
    out = assign(*sample.args())
    shifted = torch.empty(out.ltrb.numel() + 1, device="cuda")[1:].view_as(out.ltrb)
    with pytest.raises(RuntimeError, match="ltrb: expected memory aligned to 16 bytes"):
        assign(*sample.args(), out=out._replace(ltrb=shifted))
