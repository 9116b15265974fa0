"""The assigner's slot of the YOLO family beside an installed ultralytics, a black box: its answers alone are looked at.
Run by `make integrations-yolo`, which installs it."""

from __future__ import annotations

from dataclasses import replace

import torch

from benchmarks.peers.ultralytics_top_k import inputs_of
from benchmarks.predicted import TOP_K_WORKLOADS, predicted_batch
from pseudo_iou_ops import presets
from pseudo_iou_ops.encodings import YoloTargets
from pseudo_iou_ops.integrations.yolo import YoloAssigner

from ultralytics.utils.tal import TaskAlignedAssigner  # isort: skip

STRIDES = (8, 16, 32)
BATCHES = 100


def test_the_slot_answers_as_ultralytics() -> None:
    """On batches of COCO at 640 x 640. Background is compared by the foreground mask and the scores alone."""
    workload = replace(TOP_K_WORKLOADS["coco640"], images=4)
    positives, others = 0, 0
    for seed in range(BATCHES):
        batch = predicted_batch(workload, seed)
        classes = batch.logits.shape[2]
        own = TaskAlignedAssigner(topk=10, num_classes=classes, alpha=0.5, beta=6.0, stride=list(STRIDES))
        expected = YoloTargets(*own(*inputs_of(batch)))
        given = YoloAssigner(classes, STRIDES, presets.yolov8)(*inputs_of(batch))
        assert [tensor.shape for tensor in given] == [tensor.shape for tensor in expected]
        foreground = expected.foreground.bool()
        same = (given.foreground == foreground) & (~foreground | (given.gt_index == expected.gt_index))
        others += int((~same).sum())
        positives += int(foreground.sum())
        compared = same & foreground
        assert torch.equal(given.labels[compared], expected.labels[compared])
        assert torch.equal(given.boxes[compared], expected.boxes[compared])
        unchanged = same.all(1)
        torch.testing.assert_close(given.scores[unchanged], expected.scores[unchanged], rtol=1e-4, atol=1e-6)
    assert positives > 10_000
    assert others == 0
