"""The fused assigners in mmdetection's registry beside its own; run by `make integrations`, which installs it."""

from __future__ import annotations

import doctest
import inspect
import pickle
from typing import Any

import pytest
import torch
from integrations import mmcv_stub
from torch import Tensor

mmcv_stub.install()

from mmdet.models.task_modules.assigners import ATSSAssigner  # noqa: E402
from mmdet.registry import TASK_UTILS  # noqa: E402
from mmengine.structures import InstanceData  # noqa: E402

from pseudo_iou_ops import level_points  # noqa: E402
from pseudo_iou_ops.integrations.mmdetection_assigners import FusedATSSAssigner, register_assigners  # noqa: E402

STRIDES = (8, 16, 32, 64, 128)
SHAPES = [(32, 40), (16, 20), (8, 10), (4, 5), (2, 3)]
COUNTS = [height * width for height, width in SHAPES]
CLASSES = 5


def anchors() -> Tensor:
    centers = level_points(SHAPES, STRIDES, offset=0.0)
    half = 4 * torch.repeat_interleave(torch.tensor(STRIDES), torch.tensor(COUNTS))[:, None]
    return torch.cat((centers - half, centers + half), dim=1)


def make_instances(random: torch.Generator) -> Any:
    """Boxes anywhere but on the grid: no two anchors are equally far from a center."""
    count = int(torch.randint(1, 15, (1,), generator=random))
    corners = torch.rand(count, 2, generator=random) * 280 - 10
    boxes = torch.cat((corners, corners + 4 + torch.rand(count, 2, generator=random) ** 3 * 250), dim=1)
    return InstanceData(bboxes=boxes, labels=torch.randint(0, CLASSES, (count,), generator=random))


def test_atss_is_mmdetections_label_for_label() -> None:
    register_assigners()
    own, fused = ATSSAssigner(topk=9), TASK_UTILS.build({"type": "FusedATSSAssigner", "topk": 9})
    random, priors, positives = torch.Generator().manual_seed(0), InstanceData(priors=anchors()), 0
    for _ in range(100):
        instances = make_instances(random)
        expected, given = (assigner.assign(priors, COUNTS, instances) for assigner in (own, fused))
        assert torch.equal(given.gt_inds, expected.gt_inds)
        assert torch.equal(given.labels, expected.labels)
        is_positive = expected.gt_inds > 0
        torch.testing.assert_close(given.max_overlaps[is_positive], expected.max_overlaps[is_positive])
        positives += int(is_positive.sum())
    assert positives > 1000


def test_a_replaced_name_builds_the_fused_assigner() -> None:
    before = TASK_UTILS.get("ATSSAssigner")
    try:
        register_assigners(replace=True)
        assert isinstance(TASK_UTILS.build({"type": "ATSSAssigner", "topk": 9}), FusedATSSAssigner)
        assert pickle.loads(pickle.dumps(TASK_UTILS.get("ATSSAssigner"))) is FusedATSSAssigner
    finally:
        TASK_UTILS.register_module(name="ATSSAssigner", module=before, force=True)


@pytest.mark.parametrize("function", [register_assigners, FusedATSSAssigner])
def test_example_of_a_docstring_runs(function: Any) -> None:
    example = doctest.DocTestParser().get_doctest(inspect.getdoc(function) or "", {}, function.__name__, None, None)
    assert doctest.DocTestRunner().run(example) == (0, len(example.examples))
    assert example.examples
