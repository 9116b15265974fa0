"""An adapted model is still adapted, and by nothing of the original's, whatever way it is copied, sent or wrapped."""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle
import sys
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from integrations.test_stand_ins import CLASSES, SHAPES, STRIDES, Boxes, Fcos, Instances, make_boxes
from torch import Tensor, nn

from pseudo_iou_ops import level_points, presets
from pseudo_iou_ops.integrations import detectron2, mmdetection
from pseudo_iou_ops.integrations import torchvision as adapters
from pseudo_iou_ops.integrations.yolo import YoloAssigner

pytest.importorskip("torchvision")
from integrations.test_torchvision import make_batch, make_fcos, make_retinanet

RULE, OTHER_RULE = presets.authors_code, presets.paper_baseline


class CalledFcos(Fcos):
    """The stand-in for detectron2's FCOS as a network: from feature maps to their labels and boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, features: list[Tensor], instances: list[Instances]) -> list[Tensor]:
        labels, boxes = self.label_anchors(self.anchor_generator(features), instances)
        return [torch.stack(labels), torch.stack(boxes) * self.scale]


class Head(nn.Module):
    """A stand-in for mmdetection's FCOSHead: `loss_by_feat` calls `get_targets`."""

    def __init__(self) -> None:
        super().__init__()
        self.num_classes, self.strides, self.norm_on_bbox = CLASSES, STRIDES, True
        self.scale = nn.Parameter(torch.ones(()))

    def loss_by_feat(self, cls_scores: list[Tensor], instances: list[Any]) -> list[Tensor]:
        points = level_points(SHAPES, STRIDES).split([height * width for height, width in SHAPES])
        labels, ltrb = self.get_targets(list(points), instances)
        return [*labels, *(level * self.scale for level in ltrb)]

    def get_targets(self, points: list[Tensor], instances: list[Any]) -> tuple[list[Tensor], list[Tensor]]:
        raise NotImplementedError

    def forward(self, features: list[Tensor], instances: list[Any]) -> list[Tensor]:
        return self.loss_by_feat(features, instances)


class ScaledYolo(nn.Module):
    """A model of the YOLO family holds its assigner."""

    def __init__(self, rule: Any = RULE) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.assigner = YoloAssigner(CLASSES, STRIDES, rule)

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        targets = self.assigner(*inputs)
        return [targets.foreground, targets.boxes * self.scale]


def features() -> list[Tensor]:
    return [torch.zeros(2, CLASSES, height, width) for height, width in SHAPES]


def padded() -> list[Tensor]:
    boxes, labels = make_boxes(4, 6)
    points = level_points(SHAPES, STRIDES)
    scores = torch.rand(1, len(points), CLASSES)
    predicted = boxes[torch.randint(6, (1, len(points)))] + torch.randn(1, len(points), 4)
    return [scores, predicted, points, labels.view(1, -1, 1), boxes.unsqueeze(0), torch.ones(1, 6, 1)]


def truths(kind: Callable[..., Any]) -> list[Any]:
    return [kind(*make_boxes(seed, 5)) for seed in (1, 2)]


def by_mmdetection(boxes: Tensor, labels: Tensor) -> Any:
    return types.SimpleNamespace(bboxes=boxes, labels=labels)


# How an adapted model is made by a rule, and what it is called with.
MODELS: dict[str, tuple[Callable[..., Any], Callable[[], Any]]] = {
    "torchvision FCOS": (lambda rule: adapters.use_in_fcos(make_fcos(side=128), rule), lambda: make_batch(1, (4, 0))),
    "torchvision RetinaNet": (
        lambda rule: adapters.use_in_retinanet(make_retinanet(side=128), rule),
        lambda: make_batch(1, (4, 0)),
    ),
    "detectron2": (
        lambda rule: detectron2.use_in_fcos(CalledFcos(), rule),
        lambda: (features(), truths(lambda boxes, labels: Instances(Boxes(boxes), labels))),
    ),
    "mmdetection": (
        lambda rule: mmdetection.use_in_fcos_head(Head(), rule),
        lambda: (features(), truths(by_mmdetection)),
    ),
    "yolo": (lambda rule: ScaledYolo(), padded),
    "yolo that reads predictions": (lambda rule: ScaledYolo(presets.yolov8), padded),
}


def adapted(name: str, rule: Any = RULE) -> Any:
    return MODELS[name][0](rule).train()


def outputs(model: Any, name: str) -> list[Tensor]:
    torch.manual_seed(0)  # drawn anew for each call, which may change its inputs
    found = model(*MODELS[name][1]())
    return [value.detach() for value in (found.values() if isinstance(found, dict) else found)]


def saved_whole(model: Any) -> Any:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def from_state(model: Any, name: str) -> Any:
    other = adapted(name)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(model.state_dict())
    return other


COPIES: dict[str, Callable[[Any, str], Any]] = {
    "deepcopy": lambda model, name: copy.deepcopy(model),
    "pickle": lambda model, name: pickle.loads(pickle.dumps(model)),
    "torch.save": lambda model, name: saved_whole(model),
    "state_dict": from_state,
    "copy of a copy": lambda model, name: copy.deepcopy(saved_whole(copy.deepcopy(model))),
}


