"""torchvision's own detectors, trained through the op."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pseudo_iou_ops import AssignRule, presets
from pseudo_iou_ops.integrations.torchvision import use_in_fcos, use_in_retinanet

torchvision = pytest.importorskip("torchvision")
from torchvision.models.detection import FCOS, RetinaNet  # noqa: E402
from torchvision.models.detection.anchor_utils import AnchorGenerator  # noqa: E402

BCCD = Path(__file__).resolve().parents[2] / "datasets" / "bccd_small"
CHANNELS = 32  # torchvision's heads normalise 32 groups


class TinyPyramid(nn.Module):
    """Feature maps of strides 8 to 128 with `ceil` sizes, as a feature pyramid makes them."""

    out_channels = CHANNELS

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS, 8, stride=8)
        self.down = nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = [self.stem(images)]
        for _ in range(4):
            maps.append(self.down(maps[-1]))
        return {f"p{level}": feature for level, feature in enumerate(maps, start=3)}


def make_fcos(num_classes: int = 4, side: int = 256) -> Any:
    torch.manual_seed(0)
    return FCOS(TinyPyramid(), num_classes, min_size=side, max_size=side).train()


def make_retinanet(num_classes: int = 4, side: int = 256) -> Any:
    torch.manual_seed(0)
    generator = AnchorGenerator(tuple((size, int(size * 1.5)) for size in (32, 64, 128, 256, 512)), ((1.0,),) * 5)
    model = RetinaNet(TinyPyramid(), num_classes, min_size=side, max_size=side, anchor_generator=generator)
    return model.train()


def make_batch(seed: int, sizes: tuple[int, ...] = (9, 0, 4)) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Square images; boxes whose areas differ by far more than the 8 pixels that torchvision's key can tell apart."""
    random = torch.Generator().manual_seed(seed)
    images = [torch.rand(3, 256, 256, generator=random) for _ in sizes]
    targets = []
    for count in sizes:
        centers = torch.rand(count, 2, generator=random) * 256
        sides = 12 + 16.0 * torch.randperm(max(count, 1), generator=random)[:count, None] + torch.rand(count, 2)
        boxes = torch.cat((centers - sides / 2, centers + sides / 2), 1)
        targets.append({"boxes": boxes, "labels": torch.randint(0, 4, (count,), generator=random)})
    return images, targets


