"""How autograd sees the losses: when a gradient is made, how often it is used, and what it costs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from loss_samples import DTYPES, LAYOUTS, box_sample, class_sample
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pseudo_iou_ops import centerness_loss, ltrb_iou_loss, quality_focal_loss, sigmoid_focal_loss

LABELS = class_sample().labels
QUALITY = class_sample().quality
TARGET = box_sample().quality

LOSSES: dict[str, tuple[int, Callable[[list[Tensor]], Tensor]]] = {
    "focal": (5, lambda levels: sigmoid_focal_loss(levels, LABELS)),
    "quality": (5, lambda levels: quality_focal_loss(levels, LABELS, QUALITY)),
    "centerness": (1, lambda levels: centerness_loss(levels, LABELS, QUALITY)),
    "ltrb": (4, lambda levels: ltrb_iou_loss([level.abs() for level in levels], TARGET, LABELS)),
}
EVERY_LOSS = pytest.mark.parametrize("name", LOSSES)


def leaves_of(name: str, dtype: torch.dtype = torch.float32, layout: str = "flat") -> list[Tensor]:
    return [level.requires_grad_() for level in class_sample(layout, dtype, classes=LOSSES[name][0]).levels]


class Calls(TorchDispatchMode):
    """The library's ops that ran, with their last argument."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, object]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func.namespace == "pseudo_iou_ops":
            self.seen.append((func.__name__.split(".")[0], args[-1]))
        return func(*args, **(kwargs or {}))


@EVERY_LOSS
def test_no_gradient_is_made_that_nobody_asked_for(name: str) -> None:
    leaves = leaves_of(name)
    with Calls() as calls:
        with torch.no_grad():
            frozen = LOSSES[name][1](leaves)
        plain = LOSSES[name][1]([leaf.detach() for leaf in leaves])
        with torch.inference_mode():
            LOSSES[name][1](leaves)
    assert [with_gradients for _, with_gradients in calls.seen] == [False] * 3
    assert not frozen.requires_grad
    assert not plain.requires_grad
    assert torch.equal(frozen, LOSSES[name][1](leaves))


@EVERY_LOSS
def test_forward_and_backward_are_one_pass(name: str) -> None:
    leaves = leaves_of(name)
    with Calls() as calls:
        LOSSES[name][1](leaves).backward()
    assert [op for op, _ in calls.seen] == ["ltrb_loss" if name == "ltrb" else "class_loss", "scale_"]


@EVERY_LOSS
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_incoming_gradient_scales(name: str, dtype: torch.dtype) -> None:
    leaves = leaves_of(name, dtype)
    ones = torch.autograd.grad(LOSSES[name][1](leaves), leaves)
    fours = torch.autograd.grad(4 * LOSSES[name][1](leaves), leaves)
    for one, four in zip(ones, fours, strict=True):
        torch.testing.assert_close(four, 4 * one, rtol=0, atol=1e-6)


@EVERY_LOSS
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_retained_graph_gives_the_same_again(name: str, layout: str) -> None:
    leaves = leaves_of(name, layout=layout)
    loss = 3 * LOSSES[name][1](leaves)
    first = torch.autograd.grad(loss, leaves, retain_graph=True)
    kept = [gradient.clone() for gradient in first]
    second = torch.autograd.grad(loss, leaves, retain_graph=True)
    third = torch.autograd.grad(loss, leaves)
    for results in zip(kept, first, second, third, strict=True):
        assert all(torch.equal(result, results[0]) for result in results)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, leaves)


def test_a_recomputation_notices_changed_inputs() -> None:
    labels = LABELS.clone()
    leaves = leaves_of("focal")
    loss = sigmoid_focal_loss(leaves, labels)
    torch.autograd.grad(loss, leaves, retain_graph=True)
    labels.fill_(0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(loss, leaves)


@EVERY_LOSS
def test_differentiating_twice_is_refused(name: str) -> None:
    leaves = leaves_of(name)
    loss = LOSSES[name][1](leaves)
    for value in (loss, loss**2):  # the incoming gradient is a constant, or is not
        gradients = torch.autograd.grad(value, leaves, create_graph=True)
        with pytest.raises(RuntimeError, match="expected to be differentiated once"):
            torch.autograd.grad(sum(gradient.sum() for gradient in gradients), leaves)


def test_levels_without_gradient() -> None:
    """Some levels frozen: the others still learn."""
    frozen, learning, _ = leaves = leaves_of("focal")
    frozen.requires_grad_(False)
    (2 * sigmoid_focal_loss(leaves, LABELS)).backward()
    assert frozen.grad is None
    assert learning.grad is not None
    everywhere = leaves_of("focal")
    (2 * sigmoid_focal_loss(everywhere, LABELS)).backward()
    assert torch.equal(learning.grad, everywhere[1].grad)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_keeps_the_precision(dtype: torch.dtype) -> None:
    leaves = leaves_of("focal", torch.bfloat16)
    expected = sigmoid_focal_loss(leaves, LABELS)
    with torch.autocast("cpu", dtype=dtype):
        loss = sigmoid_focal_loss(leaves, LABELS)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, expected)


SCRIPT = """
import torch
from pseudo_iou_ops import sigmoid_focal_loss

def status(key):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":"))

torch.set_num_threads(2)
def step(points):
    logits = torch.randn(2, points, 80, requires_grad=True)
    labels = torch.randint(-2, 80, (2, points))
    with open("/proc/self/clear_refs", "w") as clear_refs:
        clear_refs.write("5")
    before = status("VmRSS")
    (4 * sigmoid_focal_loss(logits, labels)).backward()
    return status("VmHWM") - before, logits.nbytes

step(1000)  # starts the threads
print(*step(40000))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's peak memory counters")
def test_peak_memory_is_the_gradient() -> None:
    """A step on 26 MB of logits, in a process of its own, so that no earlier peak hides this one."""
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    peak, logits = map(int, result.stdout.split())
    assert logits > 25_000_000
    assert logits * 0.9 < peak < logits * 1.1, f"peak of {peak / 1e6:.1f} MB for logits of {logits / 1e6:.1f} MB"


@EVERY_LOSS
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("with_gradients", [False, True])
def test_opcheck(name: str, layout: str, with_gradients: bool) -> None:
    calls = []

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            if func.namespace == "pseudo_iou_ops":
                calls.append((func, args))
            return func(*args, **(kwargs or {}))

    with Recorder():
        LOSSES[name][1]([leaf.detach() for leaf in leaves_of(name, layout=layout)])
    ((op, args),) = calls
    torch.library.opcheck(op, (*args[:-1], with_gradients))


def test_opcheck_of_scale() -> None:
    torch.library.opcheck(torch.ops.pseudo_iou_ops.scale_.default, ([torch.rand(3, 4)], torch.tensor(2.0)))


def test_scale_leaves_values_alone_where_the_factor_is_one() -> None:
    values = torch.tensor([1.0, float("nan"), -0.0])
    torch.ops.pseudo_iou_ops.scale_([values], torch.tensor(1.0))
    assert values[0] == 1
    assert values[1].isnan()
