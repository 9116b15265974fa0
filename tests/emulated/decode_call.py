"""Samples of decode_topk as what the emulated module takes."""

from __future__ import annotations

from typing import Any

import torch
from decode_samples import DecodeSample
from torch import Tensor

from .loss_call import level_tuples, name_of


def unwritten(sample: DecodeSample) -> tuple[Tensor, ...]:
    """Outputs to write into: -99, and the counts as the op clears them."""
    images, ranks = sample.logits[0].shape[0], len(sample.logits) * sample.k
    return (
        torch.full((images, ranks, 4), -99.0),
        torch.full((images, ranks), -99.0),
        torch.full((images, ranks), -99),
        torch.zeros(images, len(sample.logits), dtype=torch.int64),
    )


def decode_topk(sample: DecodeSample, outputs: tuple[Tensor, ...]) -> dict[str, Any]:
    """A call of ``decode_topk``, short of its schedule and seed."""
    first = sample.logits[0]
    positional = (
        level_tuples(sample.logits, None),
        first.shape[2 if first.ndim == 3 else 1],
        name_of(first.dtype),
        level_tuples(sample.ltrb, None),
        level_tuples(sample.centerness, None),
        sample.points.numpy(),
        sample.score_threshold,
        sample.k,
        *(output.numpy() for output in outputs),
    )
    return {"function": "decode_topk", "positional": positional}
