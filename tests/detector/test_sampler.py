"""Which images a step trains on."""

from __future__ import annotations

import pytest
import torch

from detector.data.sampler import TrainingBatches, epoch_batches

ALIKE = torch.zeros(10, dtype=torch.bool)


def test_batches_are_a_function_of_the_step() -> None:
    everything = list(TrainingBatches(ALIKE, 4, seed=3, first_step=0, last_step=6))
    assert list(TrainingBatches(ALIKE, 4, seed=3, first_step=3, last_step=6)) == everything[3:]
    assert [epoch for (epoch, _), *_ in everything] == [0, 0, 1, 1, 2, 2]
    indices = [index for batch in everything[:2] for _, index in batch]
    assert len(set(indices)) == 8
    assert everything[0] != everything[2]
    assert list(TrainingBatches(ALIKE, 4, seed=4, first_step=0, last_step=6)) != everything
    small = list(TrainingBatches(ALIKE[:3], 8, seed=0, first_step=0, last_step=2))
    assert [sorted(index for _, index in batch) for batch in small] == [[0, 1, 2]] * 2


@pytest.mark.parametrize("ranks", [2, 3])
def test_processes_share_the_batch_that_one_would_take(ranks: int) -> None:
    alone = list(TrainingBatches(ALIKE, 6, seed=0, first_step=0, last_step=3))
    shares = [
        list(TrainingBatches(ALIKE, 6, seed=0, first_step=0, last_step=3, rank=rank, ranks=ranks))
        for rank in range(ranks)
    ]
    for step, batch in enumerate(alone):
        own = [key for share in shares for key in share[step]]
        assert sorted(own) == sorted(batch)
        assert len({len(share[step]) for share in shares}) == 1


def test_batches_hold_one_group_but_for_what_is_left() -> None:
    groups = torch.arange(40) % 5 == 0  # 8 and 32
    order = epoch_batches(groups, 6, seed=1)
    assert len(order) == 40 // 6
    assert len({index for batch in order for index in batch}) == 36
    mixed = [batch for batch in order if len({bool(groups[index]) for index in batch}) > 1]
    assert len(mixed) <= 1
    assert order != epoch_batches(groups, 6, seed=2)
    tall = [position for position, batch in enumerate(order) if bool(groups[batch[0]])]
    places = {tuple(bool(groups[batch[0]]) for batch in epoch_batches(groups, 6, seed)) for seed in range(8)}
    assert tall
    assert len(places) > 1  # the groups do not come one after the other
