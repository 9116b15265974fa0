"""The op on CUDA against the op on a CPU: the same bits for every input, wherever the offsets are."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from oracles import assert_same_bits
from samples import STRIDES, Sample, assign_calls, every_rule, random_boxes, sample_inputs, training_batch

from pseudo_iou_ops import AssignRule, PointAssigner, assign, pack_boxes, pack_padded, presets, reference

pytestmark = pytest.mark.gpu

SAMPLES = sample_inputs()


def assert_cuda_equals_cpu(sample: Sample, offsets_device: str) -> None:
    moved = sample.to("cuda", offsets_device)
    actual = assign(*moved.args(), **moved.kwargs())
    assert {field.device.type for field in actual} == {"cuda"}
    assert_same_bits(actual, assign(*sample.args(), **sample.kwargs()))


@pytest.mark.parametrize("offsets_device", ["cuda", "cpu"])
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_samples(sample: Sample, offsets_device: str) -> None:
    assert_cuda_equals_cpu(sample, offsets_device)


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_the_reference_on_cuda(sample: Sample) -> None:
    moved = sample.to("cuda", "cpu")
    assert_same_bits(reference.assign(*moved.args(), **moved.kwargs()), assign(*sample.args(), **sample.kwargs()))


@pytest.mark.parametrize("metric", ["pseudo_iou", "centerness", "scaled_box", "center_radius", "none"])
def test_every_combination_of_switches(metric: str) -> None:
    sample = training_batch((64, 96), (9, 0, 14))
    for rule in every_rule():
        if rule.metric == metric:
            assert_cuda_equals_cpu(dataclasses.replace(sample, rule=rule), "cpu")


@given(call=assign_calls())
def test_random_calls(call: Sample) -> None:
    for offsets_device in ("cuda", "cpu"):
        assert_cuda_equals_cpu(call, offsets_device)


@pytest.mark.parametrize("rule", [presets.paper, presets.authors_code, presets.fcos], ids=["paper", "code", "fcos"])
@pytest.mark.parametrize("boxes", [7, 100, 2000])
def test_a_training_batch(boxes: int, rule: AssignRule) -> None:
    assert_cuda_equals_cpu(training_batch((800, 1344), (boxes,) * 4, rule=rule), "cuda")


@pytest.mark.parametrize("offsets_device", ["cuda", "cpu"])
@pytest.mark.parametrize("images", [63, 64, 65, 999, 1000, 1001, 5000])
def test_number_of_images(images: int, offsets_device: str) -> None:
    sample = training_batch((32, 48), (0, 3, 1, 2) * (images // 4) + (1,) * (images % 4), strides=STRIDES[:2])
    assert sample.num_images == images
    sizes = torch.randint(0, 50, (images, 2), generator=torch.Generator().manual_seed(0))
    regions = {"ignore_boxes": sample.boxes.flip(0), "ignore_offsets": sample.offsets}
    assert_cuda_equals_cpu(dataclasses.replace(sample, valid_sizes=sizes, **regions), offsets_device)


@pytest.mark.parametrize(("offsets_device", "ignore_offsets_device"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_the_two_offsets_on_different_devices(offsets_device: str, ignore_offsets_device: str) -> None:
    sample = next(sample for sample in SAMPLES if sample.name == "ignore_boxes")
    moved = sample.to("cuda")
    moved = dataclasses.replace(
        moved,
        offsets=sample.offsets.to(offsets_device),
        ignore_offsets=sample.ignore_offsets.to(ignore_offsets_device),
    )
    assert_same_bits(assign(*moved.args(), **moved.kwargs()), assign(*sample.args(), **sample.kwargs()))


def test_layouts_on_the_device() -> None:
    """Moving a strided tensor packs it, so these are made where they are used."""
    sample = training_batch((64, 96), (5, 3))
    expected = assign(*sample.args())
    cuda = sample.to("cuda")
    boxes, labels, offsets = cuda.boxes, cuda.labels, cuda.offsets
    for strided in (
        torch.cat((boxes, boxes + 1, boxes), 1)[:, :4],
        boxes.t().contiguous().t(),
        boxes.repeat_interleave(2, dim=0)[::2],
        torch.cat((torch.zeros(4, device="cuda"), boxes.flatten()))[4:].view(-1, 4),
        torch.cat((torch.zeros(1, device="cuda"), boxes.flatten()))[1:].view(-1, 4),  # 4-byte aligned only
    ):
        actual = assign(strided, labels.repeat_interleave(2)[::2], offsets.repeat_interleave(2)[::2], *cuda.args()[3:])
        assert_same_bits(actual, expected)
    one = sample.to("cuda").boxes[:1].expand(8, 4)
    alone = assign(sample.boxes[:1].expand(8, 4), *sample.args()[1:])
    assert_same_bits(assign(one, *cuda.args()[1:]), alone)


def test_lists_and_padded_boxes() -> None:
    generator = torch.Generator().manual_seed(5)
    boxes = random_boxes(15, (64, 96), generator).view(3, 5, 4)
    labels = torch.randint(80, (3, 5), generator=generator)
    mask = torch.rand(3, 5, generator=generator) > 0.4
    assigner = PointAssigner(STRIDES[:2])
    shapes = [(8, 12), (4, 6)]

    padded = pack_padded(boxes.cuda(), labels.cuda(), mask.cuda())
    assert padded[2].device.type == "cpu"
    assert_same_bits(assigner(shapes, *padded), assigner(shapes, *pack_padded(boxes, labels, mask)))

    lists = (
        [b[m] for b, m in zip(boxes, mask, strict=True)],
        [i[m] for i, m in zip(labels, mask, strict=True)],
    )
    on_cuda = tuple([tensor.cuda() for tensor in tensors] for tensors in lists)
    assert_same_bits(assigner(shapes, *on_cuda), assigner(shapes, *pack_boxes(*lists)))


def test_run_to_run() -> None:
    sample = training_batch((512, 640), (300, 0, 50), rule=AssignRule(resolve="max_metric")).to("cuda")
    first = assign(*sample.args())
    for _ in range(50):
        assert_same_bits(assign(*sample.args()), first)


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_out(sample: Sample) -> None:
    expected = assign(*sample.args(), **sample.kwargs())
    moved = sample.to("cuda", "cpu")
    out = type(expected)(
        *(torch.full_like(field, torch.nan if field.is_floating_point() else -77, device="cuda") for field in expected)
    )
    addresses = [field.data_ptr() for field in out]
    assert assign(*moved.args(), **moved.kwargs(), out=out) is out
    assert [field.data_ptr() for field in out] == addresses
    assert_same_bits(out, expected)


def test_out_of_an_earlier_result() -> None:
    """There the two counters lie side by side and are cleared together."""
    first, second = (training_batch((64, 96), (5, 3), seed=seed) for seed in (1, 2))
    out = assign(*first.to("cuda").args())
    assign(*second.to("cuda").args(), out=out)
    assert_same_bits(out, assign(*second.args()))
