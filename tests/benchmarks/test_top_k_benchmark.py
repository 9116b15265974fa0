"""The benchmark of the rules where boxes choose points verifies before it times. No test looks at a time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import cli, table, top_k
from benchmarks.contest import MismatchError
from benchmarks.peers import BASELINE, Assigner, fused_top_k
from benchmarks.peers.top_k import contestants
from benchmarks.peers.top_k_targets import TopKTargets
from benchmarks.predicted import TOP_K_WORKLOADS, PredictedBatch, predicted_batch, swept_workload
from benchmarks.workloads import CocoBoxes, Workload

CPU = torch.device("cpu")
POINTS = {"coco640": 8400, "coco800": 22400, "objects365": 8400, "xview": 8400, "xview2": 8400}
TINY = TOP_K_WORKLOADS["objects365"].shrunk(images=2, side=160, most_boxes=6)  # type: ignore[union-attr]
CROWDED = TOP_K_WORKLOADS["objects365"].shrunk(images=2, side=160, most_boxes=60)  # type: ignore[union-attr]
BRIEF = top_k.Settings(CPU, rounds=3, input_sets=1, seconds_per_contestant=0.0, least_rounds=2)
EAGER = [contestant for contestant in contestants() if not contestant.is_compiled]


def small(workload: Workload | CocoBoxes) -> PredictedBatch:
    """Few images and boxes; the images keep their size, so that none of their boxes is cut and its points tie."""
    if isinstance(workload, CocoBoxes):
        return predicted_batch(replace(workload, images=2), seed=3)
    return predicted_batch(workload.shrunk(images=2, side=640, most_boxes=40), seed=3)


@pytest.mark.parametrize("name", top_k.RULES)
@pytest.mark.parametrize("workload", TOP_K_WORKLOADS.values(), ids=lambda workload: workload.name)
def test_everyone_chooses_the_ops_points(workload: Workload | CocoBoxes, name: str) -> None:
    batch, rule = small(workload), top_k.RULES[name]
    assert batch.pyramid.num_points == POINTS[workload.name]
    assert int(fused_top_k.assign(batch, rule).num_pos.sum()) > 50
    for contestant in EAGER:
        if name in contestant.metrics:
            assert top_k.verify(contestant, contestant.call(batch, rule), batch, rule) == 0, contestant.name


@pytest.mark.parametrize("name", ["yolov8", "atss", "simota", "rtmdet"])
def test_the_compiled_table_is_the_eager_one(name: str) -> None:
    batch, rule = predicted_batch(TINY, 0), top_k.RULES[name]
    (contestant,) = (contestant for contestant in contestants() if contestant.is_compiled)
    assert top_k.verify(contestant, contestant.call(batch, rule), batch, rule) == 0


@pytest.mark.parametrize("name", ["pp_yoloe", "pp_yoloe_atss"])
def test_points_are_contested(name: str) -> None:
    """Otherwise who competes for a point would not be compared."""
    batch, rule = predicted_batch(CROWDED, 0), top_k.RULES[name]
    among_choosers = fused_top_k.assign(batch, replace(rule, among="choosers"))
    assert not torch.equal(fused_top_k.assign(batch, rule).matched, among_choosers.matched)


@pytest.mark.parametrize(
    ("field", "message"), [("matched", "points differ"), ("labels", "labels: "), ("score", "score: ")]
)
def test_a_wrong_contestant_is_noticed(field: str, message: str) -> None:
    batch, rule = predicted_batch(TINY, 0), top_k.RULES["yolov8"]
    given = fused_top_k.assign(batch, rule)
    changed = getattr(given, field).clone()
    changed[given.matched >= 0] += 1
    with pytest.raises(MismatchError, match=f"wrong: .*{message}"):
        top_k.verify(Assigner("wrong", fused_top_k.assign), given._replace(**{field: changed}), batch, rule)


def test_a_count_that_is_wrong_is_noticed() -> None:
    batch, rule = predicted_batch(TINY, 0), top_k.RULES["yolov8"]
    given = fused_top_k.assign(batch, rule)
    with pytest.raises(MismatchError, match="num_pos"):
        top_k.verify(Assigner("wrong", fused_top_k.assign), given._replace(num_pos=given.num_pos + 1), batch, rule)


def test_ours_may_not_differ_at_all() -> None:
    batch, rule = predicted_batch(TINY, 0), top_k.RULES["yolov8"]

    def first_point_dropped(batch: PredictedBatch, rule: object) -> TopKTargets:
        targets = fused_top_k.assign(batch, top_k.RULES["yolov8"])
        targets.matched.view(-1)[(targets.matched.view(-1) >= 0).nonzero()[0]] = -1
        return targets

    ours = Assigner("ours", first_point_dropped, is_ours=True)
    with pytest.raises(MismatchError, match="ours: 1 points differ, 0 may"):
        top_k.verify(ours, ours.call(batch, rule), batch, rule)


def test_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setitem(top_k.TOP_K_WORKLOADS, "coco640", TINY)
    monkeypatch.setattr(top_k, "SWEPT_BOXES", (1, 3))
    monkeypatch.setattr(top_k, "swept_workload", lambda boxes: swept_workload(boxes).shrunk(2, 160, boxes))
    path, image = tmp_path / "run.json", tmp_path / "sweep.png"
    options = ["--quick", "--workloads", "coco640", "--rules", "yolov8", "atss", "--contestants", "padded"]
    assert cli.main(["top_k", *options, "--json", str(path), "--plot", str(image)]) == 0
    printed = capsys.readouterr().out
    assert cli.main(["table", str(path)]) == 0
    assert capsys.readouterr().out == printed
    assert f"best exact peer over {BASELINE}" in printed
    document = json.loads(path.read_text())
    assert [result["metric"] for result in document["top_k"]] == ["yolov8", "atss"]
    assert {"commit", "device", "torch", "instruction_set", "command"} <= set(document["environment"])
    assert len(document["sweep"]) == 2
    for result in (*document["top_k"], *document["sweep"]):
        assert [entry["name"] for entry in result["contestants"]] == [BASELINE, "padded"]
        assert all(entry["exact"] for entry in result["contestants"])
    assert image.stat().st_size > 10_000


def test_the_op_is_one_op_and_needs_its_outputs_alone() -> None:
    chosen = [contestant for contestant in EAGER if contestant.is_ours or contestant.name == "padded"]
    result = top_k.run_workload(TINY, "yolov8", chosen, BRIEF)
    by_name = {entry["name"]: entry for entry in result["contestants"]}
    for name in (BASELINE, "pseudo_iou_ops", "pseudo_iou_ops, maps"):
        assert (by_name[name]["ops"], by_name[name]["syncs"]) == (1, 0)
    assert by_name["padded"]["ops"] > 50
    assert "yolov8" in table.summary([result])


def test_large_calls_are_left_out() -> None:
    chosen = [contestant for contestant in EAGER if contestant.name == "padded"]
    settings = replace(BRIEF, largest_call=1.0)
    (entry,) = top_k.run_workload(TINY, "yolov8", chosen, settings)["contestants"]
    assert entry["left_out"].endswith("GB a call")
