"""``python -m pseudo_iou_ops.env``: what is installed, what was built, what is missing and how to get it."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch

from . import __version__, _loader, _sources


def report() -> str:
    """One line a fact, to paste into an issue."""
    facts = {
        "pseudo_iou_ops": __version__,
        "Python": platform.python_version(),
        "platform": platform.platform(),
        "torch": f"{torch.__version__} (CUDA {torch.version.cuda or 'none'}, {torch.get_num_threads()} threads)",
        "CPU kernels": f"built for torch >= {_minimum_torch()}",
        "CUDA kernels": _cuda_kernels(),
        "built from": _built_from(),
        "GPU": _gpus(),
        "torchvision": _version("torchvision"),
        "numpy": _version("numpy"),
    }
    width = max(map(len, facts))
    return "\n".join(f"{name:<{width}}  {fact}" for name, fact in facts.items())


def source_commit() -> str | None:
    """The commit of the checkout that this package is imported from, 12 digits, and ", changed" if tracked files are.

    None where it is installed, or where git is missing.
    """
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    commit, changes = _git(root, "rev-parse", "--short=12", "HEAD"), _git(root, "status", "--porcelain", "-uno")
    return f"{commit}, changed" if commit and changes else commit


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _minimum_torch() -> str:
    target = torch.ops.pseudo_iou_ops.torch_target_version()
    return f"{target >> 56 & 0xFF}.{target >> 48 & 0xFF}"


def _cuda_kernels() -> str:
    if _loader.CUDA_UNAVAILABLE_REASON is not None:
        return f"missing: {_loader.CUDA_UNAVAILABLE_REASON}"
    version = torch.ops.pseudo_iou_ops.cuda_version()
    architectures = torch.ops.pseudo_iou_ops.cuda_architectures()
    return f"built with CUDA {version // 1000}.{version % 1000 // 10} for {architectures}"


def stale_libraries() -> list[str]:
    """The compiled libraries that were built from other sources than those beside the package."""
    expected = _sources.source_hash()
    hashes = {"_C": _hash_in("source_hash")}
    if _loader.CUDA_UNAVAILABLE_REASON is None:
        hashes["_C_cuda"] = _hash_in("cuda_source_hash")
    return [name for name, built in hashes.items() if expected is not None and built != expected]


def _hash_in(op: str) -> str | None:
    """What a library answers; None if it is older than the question."""
    try:
        return str(getattr(torch.ops.pseudo_iou_ops, op)())
    except (AttributeError, RuntimeError):
        return None


def _built_from() -> str:
    if _sources.source_hash() is None:
        return "sources that are not here"
    stale = stale_libraries()
    if stale:
        return f"other sources than these: {', '.join(stale)}; run `python setup.py build_ext --inplace`"
    return "these sources"


def _gpus() -> str:
    if not torch.cuda.is_available():
        return "none that torch can use"
    devices = range(torch.cuda.device_count())
    return ", ".join(f"{torch.cuda.get_device_name(d)} {torch.cuda.get_device_capability(d)}" for d in devices)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed (the library does not need it)"


if __name__ == "__main__":
    print(report())
