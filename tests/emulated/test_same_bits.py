"""The CUDA kernel, executed on the CPU, equals the CPU op in every bit."""

from __future__ import annotations

import pytest
from emulated import emulated_call
from hypothesis import given, settings
from oracles import assert_same_bits
from samples import Sample, assign_calls, every_rule, sample_inputs, training_batch

from pseudo_iou_ops import assign

SCHEDULES = [("forward", 0), ("reverse", 0), ("shuffled", 1)]
SAMPLES = sample_inputs()


def check(sample: Sample, **run: object) -> None:
    emulated = emulated_call.assign(sample, **run)
    assert_same_bits(emulated, assign(*sample.args(), **sample.kwargs()))


@pytest.mark.parametrize(("schedule", "seed"), SCHEDULES)
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_samples(sample: Sample, schedule: str, seed: int) -> None:
    check(sample, schedule=schedule, seed=seed)


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.num_images <= 1000], ids=str)
def test_offsets_by_value(sample: Sample) -> None:
    check(sample, offsets_on_host=True)


@pytest.mark.parametrize("offsets_on_host", [False, True], ids=["device", "host"])
def test_more_images_than_one_grid_holds(offsets_on_host: bool) -> None:
    """CUDA's limit is 65,535 images a launch; here it is lower."""
    sample = training_batch((64, 96), (5, 0, 3, 70, 2, 9, 1))
    for most_images in (1, 2, 3, 7):
        check(sample, offsets_on_host=offsets_on_host, most_images=most_images)


@pytest.mark.parametrize("boxes", [64, 65, 255, 257, 511, 2047, 2049])
def test_images_about_as_large_as_a_strip_of_boxes(boxes: int) -> None:
    """Up to 64 boxes a warp sifts alone; a block sifts 2,048 at a time and hands on 256 of those it keeps."""
    check(training_batch((64, 96), (boxes, 3), seed=boxes), schedule="shuffled", seed=1)
    check(training_batch((64, 96), (3, boxes), seed=boxes), schedule="reverse")


def test_every_rule() -> None:
    for rule in every_rule():
        check(training_batch((64, 96), (9, 0, 4), rule=rule))


@settings(max_examples=150, deadline=None)
@given(sample=assign_calls())
def test_any_call(sample: Sample) -> None:
    check(sample, schedule="shuffled", seed=3)
