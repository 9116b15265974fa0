"""Compiles the emulated kernels (module.cpp) with the host compiler, once per state of their sources."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sysconfig
from pathlib import Path
from types import ModuleType

from filelock import FileLock

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

FLAGS = [
    "-std=c++17",
    "-O2",
    "-ffp-contract=off",
    "-fPIC",
    "-shared",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-Werror",
]
SANITIZERS = {
    "none": [],
    "undefined": ["-fsanitize=undefined", "-fno-sanitize-recover=all", "-g"],
    # g++ 12 takes an optional member of pybind11 for uninitialised once AddressSanitizer is in.
    "address": ["-fsanitize=address", "-g", "-Wno-maybe-uninitialized"],
}


def build(sanitizer: str = "none") -> Path:
    """The folder that holds ``_emulated`` built with a sanitizer."""
    flags = [*FLAGS, *SANITIZERS[sanitizer]]
    folder = HERE / ".build" / f"{sanitizer}-{_fingerprint(flags)}"
    target = folder / f"_emulated{sysconfig.get_config_var('EXT_SUFFIX')}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):  # workers that test at the same time build it once
        if not target.exists():
            _compile(flags, target)
    return folder


def _compile(flags: list[str], target: Path) -> None:
    import pybind11

    includes = [f"-I{path}" for path in (pybind11.get_include(), sysconfig.get_path("include"))]
    partial = target.with_name("partial")
    compiler = os.environ.get("CXX", "g++")
    subprocess.run([compiler, *flags, *includes, str(HERE / "module.cpp"), "-o", str(partial)], check=True)
    partial.replace(target)


def load() -> ModuleType:
    """The module, built if need be."""
    (path,) = build().glob("_emulated*")
    spec = importlib.util.spec_from_file_location("_emulated", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _fingerprint(flags: list[str]) -> str:
    """Of all that goes into the build, so that a changed header is never tested by an old library."""
    digest = hashlib.sha256(" ".join(flags).encode())
    for folder in (HERE, ROOT / "csrc"):
        for source in sorted(folder.rglob("*")):
            if source.suffix in (".h", ".cuh", ".cpp"):
                digest.update(source.read_bytes())
    return digest.hexdigest()[:16]
