"""The command ``export``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from ..config import Config
from ..errors import UsageError, UserError
from .options import Settings

if TYPE_CHECKING:
    from torch import Tensor

ENDINGS = {"onnx": ".onnx", "torch": ".pt2"}
LARGEST_BOX_DIFFERENCE, LARGEST_SCORE_DIFFERENCE = 1e-3, 1e-4


@dataclass(frozen=True)
class ExportArguments:
    """Write a checkpoint's network, from uint8 image to detections, for torch.export or ONNX.

    The file takes one image (1, 3, H, W) uint8 RGB, resized as for the evaluation, and gives boxes, scores and
    labels. The assigner is for training only and is never part of it.
    """

    checkpoint: Path = tyro.MISSING
    """A last.pt; its configuration is used, and overridden by the options below."""
    format: Literal["onnx", "torch"] = "onnx"
    """An ONNX file, or a torch.export program (.pt2)."""
    out: Path | None = None
    """The file; beside the checkpoint if not given."""
    nms: bool = True
    """Suppress non-maxima in the file; otherwise it gives the boxes and scores of all points."""
    check: tuple[Path, ...] = ()
    """Image files on which the written file is compared with the network."""
    settings: Settings = field(default_factory=Config)


def run(arguments: ExportArguments) -> None:
    """Export the checkpoint and, on the image files to check, compare the written file with the network."""
    from ..data.images import read_image
    from ..data.transforms import evaluation_transform
    from ..engine.checkpoint import load_checkpoint, restore_detector
    from ..export import LARGEST_SIDE, SMALLEST_SIDE, export, largest_differences

    out = arguments.out or arguments.checkpoint.with_suffix(ENDINGS[arguments.format])
    if out.suffix != ENDINGS[arguments.format]:
        raise UsageError(f"--out {out}: expected a file {ENDINGS[arguments.format]} for --format {arguments.format}")
    content = load_checkpoint(arguments.checkpoint)
    model = restore_detector(content, arguments.settings, arguments.checkpoint)
    data = arguments.settings.data
    transform = evaluation_transform(data)
    images = [transform(read_image(str(file), data.max_pixels)) for file in arguments.check]
    if arguments.format == "torch":
        _check_sizes(arguments.check, images)
    out.parent.mkdir(parents=True, exist_ok=True)
    export(model, out, arguments.format, arguments.nms, content["class_names"])
    print(
        f"wrote {out}, {out.stat().st_size / 2**20:.0f} MiB, for images of {SMALLEST_SIDE} to {LARGEST_SIDE} pixels a "
        f"side; --data.eval-short-side is {arguments.settings.data.eval_short_side}"
    )
    if images:
        boxes, scores = largest_differences(out, model, images, arguments.nms)
        print(f"on {len(images)} images boxes differ by up to {boxes:.1g} pixels, scores by up to {scores:.1g}")
        if boxes > LARGEST_BOX_DIFFERENCE or scores > LARGEST_SCORE_DIFFERENCE:
            raise UserError(
                f"{out}: expected differences of at most {LARGEST_BOX_DIFFERENCE} pixels and "
                f"{LARGEST_SCORE_DIFFERENCE} of a score"
            )


def _check_sizes(files: Sequence[Path], images: Sequence[Tensor]) -> None:
    """Raise UsageError for an image that a torch.export program refuses, by an exception that names no file."""
    from ..export import LARGEST_SIDE, SMALLEST_SIDE

    for file, image in zip(files, images, strict=True):
        height, width = image.shape[-2:]
        if not SMALLEST_SIDE <= min(height, width) <= max(height, width) <= LARGEST_SIDE:
            raise UsageError(
                f"--check {file}: expected {SMALLEST_SIDE} to {LARGEST_SIDE} pixels a side for a torch.export program, "
                f"got {width}x{height} after the resize; see --data.eval-short-side and --data.max-side"
            )
