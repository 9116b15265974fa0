"""Loads the compiled libraries: ``_C`` (schemas and CPU kernels) and, for a CUDA torch, ``_C_cuda``."""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

import torch

_REBUILD = (
    "install a CUDA toolkit with nvcc (or set CUDA_HOME) and run "
    "`PSEUDO_IOU_OPS_CUDA=on pip install --no-build-isolation --force-reinstall --no-deps -e .` in the source tree"
)


def _load_cpu() -> None:
    """Load ``_C``. An error carries the package's name, so that ``python -m`` prints it as one line."""
    folder = Path(__file__).parent
    # Asked first: the finder of an editable install would serve these sources the library of another checkout.
    if _library_in([folder]) is None:
        raise ImportError(_why_sources_alone(folder), name=__package__)
    try:
        importlib.import_module("pseudo_iou_ops._C")
    except ImportError as error:
        raise ImportError(
            f"pseudo_iou_ops: its compiled library _C could not be loaded: {error}. Install torch first, then run "
            f"`pip install --no-build-isolation -e .` in the source tree (an editable install is built anew with "
            f"`python setup.py build_ext --inplace`).",
            name=__package__,
        ) from error


def _library_in(folders: list[Path]) -> str | None:
    """The first ``_C`` in folders of packages."""
    spec = PathFinder.find_spec("pseudo_iou_ops._C", [str(folder) for folder in folders])
    return None if spec is None else spec.origin


def _why_sources_alone(folder: Path) -> str:
    """A regular install compiles into site-packages, and Python looks into the current folder first."""
    remedy = f"run `pip install --no-build-isolation -e .` in {folder.parent}"
    cause = f"pseudo_iou_ops: {folder} is the source folder of a checkout, which holds no compiled library"
    installed = _library_in([Path(entry, folder.name) for entry in sys.path])
    if installed is None:
        return f"{cause}: {remedy}."
    package = Path(installed).parent
    return f"{cause} and shadows the installed package in {package}: {remedy}, or run Python from another folder."


def _load_cuda() -> str | None:
    """Load ``_C_cuda``; the reason why not, or None."""
    if torch.version.cuda is None:
        return "this torch is a CPU build; install a CUDA build of torch"
    try:
        importlib.import_module("pseudo_iou_ops._C_cuda")
    except ModuleNotFoundError:
        return f"pseudo_iou_ops was built without CUDA; {_REBUILD}"
    except ImportError as error:
        return f"_C_cuda could not be loaded ({error}); {_REBUILD}"
    built, running = torch.ops.pseudo_iou_ops.cuda_version() // 1000, int(torch.version.cuda.split(".")[0])
    if built != running:
        return f"_C_cuda was built with CUDA {built} and this torch with CUDA {running}; {_REBUILD}"
    return None


_load_cpu()
CUDA_UNAVAILABLE_REASON: Final = _load_cuda()


def require_kernels(device: torch.device, argument: str = "boxes") -> None:
    """Raises RuntimeError, with the cause and the fix, for a device this install has no kernels for."""
    if device.type == "cuda" and CUDA_UNAVAILABLE_REASON is not None:
        raise RuntimeError(f"{argument}: expected a device with kernels, got {device}: {CUDA_UNAVAILABLE_REASON}.")
    if device.type not in ("cpu", "cuda", "meta"):
        raise RuntimeError(f"{argument}: expected device cpu or cuda, got {device}.")
