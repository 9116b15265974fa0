"""Export of a trained network, with its normalisation and its detections, to torch.export and ONNX.

What decides the training's targets, the assigner, is no part of it.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from pseudo_iou_ops import level_points

from .data.loader import PADDING_COLOUR, SIZE_DIVISOR
from .errors import UserError
from .model import Detector
from .model.backbone import STRIDES
from .model.nms import Suppress, kept_by_class, kept_by_class_in_export
from .model.postprocess import decode, image_detections

Format = Literal["torch", "onnx"]

# From one cell of P7 on, whose shape the exporter would otherwise take for fixed.
SMALLEST_SIDE, LARGEST_SIDE = STRIDES[-1] + 1, 4096
DETECTION_NAMES = ("boxes", "scores", "labels")
DENSE_NAMES = ("boxes", "scores")


class ExportedDetector(nn.Module):
    """From one uint8 image to its detections, tensors alone.

    Input: ``image`` (1, 3, H, W) uint8 RGB, resized as for the evaluation; it is padded here.
    Output with ``with_nms``: ``boxes`` (N, 4) float32 x1 y1 x2 y2 in pixels of the image, ``scores`` (N,),
    ``labels`` (N,) int64, best first. Without: ``boxes`` (P, 4) and ``scores`` (P, C) of every point.
    """

    colour: Tensor

    def __init__(self, model: Detector, with_nms: bool = True, suppress: Suppress = kept_by_class) -> None:
        super().__init__()
        self.model = model
        self.with_nms = with_nms
        self.suppress = suppress
        self.register_buffer("colour", torch.tensor(PADDING_COLOUR).view(3, 1, 1).float(), persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        height, width = image.shape[-2:]
        margins = (0, -width % SIZE_DIVISOR, 0, -height % SIZE_DIVISOR)
        predictions = self.model.head.in_pixels(self.model(pad(image - self.colour, margins) + self.colour))
        points = level_points(predictions.level_shapes, STRIDES, self.model.assigner.offset, image.device)
        decoded = decode(predictions, points)
        if not self.with_nms:
            return decoded.boxes[0], decoded.scores[0]
        config = self.model.config.postprocess
        return tuple(image_detections(decoded, 0, predictions.level_shapes, (height, width), config, self.suppress))


def export(
    model: Detector, file: Path, file_format: Format, with_nms: bool = True, class_names: Sequence[str] = ()
) -> None:
    """Write a ``torch.export`` program (.pt2) or an ONNX file.

    It takes images of 129 to 4,096 pixels a side. The class names are stored as JSON: in ONNX as the metadata
    ``classes``, in a program as its extra file ``classes``.

    Raises:
        UserError: a package of the extra ``export`` is missing.
    """
    if file_format == "onnx":
        _require("onnxscript")
    suppress = _kept_by_class_op if file_format == "onnx" else kept_by_class_in_export
    exported = ExportedDetector(model.cpu().eval(), with_nms, suppress)
    example = torch.zeros(1, 3, 2 * SMALLEST_SIDE, 3 * SMALLEST_SIDE, dtype=torch.uint8)
    sides = {
        2: torch.export.Dim("height", min=SMALLEST_SIDE, max=LARGEST_SIDE),
        3: torch.export.Dim("width", min=SMALLEST_SIDE, max=LARGEST_SIDE),
    }
    classes = json.dumps(list(class_names))
    with torch.no_grad():
        program = torch.export.export(exported, (example,), dynamic_shapes={"image": sides})
        if file_format == "torch":
            torch.export.save(program, file, extra_files={"classes": classes})
            return
        onnx_program = torch.onnx.export(
            program,
            input_names=["image"],
            output_names=list(DETECTION_NAMES if with_nms else DENSE_NAMES),
            custom_translation_table=ONNX_TRANSLATIONS,
            verbose=False,
        )
    assert onnx_program is not None
    onnx_program.model.metadata_props["classes"] = classes
    onnx_program.save(file, external_data=False)


def largest_differences(
    file: Path, model: Detector, images: Sequence[Tensor], with_nms: bool = True
) -> tuple[float, float]:
    """How far a written file is from the network: of boxes in pixels, of scores.

    Detections are compared with the nearest of their class, as equal scores have no order; infinite if there is
    none, or if the numbers of detections differ.

    Args:
        file: a .pt2 file, or an ONNX file, which onnxruntime runs.
        model: the network it was made from.
        images: each (3, H, W) uint8.
        with_nms: as the file was made.
    """
    run = _runner(file)
    exported = ExportedDetector(model.cpu().eval(), with_nms)
    compare = _detection_differences if with_nms else _dense_differences
    pairs = [(0.0, 0.0)]
    for image in images:
        with torch.no_grad():
            pairs.append(compare(run(image.unsqueeze(0)), exported(image.unsqueeze(0))))
    boxes, scores = zip(*pairs, strict=True)
    return max(boxes), max(scores)


def _dense_differences(got: Sequence[Tensor], expected: Sequence[Tensor]) -> tuple[float, float]:
    boxes, scores = (float((a - b).abs().max()) for a, b in zip(got, expected, strict=True))
    return boxes, scores


def _detection_differences(got: Sequence[Tensor], expected: Sequence[Tensor]) -> tuple[float, float]:
    if len(got[0]) != len(expected[0]):
        return float("inf"), float("inf")
    if len(got[0]) == 0:
        return 0.0, 0.0
    distances = torch.cdist(got[0], expected[0], p=float("inf"))
    distances = distances.masked_fill(got[2].unsqueeze(1) != expected[2], float("inf"))
    nearest, rows = distances.min(0)
    boxes = max(float(nearest.max()), float(distances.amin(1).max()))
    return boxes, float((got[1][rows] - expected[1]).abs().max())


def _runner(file: Path) -> Callable[[Tensor], Sequence[Tensor]]:
    if file.suffix != ".onnx":
        return torch.export.load(file).module()
    _require("onnxruntime")
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return lambda image: [torch.from_numpy(array) for array in session.run(None, {"image": image.numpy()})]


def _onnx_stable_sort(values: Any, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
    """torch's exporter has no stable sort; ONNX's TopK of all values is one, equal values keep their order."""
    from onnxscript import opset18 as op

    return op.TopK(values, op.Shape(values), axis=dim, largest=int(descending), sorted=1)


@torch.library.custom_op("detector::kept_by_class", mutates_args=())
def _kept_by_class_op(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """One node of the graph, which ONNX has an operator for."""
    return kept_by_class(boxes, scores, labels, threshold)


@_kept_by_class_op.register_fake
def _(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    return torch.empty_like(labels, dtype=torch.bool)


def _onnx_kept_by_class(boxes: Any, scores: Any, labels: Any, threshold: float) -> Any:
    """ONNX's NonMaxSuppression takes the scores of each class (1, C, N): here of every label up to the largest."""
    from onnxscript import opset18

    op: Any = opset18  # whose types want a constant's told

    largest = op.ReduceMax(op.Concat(labels, op.Constant(value_ints=[0]), axis=0), keepdims=1)
    classes = op.Range(op.Constant(value_int=0), op.Squeeze(largest) + 1, op.Constant(value_int=1))
    is_own = op.Equal(
        op.Unsqueeze(classes, op.Constant(value_ints=[1])), op.Unsqueeze(labels, op.Constant(value_ints=[0]))
    )
    of_classes = op.Where(is_own, scores, op.Constant(value_float=-1.0))
    found = op.NonMaxSuppression(
        op.Unsqueeze(boxes, op.Constant(value_ints=[0])),
        op.Unsqueeze(of_classes, op.Constant(value_ints=[0])),
        op.Constant(value_ints=[2**31 - 1]),
        op.Constant(value_floats=[threshold]),
        op.Constant(value_floats=[-0.5]),  # scores are not negative: those of other classes stay out
    )
    rows = op.Gather(found, op.Constant(value_int=2), axis=1)
    none = op.ConstantOfShape(op.Shape(labels))
    return op.Cast(op.ScatterElements(none, rows, op.Expand(op.Constant(value_float=1.0), op.Shape(rows))), to=9)


# What torch's exporter to ONNX has no word for, or not the right one.
ONNX_TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.sort.stable: _onnx_stable_sort,
    torch.ops.detector.kept_by_class.default: _onnx_kept_by_class,
}


def _require(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise UserError(f"--format onnx: the package {package} is missing; install the extra export")
