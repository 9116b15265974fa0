"""Exported files against the network."""

from __future__ import annotations

import dataclasses
import json
import warnings
from math import inf
from pathlib import Path

import pytest
import torch
from detector_samples import crowded
from PIL import Image
from torch import Tensor

from detector.cli import main
from detector.commands import export as command
from detector.config import Config
from detector.data import Annotations
from detector.data.loader import Sample, collate
from detector.engine.checkpoint import TrainingState, save_checkpoint
from detector.engine.optim import build_optimizer
from detector.errors import UserError
from detector.export import (
    ONNX_TRANSLATIONS,
    ExportedDetector,
    _detection_differences,
    _kept_by_class_op,
    export,
    largest_differences,
)
from detector.model import Detector
from detector.model.deformable import ModulatedDeformConv2d
from detector.model.nms import kept_by_class, kept_by_class_in_export

REPOSITORY = Path(__file__).parents[2]
BCCD = REPOSITORY / "datasets" / "bccd_small"
SIZES = ((160, 320), (131, 300), (256, 129))
FILES = pytest.mark.parametrize("file_format", ["torch", "onnx"])


@pytest.fixture
def model(config: Config, annotations: Annotations) -> Detector:
    """A network whose random outputs give detections of every class, with a branch for centerness."""
    with_centerness = dataclasses.replace(config, model=dataclasses.replace(config.model, centerness=True))
    return confident(with_centerness, len(annotations.class_names))


def confident(config: Config, num_classes: int) -> Detector:
    """Random outputs that are told apart: logits of -3 give or take 1, boxes of a stride give or take a fifth."""
    torch.manual_seed(0)
    model = Detector(config, num_classes).eval()
    deviation = (2 / (9 * config.model.channels)) ** 0.5  # of weights that keep the variance of normalised inputs
    torch.nn.init.normal_(model.head.class_output.weight, std=deviation)
    torch.nn.init.normal_(model.head.box_output.weight, std=0.2 * deviation)
    torch.nn.init.constant_(model.head.class_output.bias, -3.0)  # type: ignore[arg-type]
    return model


def noise(sizes: tuple[tuple[int, int], ...] = SIZES) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator) for size in sizes]


def assert_close(differences: tuple[float, float]) -> None:
    """Of boxes in pixels, of scores."""
    assert differences[0] <= 1e-3
    assert differences[1] <= 1e-4


def needs_onnx() -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} of the extra export is not installed")


def test_the_exported_network_detects_what_the_detector_does(model: Detector) -> None:
    """Padded inside the graph instead of by the loader, and decoded by plain torch instead of the library's op.

    Both have the same candidates; the op's sigmoid rounds in its own way.
    """
    for image in noise():
        sample = image_sample(image)
        batch = collate([sample])
        with torch.no_grad():
            expected = model.detect(batch.images, batch.sizes)[0]
            got = ExportedDetector(model)(image.unsqueeze(0))
        assert len(expected.scores) > 10
        assert torch.equal(got[0], expected.boxes)
        assert torch.equal(got[2], expected.labels)
        torch.testing.assert_close(got[1], expected.scores, rtol=1e-6, atol=0)


def image_sample(image: Tensor) -> Sample:
    height, width = image.shape[-2:]
    none = torch.zeros(0)
    return Sample(image, none.reshape(0, 4), none.long(), none.bool(), 1, "image.png", (height, width))


def test_a_file_without_suppression_gives_every_point(model: Detector, tmp_path: Path) -> None:
    needs_onnx()
    file = tmp_path / "net.onnx"
    export(model, file, "onnx", with_nms=False)
    assert_close(largest_differences(file, model, noise(), with_nms=False))


class Suppression(torch.nn.Module):
    """The suppression alone, by the form that a format of files is made with."""

    def __init__(self, file_format: str) -> None:
        super().__init__()
        self.suppress = _kept_by_class_op if file_format == "onnx" else kept_by_class_in_export

    def forward(self, boxes: Tensor, scores: Tensor, labels: Tensor) -> Tensor:
        return self.suppress(boxes, scores, labels, 0.5)


@FILES
def test_the_suppression_of_a_file_is_the_detectors(tmp_path: Path, file_format: str) -> None:
    """Box for box: with many classes, with many equal scores, with a single box and with none."""
    samples = [crowded(classes) for classes in (80, 1203, 1)]
    samples += [tuple(tensor[:rows] for tensor in samples[0]) for rows in (1, 0)]
    rows = torch.export.Dim("rows", min=0, max=4096)
    program = torch.export.export(
        Suppression(file_format), samples[0], dynamic_shapes={name: {0: rows} for name in ("boxes", "scores", "labels")}
    )
    if file_format == "torch":
        torch.export.save(program, tmp_path / "nms.pt2")
        assert "torchvision" not in str(program.graph)
        run = torch.export.load(tmp_path / "nms.pt2").module()
    else:
        needs_onnx()
        import onnxruntime

        onnx_program = torch.onnx.export(program, custom_translation_table=ONNX_TRANSLATIONS, verbose=False)
        assert onnx_program is not None
        onnx_program.save(tmp_path / "nms.onnx")
        session = onnxruntime.InferenceSession(str(tmp_path / "nms.onnx"), providers=["CPUExecutionProvider"])
        names = [given.name for given in session.get_inputs()]

        def run(*inputs: Tensor) -> Tensor:
            (kept,) = session.run(None, dict(zip(names, (tensor.numpy() for tensor in inputs), strict=True)))
            return torch.from_numpy(kept)

    for boxes, scores, labels in samples:
        assert run(boxes, scores, labels).tolist() == kept_by_class(boxes, scores, labels, 0.5).tolist()


