"""Scenes, transforms, batches and their order."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from detector.config import Config, DataConfig, SyntheticConfig, load_config
from detector.data import Annotations, load_annotations
from detector.data.loader import (
    DetectionDataset,
    collate,
    read_image,
    training_loader,
)
from detector.data.synthetic import LARGEST, SHAPES, SMALLEST, _mask, draw_scene, ensure_synthetic
from detector.data.transforms import Boxes, apply_transform, evaluation_transform, seed_of, training_transform
from detector.errors import UserError
from detector.places import BUNDLED, VARIABLE, find


def test_scenes_are_deterministic() -> None:
    first, again, other = (draw_scene(seed, 5, 96, 64, 4) for seed in (0, 0, 1))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.boxes, again.boxes)
    assert not np.array_equal(first.image, other.image)


def test_scenes_hold_boxes_inside_and_some_are_empty() -> None:
    counts = []
    for index in range(60):
        scene = draw_scene(0, index, 96, 64, 4)
        counts.append(len(scene.boxes))
        assert scene.image.shape == (64, 96, 3)
        assert (scene.boxes[:, :2] >= 0).all()
        assert (scene.boxes[:, 2:] <= [96, 64]).all()
        assert (scene.boxes[:, 2:] > scene.boxes[:, :2]).all()
        assert ((scene.labels >= 0) & (scene.labels < len(SHAPES))).all()
    assert 0 in counts
    assert max(counts) >= 3


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_drawn_shape_is_whole(shape: list[tuple[float, float]]) -> None:
    """A window that cut it would take area away; the dots of its edge make it a little larger than the polygon."""
    x, y = np.array(shape).T
    polygon = abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2
    for seed in range(40):
        _, coverage = _mask(np.random.default_rng(seed), shape, 96, 64)
        radius = 32 * math.exp(np.random.default_rng(seed).uniform(math.log(SMALLEST), math.log(LARGEST)))
        assert 1 <= coverage.sum() / (polygon * radius**2) < 1.1


def test_synthetic_set_is_rendered_once_and_the_same(tmp_path: Path) -> None:
    settings = SyntheticConfig(train_images=3, val_images=2, size=32, max_objects=2)
    folder = ensure_synthetic(settings, tmp_path / "a")
    other = ensure_synthetic(settings, tmp_path / "b")
    names = sorted(file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    assert len(names) == 7
    assert all((folder / name).read_bytes() == (other / name).read_bytes() for name in names)
    (folder / "marker").touch()
    assert ensure_synthetic(settings, tmp_path / "a") == folder
    assert (folder / "marker").exists()
    assert ensure_synthetic(dataclasses.replace(settings, seed=1), tmp_path / "a") != folder
    assert not list(tmp_path.rglob("unfinished-*"))


def marked_image(height: int, width: int, box: tuple[int, int, int, int]) -> torch.Tensor:
    """Black, with white where the box is."""
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    x1, y1, x2, y2 = box
    image[:, y1:y2, x1:x2] = 255
    return image


def some_boxes(*rows: tuple[float, float, float, float]) -> Boxes:
    """Labels count from 0, and every second box is to ignore."""
    count = len(rows)
    return Boxes(torch.tensor(rows).reshape(-1, 4), torch.arange(count), torch.arange(count) % 2 == 1)


def test_transforms_keep_boxes_on_their_pixels() -> None:
    image = marked_image(60, 90, (9, 12, 33, 48))
    box = some_boxes((9.0, 12.0, 33.0, 48.0))
    config = DataConfig(short_sides=(100, 120), max_side=400)
    seen = set()
    for seed in range(12):
        moved, (boxes, _, _) = apply_transform(training_transform(config), image, box, seed)
        assert moved.dtype == torch.uint8
        bright = moved[0] > 127
        rows, columns = bright.any(1).nonzero(), bright.any(0).nonzero()
        extent = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert boxes[0].tolist() == pytest.approx([float(value) for value in extent], abs=1.0)
        seen.add((tuple(moved.shape), float(boxes[0, 0]) > 50))
    assert len(seen) == 4  # both sizes, flipped and not


def test_transforms_depend_on_the_seed_alone() -> None:
    image, box = marked_image(60, 90, (9, 12, 33, 48)), some_boxes((9.0, 12.0, 33.0, 48.0))
    transform = training_transform(DataConfig(short_sides=(50, 60, 70)))
    torch.manual_seed(0)
    first = [apply_transform(transform, image, box, seed)[0] for seed in range(5)]
    torch.manual_seed(1)
    state = torch.get_rng_state()
    again = [apply_transform(transform, image, box, seed)[0] for seed in range(5)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert seed_of(0, 1, 2) == seed_of(0, 1, 2) != seed_of(0, 2, 1)


def test_transforms_take_images_without_boxes() -> None:
    transform = training_transform(DataConfig(short_sides=(50,)))
    _, boxes = apply_transform(transform, marked_image(60, 90, (0, 0, 1, 1)), some_boxes(), 0)
    assert [tuple(field.shape) for field in boxes] == [(0, 4), (0,), (0,)]


def test_training_cuts_boxes_at_the_border_and_drops_those_of_no_size() -> None:
    boxes = some_boxes((10, 10, 20, 20), (-8, -8, 6, 70), (30, 30, 30, 50), (95, 5, 99, 9), (40, 20, 60, 40))
    transform = training_transform(DataConfig(short_sides=(60,), flip=0.0))
    _, kept = apply_transform(transform, marked_image(60, 90, (0, 0, 1, 1)), boxes, 0)
    assert kept.boxes.tolist() == [[10, 10, 20, 20], [0, 0, 6, 60], [40, 20, 60, 40]]
    assert kept.labels.tolist() == [0, 1, 4]  # what belongs to a box goes with it
    assert kept.ignore.tolist() == [False, True, False]
    _, all_of_them = apply_transform(evaluation_transform(DataConfig()), marked_image(60, 90, (0, 0, 1, 1)), boxes, 0)
    assert len(all_of_them.boxes) == 5


def test_evaluation_resizes_within_the_longer_side() -> None:
    config = DataConfig(eval_short_side=80, max_side=100)
    image, _ = apply_transform(evaluation_transform(config), marked_image(40, 80, (0, 0, 1, 1)), some_boxes(), 0)
    assert image.shape == (3, 50, 100)


def test_collate_pads_and_packs(config: Config, annotations: Annotations) -> None:
    dataset = DetectionDataset(annotations, v2.Identity())
    samples = [dataset[(0, index)] for index in range(3)]
    samples[1] = dataclasses.replace(
        samples[1],
        image=samples[1].image[:, :40, :33],
        boxes=torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]),
        labels=torch.tensor([2, 0]),
        ignore=torch.tensor([True, False]),
    )
    batch = collate(samples)
    assert batch.images.shape == (3, 3, 64, 64)
    assert batch.images.dtype == torch.uint8
    assert batch.sizes.tolist() == [[64, 64], [40, 33], [64, 64]]
    assert batch.images[1, :, 50, 10].tolist() == [124, 116, 104]
    assert torch.equal(batch.images[1, :, :40, :33], samples[1].image)
    begin, end = batch.targets.offsets[1:3].tolist()
    assert batch.targets.boxes[begin:end].tolist() == [[5, 6, 7, 8]]
    assert batch.targets.labels[begin:end].tolist() == [0]
    assert batch.targets.ignore_boxes.tolist() == [[1, 2, 3, 4]]
    assert batch.targets.ignore_offsets.tolist() == [0, 0, 1, 1]


def test_loader_processes_change_nothing(config: Config, annotations: Annotations) -> None:
    several = dataclasses.replace(config, data=dataclasses.replace(config.data, workers=2))
    alone = list(training_loader(config, annotations, 0, 5))
    shared = list(training_loader(several, annotations, 0, 5))
    for one, two in zip(alone, shared, strict=True):
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.targets.boxes, two.targets.boxes)
        assert one.files == two.files


def test_images_that_can_not_be_read(tmp_path: Path, annotations: Annotations) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    for name in ("broken.jpg", "missing.jpg"):
        with pytest.raises(UserError, match=f"{name}: not a readable image"):
            read_image(str(tmp_path / name))
    Image.new("RGB", (5, 4)).save(tmp_path / "small.png")
    files = annotations.files.astype("U500")
    files[0] = str(tmp_path / "small.png")
    dataset = DetectionDataset(dataclasses.replace(annotations, files=files), v2.Identity())
    with pytest.raises(UserError, match=r"small\.png: expected height x width 64x64 as annotated, got 4x5"):
        dataset[(0, 0)]


def test_select_and_without_empty(annotations: Annotations) -> None:
    kept = annotations.without_empty()
    assert 0 < len(kept) <= len(annotations)
    assert bool((kept.offsets.diff() > 0).all())
    chosen = annotations.select([2, 0])
    assert torch.equal(chosen.boxes[chosen.rows(1)], annotations.boxes[annotations.rows(0)])


def test_missing_data_is_one_line() -> None:
    with pytest.raises(UserError, match=r"data\.root: no folder 'nowhere'; give the data set's folder"):
        load_annotations(DataConfig(root="nowhere"), "train")


def test_a_data_set_is_found_in_the_data_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory first, then PSEUDO_IOU_OPS_DATA, then the checkout's own data sets."""
    own, local = tmp_path / "own", tmp_path / "local"
    for folder in (own, local / "shapes", local / "bccd_small", own / "bccd_small"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(own)
    monkeypatch.delenv(VARIABLE, raising=False)
    assert find("shapes") == Path("shapes")  # nowhere
    assert find("") == Path("")
    monkeypatch.setenv(VARIABLE, str(local))
    assert find("shapes") == local / "shapes"
    assert find("bccd_small") == Path("bccd_small")
    (own / "bccd_small").rmdir()
    assert find("bccd_small") == local / "bccd_small"
    monkeypatch.delenv(VARIABLE)
    assert find("bccd_small") == BUNDLED / "bccd_small"


def test_the_demo_reads_real_images() -> None:
    config = load_config(Path("configs/demo.yaml"))
    assert (len(load_annotations(config.data, "train")), len(load_annotations(config.data, "val"))) == (292, 72)
