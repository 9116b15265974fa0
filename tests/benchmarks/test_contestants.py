"""Every contestant makes the op's targets, on small versions of every workload."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.assign import RULES, SCORE_ULPS, verify
from benchmarks.contest import MismatchError
from benchmarks.peers import Assigner, contestants, fused
from benchmarks.targets import Targets, difference
from benchmarks.workloads import STRIDES, WORKLOADS, Batch, Pyramid, Workload, swept_workload
from pseudo_iou_ops import presets, reference

SYNTHETIC = [workload for workload in WORKLOADS.values() if isinstance(workload, Workload)]
ON_CPU = [contestant for contestant in contestants() if not contestant.needs_cuda]


def small(workload: Workload) -> Batch:
    return workload.shrunk(images=2, side=256, most_boxes=40).batch(seed=3)


def without_boxes(counts: tuple[int, ...]) -> Batch:
    full = swept_workload(max(max(counts), 1)).shrunk(len(counts), side=128, most_boxes=9).batch(seed=0)
    boxes = [boxes[:count] for boxes, count in zip(full.boxes, counts, strict=True)]
    return Batch(boxes, [labels[: len(b)] for labels, b in zip(full.labels, boxes, strict=True)], full.pyramid)


@pytest.mark.parametrize(
    ("contestant", "metric"),
    [pytest.param(c, metric, id=f"{c.name}, {metric}") for c in ON_CPU for metric in c.metrics],
)
@pytest.mark.parametrize("workload", SYNTHETIC, ids=lambda workload: workload.name)
def test_equals_the_op(workload: Workload, contestant: Assigner, metric: str) -> None:
    batch, rule = small(workload), contestant.rule or RULES[metric]
    different = verify(contestant, contestant.call(batch, rule), batch, rule)
    assert different == 0 or not contestant.exact_on


@pytest.mark.parametrize("counts", [(0, 0), (0, 5), (5, 0, 1), (1,)], ids=str)
@pytest.mark.parametrize("contestant", ON_CPU, ids=lambda contestant: contestant.name)
def test_images_without_boxes(contestant: Assigner, counts: tuple[int, ...]) -> None:
    batch, rule = without_boxes(counts), contestant.rule or presets.authors_code
    verify(contestant, contestant.call(batch, rule), batch, rule)


@pytest.mark.parametrize("metric", RULES)
def test_the_op_equals_the_reference(metric: str) -> None:
    batch, rule = small(WORKLOADS["crowd"]), RULES[metric]
    expected = reference.assign(*batch.packed, batch.pyramid.level_shapes, STRIDES, rule)
    assert difference(fused.assign(batch, rule), Targets.of_assignment(expected, rule)) is None


def test_a_mismatch_names_the_contestant() -> None:
    batch = small(WORKLOADS["coco"])

    def spoiled(batch: Batch, rule: object) -> Targets:
        targets = fused.assign(batch, presets.authors_code)
        targets.ltrb[0, 0] += 1
        return targets

    contestant = Assigner("spoiled", spoiled)
    with pytest.raises(MismatchError, match="spoiled: ltrb: "):
        verify(contestant, spoiled(batch, None), batch, presets.authors_code)


def test_one_unit_of_the_last_place_is_allowed_for_torch_roots_alone() -> None:
    assert SCORE_ULPS == {"centerness": 1}
    batch, rule = small(WORKLOADS["coco"]), RULES["centerness"]
    expected = fused.assign(batch, rule)
    beside = expected._replace(score=torch.nextafter(expected.score, torch.ones(())))
    assert difference(beside, expected, score_ulps=1) is None
    assert difference(beside, expected, score_ulps=0) is not None


def test_the_1e8_key_confuses_boxes_of_nearly_one_area() -> None:
    boxes = torch.tensor([[0.0, 0, 40.1, 40], [0, 0, 40, 40]])
    batch = Batch([boxes], [torch.tensor([0, 1])], Pyramid.of_image(64, 64, boxes.device))
    by_name = {contestant.name: contestant for contestant in contestants()}
    exact = by_name["torchvision-style"].call(batch, presets.authors_code)
    confused = by_name["torchvision-style, 1e8 - area"].call(batch, presets.authors_code)
    assert set(exact.matched.unique().tolist()) == {-1, 1}
    assert set(confused.matched.unique().tolist()) == {-1, 0}


def test_kept_outputs_are_written_again() -> None:
    batches = [WORKLOADS["coco"].shrunk(2, 128, 9).batch(seed) for seed in (0, 1)]
    into = fused.AssignInto()
    first = into.assign_into(batches[0], presets.authors_code)
    second = into.assign_into(batches[1], presets.authors_code)
    assert second.ltrb.data_ptr() == first.ltrb.data_ptr()
    side_by_side = second.num_pos.data_ptr() + second.num_pos.nbytes
    assert second.pos_per_box.data_ptr() == side_by_side, "on CUDA one memset clears both"
    assert (
        difference(
            Targets.of_assignment(second, presets.authors_code),
            fused.assign(batches[1], presets.authors_code),
        )
        is None
    )


TRITON_CALL = """
from benchmarks.peers import fused, triton_tile
from benchmarks.assign import RULES
from benchmarks.targets import difference
from benchmarks.workloads import WORKLOADS
batch = WORKLOADS["coco"].shrunk(images=2, side=128, most_boxes=8).batch(seed=0)
for rule in RULES.values():
    print(difference(triton_tile.assign(batch, rule), fused.assign(batch, rule)))
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
def test_the_triton_kernel_interpreted() -> None:
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", TRITON_CALL],
        cwd=root,
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["None"] * len(RULES)
