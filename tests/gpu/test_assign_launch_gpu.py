"""How a call runs: one kernel, no synchronisation, the current stream and device, in a CUDA graph too."""

from __future__ import annotations

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from gpu_tools import device_activities, synchronisation_is_an_error
from oracles import assert_same_bits
from samples import STRIDES, Sample, registration_inputs, training_batch

from pseudo_iou_ops import Assignment, AssignRule, PointAssigner, assign, presets

pytestmark = pytest.mark.gpu

BUDGET_FILE = Path(__file__).parents[1] / "compile" / "ptxas_budget.json"
BUDGET = json.loads(BUDGET_FILE.read_text(encoding="utf-8"))["kernels"]["assign_kernelILb0E"]
RULES = {"paper": presets.paper, "max_metric": AssignRule(resolve="max_metric", ignore_threshold=0.2)}


@pytest.mark.parametrize("use_out", [False, True], ids=["new", "out"])
@pytest.mark.parametrize("offsets_device", ["cuda", "cpu"])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_a_call_is_one_kernel_and_at_most_one_memset(rule: AssignRule, offsets_device: str, use_out: bool) -> None:
    sample = training_batch((512, 640), (40, 7), rule=rule).to("cuda", offsets_device)
    sizes = torch.tensor([[512.0, 640], [400, 600]], device="cuda")
    out = assign(*sample.args()) if use_out else None
    names = device_activities(lambda: assign(*sample.args(), valid_sizes=sizes, out=out))
    memsets = [name for name in names if "memset" in name.lower()]
    kernels = [name for name in names if name not in memsets]
    assert len(memsets) <= BUDGET["memsets_per_call"], names
    assert len(kernels) == BUDGET["launches_per_call"], names
    assert "assign" in kernels[0]


@pytest.mark.parametrize("boxes", [5, 70])
def test_boxes_that_begin_between_two_loads(boxes: int) -> None:
    """The kernel loads a box of 16 bytes at once; a view can begin 4 bytes further."""
    sample = training_batch((64, 96), (boxes, 3))
    moved = sample.to("cuda", "cpu")
    memory = torch.empty(moved.boxes.numel() + 1, device="cuda")
    shifted = memory[1:].view_as(moved.boxes).copy_(moved.boxes)
    assert shifted.data_ptr() % 16 == 4
    actual = assign(shifted, *moved.args()[1:], ignore_boxes=shifted[:2], ignore_offsets=moved.offsets.clamp(max=2))
    expected = assign(*sample.args(), ignore_boxes=sample.boxes[:2], ignore_offsets=sample.offsets.clamp(max=2))
    assert_same_bits(actual, expected)


def test_a_call_without_points_is_no_kernel() -> None:
    sample = training_batch((64, 96), (5, 3)).to("cuda", "cpu")
    names = device_activities(lambda: assign(*sample.args()[:3], [(0, 0)], [8]))
    assert not [name for name in names if "memset" not in name.lower()], names


@pytest.mark.parametrize("offsets_device", ["cuda", "cpu"])
@pytest.mark.parametrize("sample", registration_inputs(), ids=str)
def test_no_synchronisation(sample: Sample, offsets_device: str) -> None:
    moved = sample.to("cuda", offsets_device)
    with synchronisation_is_an_error():
        actual = assign(*moved.args(), **moved.kwargs())
    assert_same_bits(actual, assign(*sample.args(), **sample.kwargs()))


def test_no_synchronisation_for_more_images_than_travel_by_value() -> None:
    sample = training_batch((32, 48), (1, 2) * 600, strides=STRIDES[:2])
    moved = sample.to("cuda", "cpu")
    with synchronisation_is_an_error():
        actual = assign(*moved.args())
    assert_same_bits(actual, assign(*sample.args()))


def test_no_synchronisation_for_lists() -> None:
    sample = training_batch((64, 96), (5, 0, 3))
    boxes, labels = sample.boxes.cuda().split([5, 0, 3]), sample.labels.cuda().split([5, 0, 3])
    assigner = PointAssigner(STRIDES)
    with synchronisation_is_an_error():
        actual = assigner(sample.level_shapes, boxes, labels)
    assert_same_bits(actual, assign(*sample.args()))


@pytest.mark.parametrize("use_out", [False, True], ids=["new", "out"])
def test_a_call_runs_on_the_current_stream(use_out: bool) -> None:
    """The boxes arrive late on the stream of the call: any other stream would read the stale ones."""
    stale, fresh = (training_batch((512, 640), (40, 7), seed=seed) for seed in (1, 2))
    expected = assign(*fresh.args())
    source, boxes = fresh.to("cuda"), stale.to("cuda").boxes
    assign(*source.args())  # loads the module
    out = assign(*stale.to("cuda").args()) if use_out else None
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(100_000_000)
        boxes.copy_(source.boxes)
        actual = assign(boxes, *source.args()[1:], out=out)
    assert not stream.query(), "the call waited for its stream"
    stream.synchronize()
    assert_same_bits(actual, expected)


def test_two_streams_at_once() -> None:
    """The launches share nothing: each Python thread has its stream, and neither waits for the other."""
    samples = [training_batch((512, 640), (40, 7, 90), seed=seed) for seed in (1, 2)]
    expected = [assign(*sample.args()) for sample in samples]
    moved = [sample.to("cuda") for sample in samples]
    assign(*moved[0].args())  # loads the module
    torch.cuda.synchronize()

    def calls(sample: Sample) -> list[Assignment]:
        with torch.cuda.stream(torch.cuda.Stream()):
            return [assign(*sample.args()) for _ in range(50)]

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(calls, moved))
    torch.cuda.synchronize()
    for actual, wanted in zip(found, expected, strict=True):
        for one in actual:
            assert_same_bits(one, wanted)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="gpu: needs a second one")
