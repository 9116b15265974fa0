"""What each process of test_distributed.py runs; torchrun starts it."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import torch

from detector.assign_config import AssignConfig, Kind
from detector.config import Config, LossConfig, load_config
from detector.data import load_annotations
from detector.data.loader import Batch, DetectionDataset, collate
from detector.data.transforms import evaluation_transform
from detector.distributed import gather_rows, largest_over_ranks, process_group, rank, world_size
from detector.engine.step import forward
from detector.engine.train import build_network, new_state
from detector.evaluation.gather import gather_lists

CPU = torch.device("cpu")
KINDS: dict[str, Kind] = {"paper": "points", "weighted by centerness": "points", "atss": "atss", "tood": "task_aligned"}
VARIANTS = tuple(KINDS)
SPLITS = ("dense", "one empty", "all empty")


def variant(config: Config, name: str) -> Config:
    """Without batch normalisation, whose statistics each process has of its own images."""
    is_weighted = name == "weighted by centerness"
    model = dataclasses.replace(config.model, norm="frozen", centerness=is_weighted)
    return dataclasses.replace(
        config,
        model=model,
        loss=LossConfig(weight_boxes_by_centerness=is_weighted),
        assign=AssignConfig(kind=KINDS[name]),
    )


def share_of(config: Config, split: str, ranks: int, rank: int) -> Batch:
    """Of six images, every so many-th. In the split "one empty", every second one has lost its boxes."""
    dataset = DetectionDataset(load_annotations(config.data, "train"), evaluation_transform(config.data))
    samples = [dataset[(0, index)] for index in range(6)]
    loses = {"dense": range(0), "one empty": range(1, 6, 2), "all empty": range(6)}[split]
    for position in loses:
        sample = samples[position]
        samples[position] = dataclasses.replace(
            sample, boxes=sample.boxes[:0], labels=sample.labels[:0], ignore=sample.ignore[:0]
        )
    return collate(samples[rank::ranks])


def gradients(config: Config, split: str, ranks: int, rank: int) -> dict[str, object]:
    """The mean loss and the gradients after one backward pass."""
    state = new_state(config, 5, CPU)
    network = build_network(state.model.train())
    losses, assignment = forward(state.model, share_of(config, split, ranks, rank), network)
    torch.stack(list(losses.values())).sum().backward()
    return {
        "losses": {name: float(value.detach()) for name, value in losses.items()},
        "positives": int(assignment.num_pos.sum()),
        "gradients": {name: p.grad for name, p in state.model.named_parameters() if p.requires_grad},
    }


def main(config_file: Path, out: Path) -> None:
    config = load_config(config_file)
    torch.set_num_threads(1)
    with process_group():
        results: dict[str, object] = {
            f"{name}, {split}": gradients(variant(config, name), split, world_size(), rank())
            for name in VARIANTS
            for split in SPLITS
        }
        results["rows"] = gather_rows(torch.full((2 * rank(), 3), float(rank())))
        results["no rows"] = gather_rows(torch.zeros(0, 3))
        results["lists"] = gather_lists([f"{rank()}: {number}" for number in range(2 * rank())])
        results["largest"] = largest_over_ranks(rank())
        torch.save(results, out / f"rank{rank()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
