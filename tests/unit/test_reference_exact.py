"""The elementary functions of an assignment: close to float64, and what the contract says at their ends."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from pseudo_iou_ops import _reference_exact as exact


def units(actual: Tensor, expected: Tensor) -> float:
    """The largest error in units in the last place of the float32 result."""
    spacing = torch.from_numpy(np.spacing(expected.abs().to(torch.float32).numpy())).double()
    return float(((actual.double() - expected).abs() / spacing).max())


UNIT_INTERVAL = torch.cat((torch.linspace(2**-24, 1, 1_000_003), torch.logspace(-37.9, 0, 200_001))).clamp(max=1)


@pytest.mark.parametrize(
    ("function", "expected", "inputs", "most"),
    [
        (exact.log, torch.log, UNIT_INTERVAL, 2.5),
        (exact.log, torch.log, torch.cat((torch.linspace(1, 4, 1_000_003), torch.logspace(0, 38, 200_001))), 2.5),
        (exact.exp, torch.exp, -torch.linspace(0, 87, 1_000_003), 2.0),
        (exact.sigmoid, torch.sigmoid, torch.linspace(-80, 80, 1_000_003), 3.0),
        (exact.softplus, lambda x: x.clamp(min=0) + (-x.abs()).exp().log1p(), torch.linspace(-80, 80, 1_000_003), 3.0),
    ],
    ids=["log", "log_above_1", "exp", "sigmoid", "softplus"],
)
def test_error_in_units_of_the_last_place(
    function: Callable[[Tensor], Tensor], expected: Callable[[Tensor], Tensor], inputs: Tensor, most: float
) -> None:
    assert units(function(inputs), expected(inputs.double())) <= most


def test_log_of_subnormal_numbers() -> None:
    x = torch.tensor([2**-149, 1e-44, 1e-40, 1.1754942e-38])
    assert units(exact.log(x), torch.log(x.double())) <= 2.5


def test_powers_of_10() -> None:
    x = torch.linspace(-37, 37, 1_000_003)
    error = (exact.exp10(x).double() / 10 ** x.double() - 1).abs()
    assert error.max() <= 1e-5
    assert error[x.abs() <= 3].max() <= 5e-7
    assert exact.exp10(torch.tensor([0.0, -0.0])).tolist() == [1.0, 1.0]
    ends = exact.exp10(torch.tensor([-torch.inf, torch.inf])).tolist()
    assert ends == pytest.approx([math.exp(-87), math.exp(87)], rel=1e-5)


def test_the_floored_log() -> None:
    x = torch.tensor([0.0, 2**-149, 2**-126, 1.0, 2.0, -1.0, torch.nan])
    expected = [-100.0, -100.0, math.log(2**-126), 0.0, math.log(2), -100.0, -100.0]
    assert exact.floored_log(x).tolist() == pytest.approx(expected, rel=1e-6)


def test_error_of_atan() -> None:
    a = torch.logspace(-6, 6, 1_000_003)
    for one, other in ((a, torch.ones_like(a)), (torch.ones_like(a), a)):
        error = (exact.atan(one, other).double() - torch.atan2(one.double(), other.double())).abs().max()
        assert error <= 2e-7


@pytest.mark.parametrize("n", range(9))
def test_whole_powers(n: int) -> None:
    x = torch.linspace(0, 1, 10_001)
    assert torch.allclose(exact.whole_power(x, n).double(), x.double() ** n, rtol=5e-7)


@pytest.mark.parametrize("exponent", [0, 0.25, 0.5, 1, 1.5, 2, 7.0])
def test_powers_of_probabilities(exponent: float) -> None:
    p = torch.linspace(0, 1, 10_001)
    power = exact.power_of_probability(p, exponent)
    expected = p.double() ** exponent
    # The exponential is as wrong as its argument, whose size multiplies the error of the logarithm.
    argument = exponent * p.double().clamp(min=1e-4).log().abs()
    assert ((power.double() - expected).abs() <= expected * (2 + argument) * 2**-22).all()
    assert power.min() >= 0
    assert power.max() <= 1
    assert power[-1] == 1
    assert power[0] == (1 if exponent == 0 else 0)


def test_values_at_the_ends() -> None:
    infinity = torch.tensor([torch.inf, -torch.inf, 0.0])
    assert exact.sigmoid(infinity).tolist() == [1.0, 0.0, 0.5]
    assert exact.log(torch.ones(1)).item() == 0
    assert exact.exp(torch.tensor([0.0, -0.0, -torch.inf])).tolist()[:2] == [1.0, 1.0]
