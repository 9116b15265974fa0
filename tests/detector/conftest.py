"""Small data sets and configurations: a whole training run in seconds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

# ruff: noqa: E402
for package in ("torchvision", "pycocotools", "tyro", "pydantic", "matplotlib"):
    pytest.importorskip(package, reason=f"the detector's requirement {package} is not installed")

from detector.config import (
    Config,
    DataConfig,
    ModelConfig,
    OptimConfig,
    SyntheticConfig,
    TrainConfig,
)
from detector.data import Annotations, load_annotations
from detector.data.loader import Batch, DetectionDataset, collate
from detector.data.transforms import evaluation_transform


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in the processes that tests start: sums over another number of threads have other last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def synthetic_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("synthetic")


@pytest.fixture
def config(synthetic_root: Path) -> Config:
    """A tiny network on 16 drawn scenes."""
    return Config(
        data=DataConfig(
            format="synthetic",
            root=str(synthetic_root),
            synthetic=SyntheticConfig(train_images=16, val_images=4, size=64, max_objects=3),
            short_sides=(64,),
            eval_short_side=64,
            max_side=64,
            workers=0,
        ),
        model=ModelConfig(
            backbone="resnet10",
            weights="none",
            norm="batch",
            trainable_stages=5,
            channels=16,
            head_convs=1,
            norm_groups=4,
        ),
        optim=OptimConfig(optimizer="adamw", lr=0.001, warmup_iterations=0, clip_grad_norm=10.0),
        train=TrainConfig(iterations=8, batch_size=4, log_every=4, device="cpu"),
    )


@pytest.fixture
def annotations(config: Config) -> Annotations:
    return load_annotations(config.data, "train")


@pytest.fixture
def batch(config: Config, annotations: Annotations) -> Batch:
    """The first four scenes."""
    dataset = DetectionDataset(annotations, evaluation_transform(config.data))
    return collate([dataset[(0, index)] for index in range(4)])


@pytest.fixture
def empty_batch(batch: Batch) -> Batch:
    """The same images, without boxes."""
    targets = dataclasses.replace(
        batch.targets,
        boxes=torch.zeros(0, 4),
        labels=torch.zeros(0, dtype=torch.int64),
        offsets=torch.zeros_like(batch.targets.offsets),
    )
    return dataclasses.replace(batch, targets=targets)
