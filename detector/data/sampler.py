"""Which images a step trains on: a pure function of the seed and the step, so that a resumed run needs no state."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

from .transforms import seed_of

Key = tuple[int, int]  # epoch, index


class TrainingBatches(Sampler[list[Key]]):
    """One process's share of the batches of the steps ``first_step .. last_step - 1``.

    The batch of a step is the same however many processes share it.

    Args:
        groups: (N,) the group of each image: a batch holds images of one group where that can be.
        batch_size: images of a step, of all processes together; all N if there are fewer.
        seed: of the order.
        first_step: counted from 0 at the start of the run.
        last_step: the first step that is not taken.
        rank: this process among ``ranks``.
        ranks: how many processes there are, N or fewer.
    """

    def __init__(
        self,
        groups: Tensor,
        batch_size: int,
        seed: int,
        first_step: int,
        last_step: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.groups = groups
        self.batch_size = min(batch_size, len(groups))
        self.seed = seed
        self.steps = range(first_step, last_step)
        self.rank = rank
        self.ranks = ranks

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[Key]]:
        per_epoch = steps_per_epoch(len(self.groups), self.batch_size)
        epoch, batches = -1, []
        for step in self.steps:
            if step // per_epoch != epoch:
                epoch = step // per_epoch
                batches = epoch_batches(self.groups, self.batch_size, seed_of(self.seed, epoch))
            yield [(epoch, index) for index in batches[step % per_epoch][self.rank :: self.ranks]]


def epoch_batches(groups: Tensor, batch_size: int, seed: int) -> list[list[int]]:
    """An epoch's full batches, in random order: of one group each, and mixed ones of the images left over.

    The last ones, fewer than a batch, are not used in this epoch.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(groups), generator=generator)
    batches, left = [], []
    for group in groups.unique():
        members = order[groups[order] == group]
        full = len(members) // batch_size * batch_size
        batches += members[:full].reshape(-1, batch_size).tolist()
        left.append(members[full:])
    rest = torch.cat(left)
    rest = rest[torch.randperm(len(rest), generator=generator)]
    full = len(rest) // batch_size * batch_size
    batches += rest[:full].reshape(-1, batch_size).tolist()
    return [batches[position] for position in torch.randperm(len(batches), generator=generator).tolist()]


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Full batches in an epoch."""
    return max(1, images // batch_size)
