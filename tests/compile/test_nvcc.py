"""What nvcc makes of the kernels, where it is installed: no warning, no spill, no contraction, no approximation."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ["-std=c++17", "-O3", "-fmad=false"]  # -fmad=false as in setup.py
BUDGET = json.loads(Path(__file__).with_name("ptxas_budget.json").read_text())["kernels"]
ARCHITECTURES = ("sm_80", "sm_90", "sm_100", "sm_120")
SOURCES = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("csrc/launch/*.cu"))
LABELS = (
    "csrc/launch/assign.cu",
    "csrc/launch/atss.cu",
    "csrc/launch/dynamic_k.cu",
    "csrc/launch/task_aligned.cu",
)  # labels are discrete: there every rounding counts

# Of a multiprocessor: 32-bit registers, threads, bytes of shared memory (CUDA C++ Programming Guide).
MULTIPROCESSORS = {
    "sm_80": (65536, 2048, 164 * 1024),
    "sm_90": (65536, 2048, 228 * 1024),
    "sm_100": (65536, 2048, 228 * 1024),
    "sm_120": (65536, 1536, 100 * 1024),
}

HOME = os.environ.get("CUDA_HOME")
NVCC = shutil.which(str(Path(HOME, "bin", "nvcc"))) if HOME else shutil.which("nvcc")
pytestmark = pytest.mark.skipif(NVCC is None, reason="nvcc is not installed")


class Compiled(NamedTuple):
    """What one source became: the report of ptxas, and the PTX for sm_90."""

    report: str
    ptx: str


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Compiled]:
    """Compiles a source when a test first asks for it, for all architectures in one call."""

    @cache
    def compile_once(source: str) -> Compiled:
        folder = tmp_path_factory.mktemp(Path(source).stem)
        report = compile_kernels(source, folder)
        return Compiled(report, (folder / f"{Path(source).stem}.compute_90.ptx").read_text())

    return compile_once


def compile_kernels(source: str, folder: Path) -> str:
    """The report of ptxas; the PTX of each architecture stays in the folder."""
    assert NVCC is not None
    command = [NVCC, *FLAGS, "-Werror", "all-warnings", "-Xcompiler=-Wall,-Wextra", "-Xptxas", "-v,-warn-spills"]
    for architecture in ARCHITECTURES:
        command += ["-gencode", f"arch={architecture.replace('sm_', 'compute_')},code={architecture}"]
    command += ["--keep", "--keep-dir", str(folder), "-c", source, "-o", str(folder / "kernels.o")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def resources(report: str, architecture: str) -> dict[str, dict[str, int]]:
    """What `ptxas -v` says of each kernel on one architecture."""
    kernels = {}
    for part in report.split("Compiling entry function '")[1:]:
        symbol, target = re.findall(r"[^']+", part.split("\n")[0])[::2]
        if target != architecture:
            continue
        stack, stores, loads = map(int, re.findall(r"(\d+) bytes (?:stack frame|spill)", part)[:3])
        shared = re.search(r"(\d+) bytes smem", part)
        registers = re.search(r"Used (\d+) registers", part)
        assert registers is not None, part
        kernels[symbol] = {
            "registers": int(registers[1]),
            "shared_bytes": int(shared[1]) if shared else 0,
            "stack_bytes": stack,
            "spill_bytes": stores + loads,
        }
    return kernels


def occupancy(used: dict[str, int], threads: int, architecture: str) -> float:
    """The share of a multiprocessor's threads that blocks of a kernel can fill.

    Registers are handed out to a warp in lots of 256, and a block takes 1 KiB of shared memory beside its own.
    """
    registers, most_threads, shared_bytes = MULTIPROCESSORS[architecture]
    warps = threads // 32
    by_registers = registers // (-(-used["registers"] * 32 // 256) * 256) // warps
    by_shared_memory = shared_bytes // (used["shared_bytes"] + 1024)
    return min(by_registers, by_shared_memory, most_threads // threads) * threads / most_threads


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("source", SOURCES)
def test_resources_stay_within_the_budget(source: str, architecture: str, compiled: Callable[[str], Compiled]) -> None:
    kernels = resources(compiled(source).report, architecture)
    assert kernels, "ptxas reported no kernel"
    for symbol, used in kernels.items():
        (name,) = (name for name in BUDGET if name in symbol)
        budget = {**BUDGET[name], "registers": BUDGET[name]["registers"][architecture]}
        over = {key: value for key, value in used.items() if value > budget[key]}
        assert not over, f"{symbol} is over the budget {budget}: {over}"
        share = occupancy(used, budget["threads_per_block"], architecture)
        assert share >= budget["occupancy"][architecture], f"{symbol}: occupancy {share:.3f} on {architecture}"


@pytest.mark.parametrize("source", SOURCES)
def test_ptx_uses_no_local_memory(source: str, compiled: Callable[[str], Compiled]) -> None:
    assert not re.search(r"\.local\b", compiled(source).ptx)


def test_ptx_of_the_losses_moves_sixteen_bytes_at_a_time(compiled: Callable[[str], Compiled]) -> None:
    """Two layouts of four dtypes, with two exponents: each loads vectors; and each stores them."""
    ptx = compiled("csrc/launch/class_loss.cu").ptx
    assert len(re.findall(r"ld\.global\.(?:v4\.(?:f32|u32|b32)|v2\.(?:f64|u64|b64))", ptx)) == 16
    assert len(re.findall(r"st\.global\.wb\.v4\.u32", ptx)) == 16


def test_ptx_of_the_box_losses_moves_four_distances_at_a_time(compiled: Callable[[str], Compiled]) -> None:
    """Where they lie side by side: float32 by 16 bytes, the 16-bit types by 8, float64 by twice 16."""
    ptx = compiled("csrc/launch/ltrb_loss.cu").ptx
    for width, count in (("v4.f32", 1), ("v4.u16", 2), ("v2.f64", 2)):
        for access in ("ld", "st"):
            found = re.findall(rf"{access}\.global\.{width}", ptx)
            assert len(found) == count, f"{access}.global.{width}: {len(found)}"


@pytest.mark.parametrize("source", LABELS)
def test_ptx_of_the_labels_rounds_every_operation(source: str, compiled: Callable[[str], Compiled]) -> None:
    ptx = compiled(source).ptx
    assert {"add.rn.f32", "mul.rn.f32", "div.rn.f32", "sqrt.rn.f32"} <= set(re.findall(r"\w+\.rn\.f32", ptx))
    for forbidden in (
        r"\bfma\.",
        r"\bmad\.\w*\.?f32",
        r"\.approx",
        r"\.ftz",
        r"\b(?:add|sub|mul)\.f32",
    ):
        assert not re.search(forbidden, ptx), f"{forbidden} in the PTX of {source}"


def test_ptx_of_decode_topk_rounds_every_operation(compiled: Callable[[str], Compiled]) -> None:
    """Its scores decide which candidate is kept, on every device the same."""
    ptx = compiled("csrc/launch/decode.cu").ptx
    assert {"add.rn.f32", "mul.rn.f32", "div.rn.f32"} <= set(re.findall(r"\w+\.rn\.f32", ptx))
    assert not re.search(r"\bfma\.|\bmad\.\w*\.?f32|\.approx|\.ftz|\b(?:add|sub|mul)\.f32", ptx)


@pytest.mark.parametrize("source", LABELS)
def test_the_scan_would_notice_contraction(source: str, tmp_path: Path) -> None:
    """Without -fmad=false nvcc fuses: the scan above must be able to fail."""
    assert NVCC is not None
    target = tmp_path / "kernels.ptx"
    subprocess.run(
        [NVCC, "-std=c++17", "-O3", "-ptx", "-arch=sm_90", source, "-o", str(target)],
        cwd=ROOT,
        check=True,
    )
    assert re.search(r"\bfma\.|\b(?:add|sub|mul)\.f32", target.read_text())