def one_step(model: Any, images: list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    losses: dict[str, Tensor] = model(images, copy.deepcopy(targets))
    torch.stack(list(losses.values())).sum().backward()
    optimizer.step()
    return losses


@pytest.mark.parametrize("seed", range(3))
def test_a_step_of_fcos_is_torchvisions_own(seed: int) -> None:
    own, adapted = make_fcos(), use_in_fcos(make_fcos())
    own.transform.size_divisible = adapted.transform.size_divisible
    images, targets = make_batch(seed)
    losses, adapted_losses = one_step(own, images, targets), one_step(adapted, images, targets)
    assert losses.keys() == adapted_losses.keys()
    assert losses["bbox_regression"].item() > 0
    for name, loss in losses.items():
        assert torch.equal(loss, adapted_losses[name]), name
    for (name, parameter), ours in zip(own.named_parameters(), adapted.parameters(), strict=True):
        assert torch.equal(parameter, ours), name


def test_areas_are_compared_exactly_where_torchvisions_key_is_not() -> None:
    """Areas of 10,004 and 10,000 pixels are one float32 number in 1e8 - area: torchvision takes the first box."""
    boxes = torch.tensor([[20.0, 20, 120.04, 120], [20.0, 20, 120, 120]])
    images, targets = [torch.rand(3, 256, 256)], [{"boxes": boxes, "labels": torch.tensor([1, 2])}]
    seen: dict[str, set[int]] = {}
    for name, model in {"own": make_fcos(), "op": use_in_fcos(make_fcos())}.items():
        compute_loss = model.head.compute_loss

        def remember(*args: Any, name: str = name, compute_loss: Any = compute_loss) -> Any:
            seen[name] = set(args[3][0].unique().tolist())
            return compute_loss(*args)

        model.head.compute_loss = remember
        model(images, targets)
    assert seen == {"own": {-1, 0}, "op": {-1, 1}}


def test_another_rule_trains_other_points() -> None:
    images, targets = make_batch(0)
    torchvisions, papers = use_in_fcos(make_fcos()), use_in_fcos(make_fcos(), presets.authors_code)
    assert not torch.equal(torchvisions(images, targets)["classification"], papers(images, targets)["classification"])


def test_an_adapted_model_is_still_itself() -> None:
    model = use_in_fcos(make_fcos())
    assert model.state_dict().keys() == make_fcos().state_dict().keys()
    twin = copy.deepcopy(model)
    assert twin.compute_loss.__self__ is twin
    images, targets = make_batch(1)
    assert torch.equal(twin(images, targets)["classification"], model(images, targets)["classification"])
    assert len(model.eval()(images)) == len(images)


def test_images_of_any_size_train_every_parameter() -> None:
    model = use_in_fcos(FCOS(TinyPyramid(), 4, min_size=200, max_size=300).train())
    images = [torch.rand(3, 200, 300), torch.rand(3, 231, 177)]
    targets = [
        {"boxes": torch.tensor([[10.0, 10, 90, 120]]), "labels": torch.tensor([1])},
        {"boxes": torch.empty(0, 4), "labels": torch.empty(0, dtype=torch.int64)},
    ]
    torch.stack(list(model(images, targets).values())).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_retinanet_leaves_ignored_points_out() -> None:
    images, targets = make_batch(2, (3,))
    band = AssignRule(threshold=0.6, ignore_threshold=0.2, regress_ranges=presets.FCOS_RANGES)
    matched: dict[str, Tensor] = {}
    for name, rule in {"band": band, "none": AssignRule(metric="none", regress_ranges=presets.FCOS_RANGES)}.items():
        model = use_in_retinanet(make_retinanet(), rule)
        compute_loss = model.head.compute_loss

        def remember(*args: Any, name: str = name, compute_loss: Any = compute_loss) -> Any:
            matched[name] = args[3][0]
            return compute_loss(*args)

        model.head.compute_loss = remember
        losses = model(images, targets)
        assert all(torch.isfinite(loss) for loss in losses.values())
        assert len(matched[name]) == sum(2 * side * side for side in (32, 16, 8, 4, 2))  # two anchors a location
        assert torch.equal(matched[name][::2], matched[name][1::2])
    assert {-2, -1} < set(matched["band"].tolist())
    assert ((matched["band"] >= 0) <= (matched["none"] >= 0)).all()


@pytest.mark.parametrize("use", [use_in_fcos, use_in_retinanet])
def test_what_is_no_detector_is_refused(use: Any) -> None:
    with pytest.raises(
        TypeError, match="model: expected a torchvision dense detector with 'anchor_generator', got Linear"
    ):
        use(nn.Linear(1, 1))
    with pytest.raises(TypeError, match="rule: expected an AssignRule or an Atss, got str"):
        use(make_fcos(), "paper")


def test_padding_that_bends_the_grid_is_refused() -> None:
    model = use_in_fcos(FCOS(TinyPyramid(), 4, min_size=200, max_size=300).train())
    model.transform.size_divisible = 32
    image, target = torch.rand(3, 200, 300), {"boxes": torch.empty(0, 4), "labels": torch.empty(0, dtype=torch.int64)}
    with pytest.raises(
        ValueError, match="images: expected padding to a multiple of the coarsest stride, got 224 x 320"
    ):
        model([image], [target])


def test_fcos_learns_blood_cells_through_the_op() -> None:
    """20 iterations on BCCD: nothing but `use_in_fcos` differs from a plain torchvision training."""
    from detector.config import DataConfig, SplitConfig
    from detector.data import load_annotations
    from detector.data.loader import read_image

    data = DataConfig(
        format="voc",
        root=str(BCCD),
        train=SplitConfig(annotations=("ImageSets/Main/trainval.txt",)),
        classes=("RBC", "WBC", "Platelets"),
    )
    annotations = load_annotations(data, "train")
    torch.manual_seed(0)
    model = use_in_fcos(make_fcos(num_classes=3, side=160), presets.authors_code)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    totals = []
    for step in range(20):
        images, targets = [], []
        for index in (2 * step, 2 * step + 1):
            images.append(read_image(str(annotations.files[index])).float() / 255)
            rows = annotations.rows(index)
            targets.append({"boxes": annotations.boxes[rows].float(), "labels": annotations.labels[rows]})
        losses = model(images, targets)
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        totals.append(total.item())
    assert sum(totals[-5:]) < 0.8 * sum(totals[:5]), totals
