"""The shim notices the faults it is there for."""

from __future__ import annotations

import pytest
from emulated import build

SCHEDULES = ("forward", "reverse", "shuffled")
NEIGHBOURS = [(thread + 1) % 64 for thread in range(64)]


def run(name: str, schedule: str, seed: int = 0) -> list[float]:
    return build.load().run_faulty_kernel(name, schedule, seed)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_sound_kernel_runs(schedule: str) -> None:
    assert run("sound", schedule) == NEIGHBOURS


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_lanes_with_the_same_value_find_each_other(schedule: str) -> None:
    """Of 32 lanes, 11 leave no remainder by three, 11 leave one and 10 leave two."""
    assert run("match", schedule) == [(11, 11, 10)[thread % 32 % 3] for thread in range(64)]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_lanes_take_what_others_bring(schedule: str) -> None:
    """A lane that looks beyond the warp takes what it brought itself."""
    lanes = [5 + max(lane - 1, 0) + (lane + 2 if lane < 30 else lane) + (lane ^ 8) for lane in range(32)]
    assert run("shuffles", schedule) == lanes * 2


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_missing_barrier_gives_a_wrong_result(schedule: str) -> None:
    assert run("missing_barrier", schedule) != NEIGHBOURS


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", ["early_return", "divergent_barrier", "mixed_collectives"])
def test_a_thread_that_does_not_come_is_a_deadlock(name: str, schedule: str) -> None:
    with pytest.raises(RuntimeError, match="deadlock in block 0"):
        run(name, schedule)


def test_an_order_dependent_result_differs_between_schedules() -> None:
    assert run("order_dependent", "forward") != run("order_dependent", "reverse")
    assert run("order_dependent", "shuffled", 1) != run("order_dependent", "shuffled", 2)
