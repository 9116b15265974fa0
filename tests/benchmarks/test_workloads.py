"""The batches are those that were described, and the same every time."""

from __future__ import annotations

import pytest
import torch

from benchmarks.workloads import WORKLOADS, Workload, swept_workload

POINTS = {
    "voc": 12968,
    "coco": 22400,
    "lvis": 22400,
    "crowd": 23463,
    "dota": 21824,
    "dota2k": 21824,
    "4k": 173910,
}
SYNTHETIC = [workload for workload in WORKLOADS.values() if isinstance(workload, Workload)]


@pytest.mark.parametrize("workload", SYNTHETIC, ids=lambda workload: workload.name)
def test_batches(workload: Workload) -> None:
    batch, again, other = workload.batch(0), workload.batch(0), workload.batch(1)
    assert batch.pyramid.num_points == POINTS[workload.name]
    assert batch.num_images == workload.images
    assert all(torch.equal(a, b) for a, b in zip(batch.boxes, again.boxes, strict=True))
    assert not torch.equal(torch.cat(batch.boxes)[:8], torch.cat(other.boxes)[:8])
    boxes = torch.cat(batch.boxes)
    assert boxes.dtype == torch.float32
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert boxes.min() >= 0
    assert (boxes[:, 2:] <= torch.tensor([workload.width, workload.height]) + 1e-3).all()


def test_counts() -> None:
    assert WORKLOADS["dota2k"].batch(0).num_boxes == 16000
    assert [len(boxes) for boxes in WORKLOADS["crowd"].batch(5).boxes] == [200] * 16
    assert WORKLOADS["dota"].batch(0).most_boxes == 2000
    assert swept_workload(0).batch(0).num_boxes == 0


def test_layouts_hold_the_same_boxes() -> None:
    batch = WORKLOADS["coco"].shrunk(3, 256, 9).batch(0)
    packed, labels, offsets = batch.packed
    padded, padded_labels, first_rows = batch.padded
    for image in range(3):
        rows = slice(offsets[image], offsets[image + 1])
        count = rows.stop - rows.start
        assert torch.equal(padded[image, :count], packed[rows])
        assert torch.equal(padded_labels[image, :count], labels[rows])
        assert not padded[image, count:].any()
        assert first_rows[image] == offsets[image]


def test_real_boxes() -> None:
    batch = WORKLOADS["coco_real"].batch(0)
    assert batch.num_images == 16
    assert batch.pyramid.num_points == POINTS["coco"]
    assert torch.cat(batch.boxes).amax(0)[2] <= 1334
