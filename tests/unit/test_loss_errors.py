"""Every bad call of a loss is refused before anything runs, by one line that names the argument."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from pseudo_iou_ops import centerness_loss, ltrb_iou_loss, quality_focal_loss, sigmoid_focal_loss

Call = dict[str, Any]


def good_call(function: Callable[..., Tensor]) -> Call:
    """Two images, five points on two levels."""
    channels = {centerness_loss: 1, ltrb_iou_loss: 4}.get(function, 3)
    levels = [torch.ones(2, channels, 2, 2), torch.ones(2, 1, channels)]
    call: Call = {"labels": torch.zeros(2, 5, dtype=torch.int64), "normalizer": torch.ones(())}
    if function is ltrb_iou_loss:
        return {"predictions": levels, "target": torch.ones(2, 5, 4), "weights": torch.ones(2, 5), **call}
    call["logits"] = levels
    if function is quality_focal_loss:
        call["quality"] = torch.ones(2, 5)
    if function is centerness_loss:
        call["centerness"] = torch.ones(2, 5)
    return call


def bad_levels(name: str, channels: int) -> list[tuple[str, str, Any]]:
    return [
        (name, "NoneType", None),
        (name, "str", "levels"),
        (name, "float", [1.0]),
        (name, "0", []),
        (name, "17", [torch.ones(2, 1, channels)] * 17),
        (name, r"\(2, 3\)", [torch.ones(2, 3)]),
        (name, r"\(1, 1, 1, 1, 1\)", [torch.ones(1, 1, 1, 1, 1)]),
        (name, "int64", [torch.ones(2, 5, channels, dtype=torch.int64)]),
        (name, "float64", [torch.ones(2, 1, channels), torch.ones(2, 4, channels, dtype=torch.float64)]),
        (name, rf"\(3, 4, {channels}\)", [torch.ones(2, 1, channels), torch.ones(3, 4, channels)]),
        (name, r"\(2, 4, 7\)", [torch.ones(2, 1, channels), torch.ones(2, 4, 7)]),
        (name, "meta", [torch.ones(2, 1, channels), torch.ones(2, 4, channels, device="meta")]),
    ]


def bad_values(name: str, shape: tuple[int, ...], integer: bool = False) -> list[tuple[str, str, Any]]:
    dtype = torch.int64 if integer else torch.float32
    other = torch.int32 if integer else torch.int64
    return [
        (name, "list", [0]),
        (name, r"\(1, ", torch.zeros(1, *shape[1:], dtype=dtype)),
        (name, str(other), torch.zeros(shape, dtype=other)),
        (name, "meta", torch.zeros(shape, dtype=dtype, device="meta")),
    ]


NORMALIZERS = [
    ("normalizer", "float", 3.0),
    ("normalizer", r"\(2,\)", torch.ones(2)),
    ("normalizer", "bool", torch.tensor(True)),
    ("normalizer", "meta", torch.ones((), device="meta")),
]
LABELS = bad_values("labels", (2, 5), integer=True)


def bad_numbers(name: str, *values: Any) -> list[tuple[str, str, Any]]:
    return [(name, str(value), value) for value in values]


NAN, INFINITE = float("nan"), float("inf")
BAD_CALLS: list[tuple[Callable[..., Tensor], str, str, Any]] = [
    *((sigmoid_focal_loss, *bad) for bad in (*bad_levels("logits", 3), *LABELS, *NORMALIZERS)),
    *((sigmoid_focal_loss, *bad) for bad in bad_numbers("alpha", 1.5, NAN, "a", None)),
    *((sigmoid_focal_loss, *bad) for bad in bad_numbers("gamma", -0.5, NAN, INFINITE, "g")),
    *((quality_focal_loss, *bad) for bad in (*bad_values("quality", (2, 5)), *LABELS, *NORMALIZERS)),
    *((quality_focal_loss, *bad) for bad in bad_numbers("beta", -1.0, NAN, "b")),
    *((centerness_loss, *bad) for bad in (*bad_values("centerness", (2, 5)), *LABELS, *NORMALIZERS)),
    (centerness_loss, "logits", r"\(2, 5, 3\)", [torch.ones(2, 5, 3)]),
    *((ltrb_iou_loss, *bad) for bad in (*bad_levels("predictions", 4), *LABELS, *NORMALIZERS)),
    *((ltrb_iou_loss, *bad) for bad in (*bad_values("target", (2, 5, 4)), *bad_values("weights", (2, 5)))),
    (ltrb_iou_loss, "predictions", r"\(2, 5, 3\)", [torch.ones(2, 5, 3)]),
    (ltrb_iou_loss, "kind", "diou", "diou"),
]


@pytest.mark.parametrize(
    ("function", "argument", "got", "value"), BAD_CALLS, ids=[f"{f.__name__}-{a}-{g}" for f, a, g, _ in BAD_CALLS]
)
def test_bad_call(function: Callable[..., Tensor], argument: str, got: str, value: Any) -> None:
    call = good_call(function) | {argument: value}
    with pytest.raises((ValueError, TypeError), match=rf"^{argument}: expected.*got.*{got}") as error:
        function(**call)
    assert "\n" not in str(error.value)


def test_box_loss_without_labels_and_weights() -> None:
    with pytest.raises(ValueError, match=r"^labels: expected a tensor, because weights is not given either, got None"):
        ltrb_iou_loss(torch.ones(2, 5, 4), torch.ones(2, 5, 4))


@pytest.mark.parametrize("mode", [nullcontext, FakeTensorMode], ids=["real", "fake"])
@pytest.mark.parametrize("function", [sigmoid_focal_loss, quality_focal_loss, centerness_loss, ltrb_iou_loss])
def test_the_calls_that_the_bad_ones_vary_are_good(function: Callable[..., Tensor], mode: Callable[[], Any]) -> None:
    with mode():
        loss = function(**good_call(function))
    assert loss.shape == ()


def test_a_device_without_kernels() -> None:
    with pytest.raises(RuntimeError, match=r"^logits: expected device cpu or cuda, got xpu"), FakeTensorMode():
        sigmoid_focal_loss(torch.ones(1, 1, 1, device="xpu"), torch.zeros(1, 1, dtype=torch.int64, device="xpu"))