def test_a_call_runs_on_the_device_of_its_inputs() -> None:
    sample = training_batch((64, 96), (5, 3))
    with torch.cuda.device(0):
        actual = assign(*sample.to("cuda:1").args())
        assert torch.cuda.current_device() == 0
    assert {field.device for field in actual} == {torch.device("cuda:1")}
    assert_same_bits(actual, assign(*sample.args()))


def static_inputs(capacity: int, images: int, offsets_device: str) -> Sample:
    """Buffers for a graph. Rows that no image owns hold a box over everything, which must not show."""
    sample = training_batch((256, 384), (capacity,) + (0,) * (images - 1))
    over_all = torch.tensor([-1e4, -1e4, 1e4, 1e4]).expand(capacity, 4)
    return dataclasses.replace(sample, boxes=over_all.clone(), offsets=torch.zeros(images + 1, dtype=torch.int64)).to(
        "cuda", offsets_device
    )


def fill(static: Sample, counts: tuple[int, ...], seed: int) -> None:
    fresh = training_batch((256, 384), counts, seed=seed)
    rows = fresh.boxes.shape[0]
    static.boxes.fill_(0).add_(torch.tensor([-1e4, -1e4, 1e4, 1e4], device="cuda"))
    static.boxes[:rows].copy_(fresh.boxes)
    static.labels[:rows].copy_(fresh.labels)
    static.offsets.copy_(fresh.offsets)


def captured(static: Sample, out: Any = None) -> tuple[torch.cuda.CUDAGraph, Any]:
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # the warm-up that capture asks for
        assign(*static.args(), out=out)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = assign(*static.args(), out=out)
    return graph, result


@pytest.mark.parametrize("use_out", [False, True], ids=["new", "out"])
def test_a_graph_replays_with_new_boxes_and_new_counts(use_out: bool) -> None:
    static = static_inputs(capacity=100, images=3, offsets_device="cuda")
    out = assign(*static.args()) if use_out else None
    graph, result = captured(static, out)
    for seed, counts in enumerate([(5, 0, 9), (30, 31, 39), (0, 0, 0), (0, 100, 0), (1, 1, 1), (5, 0, 9)]):
        fill(static, counts, seed)
        graph.replay()
        assert_same_bits(result, assign(*static.to("cpu").args()))


def test_a_graph_keeps_the_cpu_offsets_it_was_captured_with() -> None:
    static = static_inputs(capacity=100, images=3, offsets_device="cpu")
    fill(static, (5, 0, 9), seed=1)
    graph, result = captured(static)
    at_capture = static.offsets.clone()
    fill(static, (30, 31, 39), seed=2)
    graph.replay()
    expected = dataclasses.replace(static.to("cpu"), offsets=at_capture)
    assert_same_bits(result, assign(*expected.args()))


def test_a_capture_refuses_more_cpu_offsets_than_travel_by_value() -> None:
    sample = training_batch((32, 48), (1, 2) * 600, strides=STRIDES[:2]).to("cuda", "cpu")
    assign(*sample.args())  # loads the module
    with pytest.raises(ValueError, match="while a CUDA graph is captured"), torch.cuda.graph(torch.cuda.CUDAGraph()):
        assign(*sample.args())


def test_more_images_than_one_grid_holds() -> None:
    images = 65_600
    sample = training_batch((8, 8), (1, 2) * (images // 2), strides=(8,))
    assert_same_bits(assign(*sample.to("cuda").args()), assign(*sample.args()))


def test_two_graphs_and_an_eager_call_side_by_side() -> None:
    one, other = (static_inputs(capacity=50, images=2, offsets_device="cuda") for _ in range(2))
    (first, first_result), (second, second_result) = captured(one), captured(other)
    fill(one, (20, 10), seed=1)
    fill(other, (7, 40), seed=2)
    first.replay()
    eager = assign(*other.args())
    second.replay()
    assert_same_bits(first_result, assign(*one.to("cpu").args()))
    assert_same_bits(second_result, eager)


def test_peak_memory_is_that_of_the_outputs() -> None:
    """8 images of 21,824 points with 2,000 boxes each: a table of both would take 350 MB as bytes."""
    sample = training_batch((1024, 1024), (2000,) * 8).to("cuda", "cuda")
    assign(*sample.args())
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    out = assign(*sample.args())
    peak = torch.cuda.max_memory_allocated() - before
    assert peak < 1.1 * sum(field.nbytes for field in out)


def test_an_output_of_more_elements_than_32_bits_count() -> None:
    if torch.cuda.get_device_properties(0).total_memory < 32 << 30:
        pytest.skip("gpu: needs 32 GB")
    side, images = 2900, 64  # 538 million points: ltrb has 2^31 elements and some
    far = 8.0 * side
    boxes = torch.tensor([[0.0, 0, 16, 16], [far - 16, far - 16, far, far]], device="cuda")
    offsets = torch.tensor([0] * images + [2], device="cuda")
    out = assign(boxes, torch.tensor([3, 4], device="cuda"), offsets, [(side, side)], [8], presets.paper_baseline)
    assert out.ltrb.numel() > 2**31
    assert out.num_pos.tolist() == [0] * (images - 1) + [8]
    assert out.pos_per_box.tolist() == [4, 4]
    last = out.matched[-1].view(side, side)
    assert last[:2, :2].tolist() == [[0, 0], [0, 0]]
    assert last[-2:, -2:].tolist() == [[1, 1], [1, 1]]
    assert out.ltrb[-1, -1].tolist() == [12, 12, 4, 4]
    assert int((out.matched >= 0).sum()) == 8
