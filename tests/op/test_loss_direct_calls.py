"""A direct call of a loss's op with bad tensors is refused before anything is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

CLASS_LOSS = torch.ops.pseudo_iou_ops.class_loss.default
LTRB_LOSS = torch.ops.pseudo_iou_ops.ltrb_loss.default
SCALE = torch.ops.pseudo_iou_ops.scale_.default


def class_call() -> dict[str, Any]:
    return {
        "logits": [torch.zeros(2, 3, 2, 2), torch.zeros(2, 1, 3)],
        "labels": torch.zeros(2, 5, dtype=torch.int64),
        "targets": torch.zeros(2, 5),
        "normalizer": torch.ones(()),
        "weights": (0.75, 0.25),
        "exponent": 2.0,
    }


def run_class(call: dict[str, Any]) -> None:
    CLASS_LOSS(
        call["logits"], call["labels"], call["targets"], call["normalizer"], *call["weights"], call["exponent"],
        False, True,
    )  # fmt: skip


def ltrb_call() -> dict[str, Any]:
    return {
        "predictions": [torch.zeros(2, 4, 2, 2), torch.zeros(2, 1, 4)],
        "targets": torch.zeros(2, 5, 4),
        "labels": torch.zeros(2, 5, dtype=torch.int64),
        "weights": torch.zeros(2, 5),
        "normalizer": torch.ones(()),
        "kind": 0,
    }


def run_ltrb(call: dict[str, Any]) -> None:
    LTRB_LOSS(*call.values(), True)


def test_the_calls_that_the_bad_ones_vary_are_good() -> None:
    run_class(class_call())
    run_ltrb(ltrb_call())


@pytest.mark.parametrize(
    ("argument", "change"),
    [
        ("logits", lambda levels: []),
        ("logits", lambda levels: levels * 9),
        ("logits", lambda levels: [levels[0], levels[1].double()]),
        ("logits", lambda levels: [level.long() for level in levels]),
        ("logits", lambda levels: [levels[0], levels[1][:1]]),
        ("logits", lambda levels: [levels[0], levels[1][..., :2]]),
        ("logits", lambda levels: [levels[0][..., :1].expand(2, 3, 2, 2), levels[1]]),
        ("logits", lambda levels: [torch.zeros(2, 3, 2, 4)[..., ::2], levels[1]]),
        ("logits", lambda levels: [levels[0].transpose(2, 3).contiguous().transpose(2, 3), levels[1]]),
        ("logits", lambda levels: [levels[0].flatten(), levels[1]]),
        ("labels", lambda labels: labels[:, :-1].contiguous()),
        ("labels", lambda labels: labels.int()),
        ("labels", lambda labels: labels.t().contiguous().t()),
        ("targets", lambda targets: targets[:1]),
        ("targets", lambda targets: targets.double()),
        ("normalizer", lambda value: torch.ones(2)),
        ("normalizer", lambda value: value.double()),
        ("exponent", lambda value: -1.0),
        ("exponent", lambda value: float("nan")),
    ],
)
def test_class_loss(argument: str, change: Callable[[Any], Any]) -> None:
    call = class_call()
    call[argument] = change(call[argument])
    with pytest.raises(RuntimeError, match=argument):
        run_class(call)


@pytest.mark.parametrize(
    ("argument", "change"),
    [
        ("predictions", lambda levels: []),
        ("predictions", lambda levels: [level[:, :3, :3] for level in levels]),
        ("targets", lambda targets: targets[..., :3].contiguous()),
        ("targets", lambda targets: targets.double()),
        ("labels", lambda labels: labels.int()),
        ("labels", lambda labels: labels[:1]),
        ("weights", lambda weights: weights.half()),
        ("weights", lambda weights: weights[:, :2]),
        ("normalizer", lambda value: torch.ones(2)),
        ("kind", lambda kind: 2),
        ("kind", lambda kind: -1),
    ],
)
def test_ltrb_loss(argument: str, change: Callable[[Any], Any]) -> None:
    call = ltrb_call()
    call[argument] = change(call[argument])
    with pytest.raises(RuntimeError, match=argument):
        run_ltrb(call)


@pytest.mark.parametrize(
    ("tensors", "factor", "match"),
    [
        ([], torch.ones(()), "tensors"),
        ([torch.ones(2), torch.ones(2).double()], torch.ones(()), "tensors"),
        ([torch.ones(2).long()], torch.ones(()), "tensors"),
        ([torch.ones(1).expand(2)], torch.ones(()), "tensors"),
        ([torch.ones(2)], torch.ones(2), "factor"),
        ([torch.ones(2)], torch.ones((), dtype=torch.float64), "factor"),
    ],
)
def test_scale(tensors: list[torch.Tensor], factor: torch.Tensor, match: str) -> None:
    with pytest.raises(RuntimeError, match=match):
        SCALE(tensors, factor)
