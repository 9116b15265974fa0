"""The command ``export``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from ..config import Config
from ..errors import UserError
from .options import Settings

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
    from ..export import export, largest_differences

    content = load_checkpoint(arguments.checkpoint)
    model = restore_detector(content, arguments.settings, arguments.checkpoint)
    data = arguments.settings.data
    transform = evaluation_transform(data)
    images = [transform(read_image(str(file), data.max_pixels)) for file in arguments.check]
    out = arguments.out or arguments.checkpoint.with_suffix(".onnx" if arguments.format == "onnx" else ".pt2")
    out.parent.mkdir(parents=True, exist_ok=True)
    export(model, out, arguments.format, arguments.nms, content["class_names"])
    print(f"wrote {out}, {out.stat().st_size / 2**20:.0f} MiB")
    if images:
        boxes, scores = largest_differences(out, model, images, arguments.nms)
        print(f"on {len(images)} images boxes differ by up to {boxes:.1g} pixels, scores by up to {scores:.1g}")
        if boxes > LARGEST_BOX_DIFFERENCE or scores > LARGEST_SCORE_DIFFERENCE:
            raise UserError(
                f"{out}: expected differences of at most {LARGEST_BOX_DIFFERENCE} pixels and "
                f"{LARGEST_SCORE_DIFFERENCE} of a score"
            )
