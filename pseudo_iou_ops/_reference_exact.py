"""The elementary functions of csrc/core/exact.h in float32 torch, in their bits on every device."""

from __future__ import annotations

import torch
from torch import Tensor


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x)); 0 below -87, and NaN stays."""
    away = -x.abs()
    e = torch.where(away < -87, 0.0, exp(away))
    return torch.where(x.isnan(), x, torch.where(x < 0, e, 1.0) / (1 + e))


def exp(x: Tensor) -> Tensor:
    """exp(x) for x <= 0; exp(-87) below -87."""
    x = x.clamp(min=-87)
    shifted = x * _float(1.44269504) + 12582912.0
    exponent = shifted - 12582912.0
    rest = exponent * _float(2.12194440e-4) + (exponent * -0.693359375 + x)
    series = torch.full_like(x, _float(1.381446724e-3))
    for coefficient in (8.368780836e-3, 4.166839272e-2, 1.666651964e-1, 4.999999404e-1):
        series = series * rest + _float(coefficient)
    mantissa = ((series * rest) * rest + rest) + 1
    return (mantissa.view(torch.int32) + (shifted.view(torch.int32) << 23)).view(torch.float32)


def log(x: Tensor) -> Tensor:
    """log(x) of a finite x > 0."""
    is_subnormal = x < _float(1.17549435e-38)
    bits = torch.where(is_subnormal, x * 8388608.0, x).view(torch.int32)
    exponent = (bits >> 23) - torch.where(is_subnormal, 150, 127)
    mantissa = ((bits & 0x7FFFFF) | 0x3F800000).view(torch.float32)
    is_large = mantissa > _float(1.41421354)
    mantissa = torch.where(is_large, mantissa * 0.5, mantissa)
    whole = (exponent + is_large).to(torch.float32)
    s = (mantissa - 1) / (mantissa + 1)
    square = s * s
    series = torch.full_like(x, _float(2 / 13))
    for divisor in (11, 9, 7, 5, 3):
        series = series * square + _float(2 / divisor)
    rest = (series * square) * s + (s + s)
    return whole * 0.693359375 + (whole * _float(-2.12194440e-4) + rest)


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)) of a finite x; not below exp(-87)."""
    e = exp(-x.abs())
    s = e / (2 + e)
    square = s * s
    series = torch.full_like(x, _float(1.400633305e-1))
    for coefficient in (1.400083899e-1, 2.001076639e-1, 3.333320916e-1):
        series = series * square + _float(coefficient)
    artanh = (series * square) * s + s
    return torch.where(x > 0, x, 0.0) + (artanh + artanh)


def exp10(x: Tensor) -> Tensor:
    """10^x; between exp(-87) and exp(87)."""
    power = exp(-x.abs() * _float(2.30258512))
    return torch.where(x > 0, 1 / power, power)


def floored_log(x: Tensor) -> Tensor:
    """log(x), not below -100, and -100 of what is not a normal number."""
    is_normal = x >= _float(1.17549435e-38)
    return torch.where(is_normal, log(torch.where(is_normal, x, 1.0)), -100.0)


def sqrt(x: Tensor) -> Tensor:
    """The root, correctly rounded: torch's own of float32 can be one unit off on a CPU."""
    return x.double().sqrt().float()


def atan(a: Tensor, b: Tensor) -> Tensor:
    """atan(a / b) for a, b > 0."""
    ratio = torch.minimum(a, b) / torch.maximum(a, b)
    square = ratio * ratio
    series = torch.full_like(ratio, _float(0.002622224))
    for coefficient in (
        -0.0151324505, 0.041121714, -0.07366693, 0.10573926, -0.14185974, 0.19990396, -0.33332986
    ):  # fmt: skip
        series = series * square + _float(coefficient)
    angle = (ratio * square) * series + ratio
    return torch.where(a > b, _float(1.57079637) - angle, angle)


def whole_power(x: Tensor, n: int) -> Tensor:
    """x^n for n from 0 to 8."""
    square = x * x
    cube, fourth = square * x, square * square
    powers = (torch.ones_like(x), x, square, cube, fourth, fourth * x, cube * cube, (cube * cube) * x, fourth * fourth)
    return powers[n]


def power_of_probability(p: Tensor, exponent: float) -> Tensor:
    """p^exponent for p in [0, 1] and an exponent of 0 or more."""
    if exponent == 0.5:
        return sqrt(p)
    if exponent in (0, 1, 2):
        return whole_power(p, int(exponent))
    is_positive = p > 0
    safe = torch.where(is_positive, p, torch.ones_like(p))
    power = exp(log(safe) * _float(exponent)).clamp(max=1)
    return torch.where(is_positive, power, torch.zeros_like(p))


def _float(value: float) -> float:
    """The float32 nearest to a number: a product with it is rounded once, in float32."""
    return float(torch.tensor(value, dtype=torch.float32))
