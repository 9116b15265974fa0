"""Where data sets and weights are looked for."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "PSEUDO_IOU_OPS_DATA"
BUNDLED = Path(__file__).parents[1] / "datasets"


def find(path: str) -> Path:
    """The file or folder of a configuration: ``path`` itself, or else what is at ``path`` below a data folder.

    The data folders are that of the environment variable PSEUDO_IOU_OPS_DATA and the checkout's ``datasets``.
    If ``path`` is nowhere, it is returned as it is, for the error to name.
    """
    local = os.environ.get(VARIABLE)
    folders = [Path(), *([Path(local)] if local else []), BUNDLED]
    return next((folder / path for folder in folders if path and (folder / path).exists()), Path(path))