def test_a_deformable_convolution_is_exported(tmp_path: Path) -> None:
    needs_onnx()
    import onnxruntime

    torch.manual_seed(0)
    layer = ModulatedDeformConv2d(torch.nn.Conv2d(8, 8, 3, padding=1, bias=False), deform_groups=4)
    torch.nn.init.normal_(layer.sampling.weight, std=0.2)
    image = torch.rand(1, 8, 12, 16)
    torch.onnx.export(layer.eval(), (image,), str(tmp_path / "layer.onnx"), input_names=["x"], verbose=False)
    session = onnxruntime.InferenceSession(str(tmp_path / "layer.onnx"), providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"x": image.numpy()})
    torch.testing.assert_close(torch.from_numpy(got), layer(image).detach(), rtol=1e-4, atol=1e-5)


def test_differences_do_not_depend_on_the_order_of_equal_scores() -> None:
    boxes = torch.tensor([[0.0, 0.0, 8.0, 8.0], [4.0, 4.0, 9.0, 9.0], [0.0, 0.0, 8.0, 8.0]])
    scores, labels = torch.tensor([0.5, 0.5, 0.25]), torch.tensor([0, 1, 2])
    found, swapped = (boxes, scores, labels), (boxes[[1, 0, 2]], scores, labels[[1, 0, 2]])
    assert _detection_differences(swapped, found) == (0.0, 0.0)
    moved = boxes + torch.tensor([[0.0], [0.5], [0.0]])
    assert _detection_differences((moved, scores, labels), found) == (0.5, 0.0)
    assert _detection_differences((boxes, scores + 0.125, labels), found) == (0.0, 0.125)
    assert _detection_differences((boxes, scores, labels.flip(0)), found) == (0.0, 0.25)
    assert _detection_differences((boxes, scores, labels + 1), found)[0] == inf
    assert _detection_differences(tuple(tensor[:2] for tensor in found), found)[0] == inf


@FILES
def test_the_command_writes_and_checks_a_file_for_images_of_any_size(
    model: Detector, annotations: Annotations, tmp_path: Path, file_format: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if file_format == "onnx":
        needs_onnx()
    optimizer = build_optimizer(model)
    save_checkpoint(tmp_path / "last.pt", **TrainingState(model, optimizer, step=1).content(annotations))
    images = [str(file) for file in sorted(BCCD.glob("JPEGImages/*"))[:3]]
    assert len(images) == 3
    for number, image in enumerate(noise()):
        images.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(images[-1])
    options = ["--data.eval-short-side", "131", "--data.max-side", "320", "--check", *images]
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        assert main(["export", "--checkpoint", str(tmp_path / "last.pt"), "--format", file_format, *options]) == 0
    out, _ = capfd.readouterr()
    assert f"on {len(images)} images boxes differ by up to" in out
    if file_format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(tmp_path / "last.onnx"), providers=["CPUExecutionProvider"])
        assert [output.name for output in session.get_outputs()] == ["boxes", "scores", "labels"]
        assert session.get_inputs()[0].type == "tensor(uint8)"
        classes = session.get_modelmeta().custom_metadata_map["classes"]
    else:
        files = {"classes": ""}
        torch.export.load(tmp_path / "last.pt2", extra_files=files)
        classes = files["classes"]
    assert json.loads(classes) == list(annotations.class_names)


def test_a_file_that_differs_fails(
    model: Detector, annotations: Annotations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimizer = build_optimizer(model)
    save_checkpoint(tmp_path / "last.pt", **TrainingState(model, optimizer, step=1).content(annotations))
    Image.new("RGB", (200, 150)).save(tmp_path / "photo.png")
    monkeypatch.setattr("detector.export.export", lambda model, file, *rest: file.touch())
    monkeypatch.setattr("detector.export.largest_differences", lambda *arguments: (0.002, 0.0))
    with pytest.raises(UserError, match=r"expected differences of at most 0\.001 pixels and 0\.0001 of a score"):
        command.run(
            command.ExportArguments(
                checkpoint=tmp_path / "last.pt", check=(tmp_path / "photo.png",), settings=model.config
            )
        )


def test_a_missing_package_is_one_line(model: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import detector.export as exporting

    monkeypatch.setattr(exporting.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="the package onnxscript is missing; install the extra export"):
        export(model, tmp_path / "net.onnx", "onnx")


def test_help_says_that_the_assigner_is_not_exported() -> None:
    assert "assigner is for training only" in " ".join((command.ExportArguments.__doc__ or "").split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--check", "small.png"],
            "--check small.png: expected 129 to 4096 pixels a side for a torch.export program, got 64x40 after the",
        ),
        (["--out", "net.onnx"], "--out net.onnx: expected a file .pt2 for --format torch"),
    ],
)
def test_what_a_program_can_not_do_is_said_before_it_is_made(
    model: Detector,
    annotations: Annotations,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    message: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    save_checkpoint(Path("last.pt"), **TrainingState(model, build_optimizer(model), step=1).content(annotations))
    Image.new("RGB", (64, 40)).save("small.png")
    assert main(["export", "--checkpoint", "last.pt", "--format", "torch", *options]) == 2
    err = capfd.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not Path("last.pt2").exists()
