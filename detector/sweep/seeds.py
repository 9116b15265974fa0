"""What runs that differ in their seed say of a cell, and of two cells."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

# Student's t at 97.5 %, for 1 to 10 degrees of freedom.
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


class Difference(NamedTuple):
    """Of the means of two cells, over the seeds that both were trained with."""

    mean: float
    half_interval: float
    """Half the width of the 95 % confidence interval, by Student's t over the differences seed by seed."""


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """The sample's standard deviation, None of a single value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def paired_difference(own: Mapping[int, float], base: Mapping[int, float]) -> Difference | None:
    """How much a cell is above another, by seed; None if they share fewer than two seeds.

    Runs of one seed see the same batches and begin with the same weights, so the difference within a seed varies
    less than either value does.
    """
    differences = [value - base[seed] for seed, value in sorted(own.items()) if seed in base]
    mean, deviation = mean_and_deviation(differences) if differences else (0.0, None)
    if deviation is None:
        return None
    count = len(differences)
    return Difference(mean, student(count - 1) * deviation / count**0.5)


def student(degrees_of_freedom: int) -> float:
    """Student's t at 97.5 %; beyond 10 degrees of freedom by Cornish and Fisher's expansion, right to 0.001."""
    if degrees_of_freedom <= len(_STUDENT):
        return _STUDENT[degrees_of_freedom - 1]
    z = statistics.NormalDist().inv_cdf(0.975)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / degrees_of_freedom + second / degrees_of_freedom**2 + third / degrees_of_freedom**3
