"""What ``torch.save`` wrote, without running code that a file holds."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from .errors import UserError


def load_torch_file(file: Path, kind: str) -> Any:
    """Tensors and plain values, on the CPU; raises UserError that names the file, which is not ``kind``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that torch.save did not write
            return torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from None
    # Zip, pickle and storage errors alike; torch's words for them advise to have the code in the file run.
    except Exception as error:
        holds_objects = "GLOBAL" in str(error)
        why = "it holds more than tensors and plain values" if holds_objects else "another format, or damaged"
        raise UserError(f"{file}: not {kind}: {why}") from None
