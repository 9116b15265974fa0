"""Configurations and maps that the tests of the detector share."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from detector.assign_config import AtssConfig, SimOtaConfig, TaskAlignedConfig
from detector.config import Config

CPU = torch.device("cpu")
CLASSES = 5
FAMILIES = [
    pytest.param({"assign": {"kind": "atss"}}, id="atss"),
    pytest.param({"assign": {"kind": "task_aligned", "initial_iterations": 4}}, id="tood"),
    pytest.param(
        {"assign": {"kind": "task_aligned", "task_aligned": TaskAlignedConfig(preset="pp_yoloe")}}, id="pp_yoloe"
    ),
    pytest.param({"assign": {"kind": "task_aligned", "task_aligned": TaskAlignedConfig(preset="yolov8")}}, id="yolov8"),
    pytest.param({"assign": {"kind": "sim_ota"}}, id="simota"),
    pytest.param({"assign": {"kind": "sim_ota", "sim_ota": SimOtaConfig(preset="yolox")}}, id="yolox"),
    pytest.param({"assign": {"kind": "soft_label"}}, id="rtmdet"),
]
VARIANTS = [
    pytest.param({}, id="paper"),
    pytest.param({"model": {"centerness": True}, "loss": {"box": "giou"}}, id="giou and centerness"),
    pytest.param({"loss": {"weight_boxes_by_centerness": True}}, id="weighted"),
    pytest.param({"assign": {"normalize_by_stride": True}}, id="normalised"),
    pytest.param({"assign": {"preset": "fcos"}}, id="fcos"),
    pytest.param(
        {
            "model": {"box_activation": "relu", "centerness": True, "pixels": "caffe"},
            "loss": {"box": "giou", "weight_boxes_by_centerness": True},
            "assign": {"preset": "authors_code", "normalize_by_stride": True},
        },
        id="authors' code",
    ),
    pytest.param({"model": {"box_activation": "relu"}}, id="relu and iou"),
    pytest.param(
        {"assign": {"kind": "atss"}, "model": {"centerness": True}, "loss": {"weight_boxes_by_centerness": True}},
        id="atss and centerness",
    ),
    pytest.param({"assign": {"kind": "atss", "atss": AtssConfig(preset="pseudo_iou_atss")}}, id="pseudo_iou_atss"),
    *FAMILIES,
]


def changed(config: Config, changes: dict[str, dict[str, Any]]) -> Config:
    sections = {name: dataclasses.replace(getattr(config, name), **values) for name, values in changes.items()}
    return dataclasses.replace(config, **sections)


def random_ltrb(count: int, seed: int) -> Tensor:
    return torch.rand(count, 4, generator=torch.Generator().manual_seed(seed)) * 50 + 0.5


def one_map(points: Tensor, shape: tuple[int, int] = (2, 2)) -> tuple[Tensor]:
    """(B, P, C) as a map (B, C, H, W) in the same memory."""
    return (points.unflatten(1, shape).permute(0, 3, 1, 2),)


def points_of(maps: tuple[Tensor, ...]) -> Tensor:
    """What `one_map` was made of."""
    return maps[0].permute(0, 2, 3, 1).flatten(1, 2)


def crowded(classes: int, count: int = 400) -> tuple[Tensor, Tensor, Tensor]:
    """Groups of four boxes of a class, moved a little, all over a large image: many overlaps near the threshold."""
    random = torch.Generator().manual_seed(classes)
    centers = torch.rand(count // 4, 2, generator=random) * torch.tensor([1300.0, 760.0])
    centers = centers.repeat_interleave(4, 0) + 3 * torch.rand(count, 2, generator=random)
    half = 4 + 3 * torch.rand(count, 2, generator=random)
    labels = torch.randint(max(0, classes - 100), classes, (count // 4,), generator=random).repeat_interleave(4)
    scores = (torch.rand(count, generator=random) * 50).ceil() / 50  # many are equal
    return torch.cat((centers - half, centers + half), 1), scores, labels