def assert_same(given: list[Tensor], expected: list[Tensor]) -> None:
    assert len(given) == len(expected) > 1
    for one, other in zip(given, expected, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("name", MODELS)
def test_a_copy_does_the_same_and_holds_nothing_of_the_original(name: str, way: str) -> None:
    model = adapted(name)
    expected = outputs(model, name)
    twin = COPIES[way](model, name)
    with torch.no_grad():  # a method bound to the original would use these
        for parameter in model.parameters():
            parameter.fill_(7.0)
    model.assign_rule = OTHER_RULE
    assert_same(outputs(twin, name), expected)
    assert type(twin).__name__ == type(model).__name__
    assert twin.state_dict().keys() == model.state_dict().keys()


def wrapped_in_ddp(model: Any) -> Any:
    return nn.parallel.DistributedDataParallel(model)


WRAPPED: dict[str, Callable[[Any], Any]] = {
    "DDP": wrapped_in_ddp,
    "torch.compile": lambda model: torch.compile(model, backend="eager"),
    "shallow copy": copy.copy,
}


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'ranks'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("process_group")
@pytest.mark.parametrize("way", WRAPPED)
@pytest.mark.parametrize("name", MODELS)
def test_a_wrapped_model_does_the_same(name: str, way: str) -> None:
    torch.compiler.reset()
    model = adapted(name)
    expected = outputs(model, name)
    assert_same(outputs(WRAPPED[way](model), name), expected)


@pytest.mark.parametrize("name", ["torchvision FCOS", "torchvision RetinaNet"])
def test_the_loss_of_a_replica_is_of_its_own_head(name: str) -> None:
    """nn.DataParallel gives each replica modules of its own, on its device."""
    model = adapted(name)
    replica = model._replicate_for_data_parallel()
    assert replica.compute_loss.__self__ is replica


@pytest.mark.parametrize("name", [name for name in MODELS if "yolo" not in name])
def test_a_second_adaptation_replaces_the_first(name: str) -> None:
    use = {"detectron2": detectron2.use_in_fcos, "mmdetection": mmdetection.use_in_fcos_head}.get(
        name, adapters.use_in_retinanet if "RetinaNet" in name else adapters.use_in_fcos
    )
    twice = use(adapted(name, OTHER_RULE), RULE)
    assert_same(outputs(twice, name), outputs(adapted(name), name))
    assert type(twice) is type(adapted(name))
    assert_same(outputs(pickle.loads(pickle.dumps(twice)), name), outputs(twice, name))


def test_a_spawned_process_gets_the_adapted_model() -> None:
    models = {name: adapted(name) for name in MODELS}
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        given = list(pool.map(outputs, models.values(), models))
    for found, (name, model) in zip(given, models.items(), strict=True):
        assert_same(found, outputs(model, name))


class Registry(dict[str, Any]):
    """Stands in for mmengine's."""

    def register_module(self, module: type) -> None:
        self[module.__name__] = module


class ListedHead(Head):
    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        nn.init.constant_(self.scale, scale)


@pytest.fixture
def mmdet(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Stand-ins of the modules that the registered classes are made from."""
    contents: dict[str, dict[str, Any]] = {
        "mmdet": {},
        "mmdet.registry": {"MODELS": Registry(), "TASK_UTILS": Registry()},
        "mmdet.models": {},
        "mmdet.models.dense_heads": {"FCOSHead": ListedHead, "TOODHead": ListedHead},
        "mmdet.models.task_modules": {},
        "mmdet.models.task_modules.assigners": {
            "BaseAssigner": object,
            "AssignResult": partial(tuple.__new__, tuple),
        },
    }
    for name, content in contents.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "pseudo_iou_ops.integrations._mmdetection_classes", raising=False)
    return sys.modules["mmdet.registry"]


def test_registered_classes_are_found_by_pickle(mmdet: Any) -> None:
    mmdetection.register()
    mmdetection.register()  # once is enough, twice is no error
    head = mmdet.MODELS["PseudoIoUFCOSHead"](rule="authors_code", scale=2.0)
    twin = pickle.loads(pickle.dumps(head))
    assert_same(outputs(twin, "mmdetection"), outputs(head, "mmdetection"))
    again = mmdetection.use_in_fcos_head(copy.deepcopy(head), OTHER_RULE)
    assert not torch.equal(outputs(again, "mmdetection")[0], outputs(head, "mmdetection")[0])
    assert_same(outputs(pickle.loads(pickle.dumps(again)), "mmdetection"), outputs(again, "mmdetection"))
    assigner = mmdet.TASK_UTILS["PseudoIoUAssigner"](strides=STRIDES, rule={"threshold": 0.5})
    assert vars(pickle.loads(pickle.dumps(assigner))) == vars(assigner)
    with pytest.raises(ValueError, match="rule: expected a preset"):
        mmdet.MODELS["PseudoIoUFCOSHead"](rule="papers")
