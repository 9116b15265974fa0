"""What a CUDA error says beside its own words. No GPU is needed: the words alone are compiled."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
#include <cstdio>
#include "ops/cuda/launching.h"

int main() {
  std::puts(pseudo_iou_ops::hint_of(cudaErrorNoKernelImageForDevice));
  std::puts(pseudo_iou_ops::hint_of(cudaErrorInvalidValue));
}
"""


def cuda_headers() -> Path | None:
    nvcc = shutil.which("nvcc")
    places = [os.environ.get("CUDA_HOME"), nvcc and Path(nvcc).resolve().parents[1], "/usr/local/cuda"]
    found = [Path(place, "include") for place in places if place]
    return next((folder for folder in found if (folder / "cuda_runtime_api.h").is_file()), None)


@pytest.mark.skipif(cuda_headers() is None, reason="needs the headers of a CUDA toolkit")
def test_a_library_for_other_gpus_names_them(tmp_path: Path) -> None:
    source, program = tmp_path / "hint.cpp", tmp_path / "hint"
    source.write_text(PROGRAM)
    folders = [ROOT / "csrc", cuda_headers(), Path(torch.__file__).parent / "include"]
    macros = ["TORCH_TARGET_VERSION=0x020b000000000000", "USE_CUDA", 'PSEUDO_IOU_OPS_CUDA_ARCHITECTURES="7.5;9.0+PTX"']
    command = ["c++", "-std=c++20", *(f"-I{folder}" for folder in folders), *(f"-D{macro}" for macro in macros)]
    # What is not called is not linked.
    command += ["-O1", "-Wl,--unresolved-symbols=ignore-all", str(source), "-o", str(program)]
    subprocess.run(command, check=True)
    said = subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines()
    assert "built for the GPU architectures 7.5;9.0+PTX: build it again with TORCH_CUDA_ARCH_LIST" in said[0]
    assert said[1] == ""
