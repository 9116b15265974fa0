"""The shipped configurations against what the paper and the authors' code say."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from detector.config import AssignConfig, Config, check_config, load_config
from detector.engine.optim import learning_rate
from detector.sweep import TABLES, Cell, cell_config, load_sweep, load_table
from detector.sweep.plan import TABLES_FILE
from pseudo_iou_ops import AssignRule, presets

CONFIGS = TABLES_FILE.parents[1]
EVERY_FILE = sorted(set(CONFIGS.rglob("*.yaml")) - {TABLES_FILE} - set((CONFIGS / "sweeps").iterdir()))
COCO_FIGURES = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def cells(table: str) -> dict[str, tuple[Cell, Config]]:
    return {cell.name: (cell, cell_config(cell)) for cell in load_table(table).cells}


@pytest.mark.parametrize("file", EVERY_FILE, ids=lambda file: str(file.relative_to(CONFIGS)))
def test_every_file_is_valid(file: Path) -> None:
    check_config(load_config(file))


def test_every_row_has_one_file_of_its_own() -> None:
    used = [Path(cell.config).resolve() for name in TABLES for cell in load_table(name).cells]
    rows = [file for file in EVERY_FILE if file.parent.name.startswith("table")]
    assert len(used) == len(set(used)) == 54
    assert set(rows) <= set(used)
    assert [len(load_table(name).cells) for name in TABLES] == [8, 8, 8, 18, 4, 5, 3]


@pytest.mark.parametrize("file", sorted((CONFIGS / "sweeps").iterdir()), ids=lambda file: file.name)
def test_the_cells_of_a_sweep_differ_in_the_assignment_alone(file: Path) -> None:
    sweep = load_sweep(file)
    assert all(set(cell.settings) == {"assign"} for cell in sweep.cells)
    rules = [cell_config(cell).assign.rule() for cell in sweep.cells]
    assert len(set(rules)) == len(rules)
    point_rules = [rule for rule in rules if isinstance(rule, AssignRule)]
    metrics = {rule.metric for rule in point_rules}
    in_band = [rule.threshold for rule in point_rules if rule.ignore_threshold is not None]
    others = [rule for rule in rules if rule not in point_rules]
    expected = {
        "demo.yaml": ({"none", "pseudo_iou", "centerness"}, [], []),
        "coco_voc20_cpu.yaml": (
            {"none", "pseudo_iou", "centerness", "center_radius"},
            [0.6],
            [presets.atss, presets.pseudo_iou_atss],
        ),
    }
    every_metric = {"none", "pseudo_iou", "centerness", "scaled_box", "center_radius"}
    assert (metrics, in_band, others) == expected.get(file.name, (every_metric, [0.6], []))


@pytest.mark.parametrize("table", ["1a", "1b", "1c", "2"])
def test_pascal_voc_is_trained_as_in_section_4_1(table: str) -> None:
    for _, config in cells(table).values():
        assert config.data.format == "voc"
        assert config.data.train.annotations == (
            "VOC2007/ImageSets/Main/trainval.txt",
            "VOC2012/ImageSets/Main/trainval.txt",
        )
        assert config.data.val.annotations == ("VOC2007/ImageSets/Main/test.txt",)
        assert len(config.data.classes) == 20
        assert (config.data.short_sides, config.data.eval_short_side, config.data.max_side) == ((600,), 600, 1000)
        assert config.data.flip == 0.5
        assert (config.model.backbone, config.model.norm, config.model.trainable_stages) == ("resnet101", "frozen", 3)
        assert (config.model.head_convs, config.model.channels, config.model.centerness) == (4, 256, False)
        assert (config.loss.box, config.loss.box_weight) == ("iou", 1.0)
        assert (config.optim.optimizer, config.optim.lr, config.optim.warmup_iterations) == ("sgd", 0.01, 500)
        assert (config.optim.momentum, config.optim.weight_decay) == (0.9, 0.0001)
        assert (config.postprocess.score_threshold, config.postprocess.nms_threshold) == (0.05, 0.5)
        rule = config.assign.rule()
        assert (rule.regress_ranges, rule.ignore_threshold, rule.inclusive) == (None, None, False)


@pytest.mark.parametrize("table", ["3", "4"])
def test_coco_is_trained_as_in_sections_4_1_and_4_3(table: str) -> None:
    for _, config in cells(table).values():
        assert config.data.format == "coco"
        assert config.data.classes == ()
        assert (config.train.epochs, config.train.batch_size, config.optim.lr) == (24, 16, 0.01)
        assert (config.optim.warmup_iterations, config.optim.weight_decay, config.optim.momentum) == (1500, 0.0001, 0.9)
        assert (config.data.eval_short_side, config.data.max_side) == (800, 1333)
        assert decay_epochs(config, images_per_epoch=117_264) == [16, 22]


def decay_epochs(config: Config, images_per_epoch: int) -> list[float]:
    """The epochs at whose begin the rate falls."""
    steps = images_per_epoch // config.train.batch_size
    total = steps * config.train.epochs
    rates = [learning_rate(step, total, config.optim) for step in range(config.optim.warmup_iterations, total)]
    return [
        (config.optim.warmup_iterations + position) / steps
        for position in range(1, len(rates))
        if rates[position] < rates[position - 1]
    ]


def test_table_1a() -> None:
    table = cells("1a")
    rules = [config.assign.rule() for _, config in table.values()]
    assert [rule.metric for rule in rules] == ["none"] + ["pseudo_iou"] * 7
    assert [rule.threshold for rule in rules[1:]] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    assert {config.train.epochs for _, config in table.values()} == {8}  # as in the 8-epoch rows of 1(b)
    published = [cell.published["VOC07"] for cell, _ in table.values()]
    assert published == [76.9, 76.8, 77.5, 78.2, 79.0, 78.9, 45.6, 22.1]


def test_table_1b() -> None:
    table = list(cells("1b").values())
    assert [config.train.epochs for _, config in table] == [8, 8, 12, 12, 16, 16, 24, 24]
    assert [config.assign.rule().metric for _, config in table] == ["none", "pseudo_iou"] * 4
    published = [cell.published["VOC07"] for cell, _ in table]
    assert published == [76.9, 79.0, 78.4, 80.4, 78.3, 80.2, 77.8, 80.1]
    assert decay_epochs(table[2][1], images_per_epoch=16_551) == [8, 10]


def test_table_1c() -> None:
    table = list(cells("1c").values())
    assert [config.train.batch_size for _, config in table] == [4, 4, 6, 6, 8, 8, 16, 16]
    assert {config.train.epochs for _, config in table} == {8}
    assert [config.assign.rule().metric for _, config in table] == ["none", "pseudo_iou"] * 4
    assert [cell.published["VOC07"] for cell, _ in table] == [73.6, 75.2, 76.6, 77.9, 77.0, 78.8, 76.9, 79.0]


def test_table_2() -> None:
    table = list(cells("2").values())
    rules = [config.assign.rule() for _, config in table]
    expected = {
        "centerness": {0.2: 72.9, 0.25: 77.4, 0.3: 78.5, 0.35: 78.7, 0.4: 77.6, 0.45: 77.6},
        "scaled_box": {0.3: 24.5, 0.4: 63.8, 0.5: 77.1, 0.6: 78.3, 0.7: 77.3, 0.8: 76.8},
        "pseudo_iou": {0.3: 78.2, 0.4: 79.0, 0.5: 78.9, 0.6: 45.6, 0.7: 22.1, 0.8: 13.5},
    }
    for metric, figures in expected.items():
        members = [position for position, rule in enumerate(rules) if rule.metric == metric]
        assert {rules[p].threshold: table[p][0].published["VOC07"] for p in members} == figures
    assert {config.train.epochs for _, config in table} == {8}


def test_table_3() -> None:
    table = list(cells("3").values())
    configs = [config for _, config in table]
    assert {config.model.backbone for config in configs} == {"resnet50"}
    assert [config.assign.rule().metric for config in configs] == ["none", *["pseudo_iou"] * 3]
    assert [config.loss.box for config in configs] == ["iou", "iou", "giou", "giou"]
    assert [config.model.centerness for config in configs] == [False, False, False, True]
    assert {(config.data.short_sides, config.data.flip) for config in configs} == {((800,), 0.5)}
    assert [tuple(cell.published[name] for name in COCO_FIGURES) for cell, _ in table] == [
        (33.9, 54.5, 35.3, 19.1, 38.7, 44.1),
        (36.8, 56.4, 39.2, 20.4, 41.0, 48.7),
        (37.1, 55.9, 39.7, 20.4, 41.1, 49.1),
        (37.4, 56.5, 40.1, 20.5, 41.2, 49.4),
    ]


def test_table_4() -> None:
    table = list(cells("4").values())
    configs = [config for _, config in table]
    assert [(config.model.backbone, config.model.deformable) for config in configs] == [
        ("resnet101", False),
        ("resnet101", False),
        ("resnet101", True),
        ("resnext101_32x8d", True),
        ("resnext101_64x4d", True),
    ]
    assert [config.assign.rule().metric for config in configs] == ["none", *["pseudo_iou"] * 4]
    assert {(min(config.data.short_sides), max(config.data.short_sides)) for config in configs} == {(640, 800)}
    assert {config.data.flip for config in configs} == {0.0}  # "without image flipping"
    assert [tuple(cell.published[name] for name in COCO_FIGURES) for cell, _ in table] == [
        (38.3, 59.2, 40.1, 22.6, 42.1, 46.9),
        (41.5, 61.0, 44.5, 24.1, 44.6, 51.9),
        (43.4, 63.2, 46.8, 25.8, 47.8, 56.7),
        (44.0, 63.8, 47.3, 28.0, 47.5, 58.1),
        (44.5, 64.4, 48.1, 26.5, 48.8, 58.4),
    ]


def test_the_authors_code() -> None:
    table = list(cells("authors_code").values())
    assert [cell.published for cell, _ in table] == [{"AP": 38.4}, {"AP": 40.4}, {"AP": 43.5}]
    assert [(c.model.backbone, c.model.deformable, c.train.epochs) for _, c in table] == [
        ("resnet50", False, 12),
        ("resnet101", False, 12),
        ("resnet101", True, 24),
    ]
    for _, config in table:
        rule = config.assign.rule()
        assert (rule.metric, rule.threshold, rule.order) == ("pseudo_iou", 0.4, "choose_then_filter")
        assert rule.regress_ranges is not None
        assert (config.model.stride_in_1x1, config.model.pixels) == (True, "caffe")
        assert (config.model.box_activation, config.model.centerness, config.model.deform_groups) == ("relu", True, 4)
        assert (config.loss.box, config.loss.weight_boxes_by_centerness) == ("giou", True)
        assert (config.optim.bias_lr_factor, config.optim.decay_biases, config.optim.clip_grad_norm) == (2, False, 35)
        assert config.data.short_sides == (640, 800)
        assert learning_rate(0, 10_000, config.optim) == learning_rate(499, 10_000, config.optim)
        assert learning_rate(499, 10_000, config.optim) == pytest.approx(0.01 / 3)
    assert decay_epochs(table[0][1], images_per_epoch=117_264) == [8, 11]
    assert decay_epochs(table[2][1], images_per_epoch=117_264) == [16, 22]


def test_the_figures_are_those_that_the_metrics_name() -> None:
    for table in TABLES:
        sweep = load_table(table)
        for cell in sweep.cells:
            assert set(cell.published) <= set(sweep.metrics)
            assert sweep.metrics[0] in cell.published
    assert set(yaml.safe_load(TABLES_FILE.read_text())) == set(TABLES)


def test_the_rule_comes_from_preset_and_switches() -> None:
    rule = AssignConfig(preset="fcos", threshold=2.0).rule()
    assert (rule.metric, rule.threshold, rule.order) == ("center_radius", 2.0, "filter_then_choose")
