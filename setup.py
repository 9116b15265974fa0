"""Builds the two libraries: _C (schemas, CPU kernels) and, where a CUDA toolkit is found, _C_cuda.

Environment:
    PSEUDO_IOU_OPS_CUDA   auto (default): build _C_cuda if torch has CUDA and a toolkit is found; on: it is an
                          error if that is not possible; off: do not build it.
    CUDA_HOME             the toolkit, if nvcc is not on the PATH.
    TORCH_CUDA_ARCH_LIST  the GPU architectures, as torch writes them ("8.0;9.0+PTX").
"""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

try:
    import torch
except ImportError:
    sys.exit(
        "pseudo_iou_ops builds against the torch it will run with: install torch first, then run "
        "`pip install --no-build-isolation -e .`"
    )

from setuptools import setup

ROOT = Path(__file__).resolve().parent
GENERATED = ROOT / "build" / "generated"

# The oldest torch whose stable ABI is used; the binary runs with it and every later one.
TORCH_TARGET_VERSION = (2, 11)

# Common GPUs since Turing. The newest also gets PTX, which later drivers compile for later GPUs.
ARCHITECTURES = ("7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0")


def find_toolkit() -> Path | None:
    """The CUDA toolkit. nvcc itself is asked, because a wrapper on the PATH lies outside of it."""
    named = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    places = [str(Path(named, "bin", "nvcc"))] if named else ["nvcc", "/usr/local/cuda/bin/nvcc"]
    nvcc = next(filter(None, map(shutil.which, places)), None)
    if nvcc is None:
        return None
    steps = subprocess.run([nvcc, "--dryrun", "-x", "cu", os.devnull], capture_output=True, text=True).stderr
    top = re.search(r"^#\$ TOP=(.+)$", steps, re.MULTILINE)
    return Path(top[1].strip()).resolve() if top else None


def toolkit_version(toolkit: Path) -> str:
    text = subprocess.run([toolkit / "bin" / "nvcc", "--version"], capture_output=True, text=True).stdout
    release = re.search(r"release (\d+\.\d+)", text)
    return release[1] if release else "unknown"


def why_no_cuda(toolkit: Path | None) -> str | None:
    """The reason why _C_cuda can not be built, or None."""
    if torch.version.cuda is None:
        return "this torch is a CPU build: install a CUDA build of torch first"
    if toolkit is None:
        return "no CUDA toolkit was found: install one with nvcc, or set CUDA_HOME"
    version = toolkit_version(toolkit)
    if version.split(".")[0] != torch.version.cuda.split(".")[0]:
        return f"the toolkit in {toolkit} is CUDA {version} and this torch was built with CUDA {torch.version.cuda}"
    return None


def decide_cuda() -> Path | None:
    """The toolkit to build _C_cuda with, or None."""
    wish = os.environ.get("PSEUDO_IOU_OPS_CUDA", "auto")
    if wish not in ("auto", "on", "off"):
        sys.exit(f"PSEUDO_IOU_OPS_CUDA: expected auto, on or off, got {wish!r}")
    if wish == "off":
        print("pseudo_iou_ops: CPU kernels alone (PSEUDO_IOU_OPS_CUDA=off)")
        return None
    toolkit = find_toolkit()
    reason = why_no_cuda(toolkit)
    if reason is None:
        print(f"pseudo_iou_ops: CPU and CUDA kernels, with the toolkit in {toolkit}")
        return toolkit
    if wish == "on":
        sys.exit(f"PSEUDO_IOU_OPS_CUDA=on, but {reason}")
    print(f"pseudo_iou_ops: CPU kernels alone; {reason}")
    return None


def default_architectures(toolkit: Path) -> str:
    """Those of ARCHITECTURES this toolkit can compile for."""
    codes = subprocess.run([toolkit / "bin" / "nvcc", "--list-gpu-code"], capture_output=True, text=True).stdout
    known = [name for name in ARCHITECTURES if f"sm_{name.replace('.', '')}" in codes.split()]
    return ";".join(known) + "+PTX"


def host_flags() -> list[str]:
    if sys.platform == "win32":
        return ["/O2", "/fp:precise", "/Zc:preprocessor"]
    exact = ["-ffp-contract=off"]
    # Nobody reads errno or floating-point exceptions; roots and comparisons are vectorised without them.
    vectorised = ["-O3", "-fno-math-errno", "-fno-trapping-math"]
    # Python's own flags may ask for debugging information: a library ten times as large, and longer to compile.
    small = ["-g0", "-fvisibility=hidden"]
    return [*exact, *vectorised, *small, "-Wall", f"-ffile-prefix-map={ROOT}/="]


def target_macro() -> tuple[str, str]:
    major, minor = TORCH_TARGET_VERSION
    return ("TORCH_TARGET_VERSION", f"0x{major:02x}{minor:02x}000000000000")


TOOLKIT = decide_cuda()
if TOOLKIT is not None:
    os.environ.setdefault("TORCH_CUDA_ARCH_LIST", default_architectures(TOOLKIT))
    os.environ["CUDA_HOME"] = str(TOOLKIT)  # read when the next line is imported
from torch.utils.cpp_extension import BuildExtension, CppExtension, CUDAExtension  # noqa: E402


def sources(pattern: str) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(pattern))


class Build(BuildExtension):
    """Tells the libraries which sources they are built from, by a header that the two lists of ops include."""

    def build_extensions(self) -> None:
        source_hash = runpy.run_path(str(ROOT / "pseudo_iou_ops" / "_sources.py"))["source_hash"]
        text = f'#define PSEUDO_IOU_OPS_SOURCE_HASH "{source_hash(ROOT)}"\n'
        header = GENERATED / "source_hash.h"
        if not header.is_file() or header.read_text() != text:
            GENERATED.mkdir(parents=True, exist_ok=True)
            header.write_text(text)
        super().build_extensions()


def extensions(toolkit: Path | None) -> list:
    hashed = ["setup.py", *sources("csrc/**/*.*")]
    result = [
        CppExtension(
            "pseudo_iou_ops._C",
            ["csrc/library.cpp", *sources("csrc/ops/cpu/*.cpp")],
            define_macros=[target_macro()],
            extra_compile_args={"cxx": host_flags()},
            include_dirs=[str(GENERATED)],
            depends=hashed,
            py_limited_api=True,
        )
    ]
    if toolkit is not None:
        architectures = os.environ["TORCH_CUDA_ARCH_LIST"]
        result.append(
            CUDAExtension(
                "pseudo_iou_ops._C_cuda",
                ["csrc/library_cuda.cpp", *sources("csrc/ops/cuda/*.cpp"), *sources("csrc/launch/*.cu")],
                define_macros=[
                    target_macro(),
                    ("USE_CUDA", None),
                    ("PSEUDO_IOU_OPS_CUDA_ARCHITECTURES", f'"{architectures}"'),
                ],
                # Labels are discrete: no contraction and no fast math, so that every device agrees.
                extra_compile_args={"cxx": host_flags(), "nvcc": ["-O3", "-fmad=false"]},
                include_dirs=[str(GENERATED)],
                depends=hashed,
                py_limited_api=True,
            )
        )
    return result


setup(
    ext_modules=extensions(TOOLKIT),
    cmdclass={"build_ext": Build},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
