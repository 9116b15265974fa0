"""One call of the emulated kernel over numpy arrays. Needs no torch, so a sanitizer can run it alone."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

FIELDS = ("matched", "labels", "ltrb", "pseudo_iou", "centerness", "num_pos", "pos_per_box")


def assign(module: ModuleType, arguments: dict[str, Any], **run: Any) -> dict[str, np.ndarray]:
    """Runs the kernel.

    Args:
        module: the built ``_emulated``.
        arguments: ``tensors`` (name -> array or None), ``numbers`` (the op's arguments between offsets and
            ignore_boxes, in order).
        run: offsets_on_host, schedule, seed, most_images (of one launch).

    Returns:
        The fields of an Assignment; what the kernel did not write is -99.
    """
    tensors, numbers = arguments["tensors"], arguments["numbers"]
    batch, rows = len(tensors["offsets"]) - 1, len(tensors["boxes"])
    shapes = numbers[0]
    points = sum(h * w for h, w in zip(shapes[::2], shapes[1::2], strict=True))
    outputs = {
        "matched": np.full((batch, points), -99, np.int64),
        "labels": np.full((batch, points), -99, np.int64),
        "ltrb": np.full((batch, points, 4), -99, np.float32),
        "pseudo_iou": np.full((batch, points), -99, np.float32),
        "centerness": np.full((batch, points), -99, np.float32),
        "num_pos": np.zeros(batch, np.int64),
        "pos_per_box": np.zeros(rows, np.int64),
    }
    module.assign(
        *(tensors[name] for name in ("boxes", "labels", "offsets")),
        *numbers,
        *(tensors[name] for name in ("ignore_boxes", "ignore_offsets", "valid_sizes")),
        *outputs.values(),
        run.get("offsets_on_host", False),
        run.get("schedule", "forward"),
        run.get("seed", 0),
        run.get("most_images", 65535),
    )
    return outputs
