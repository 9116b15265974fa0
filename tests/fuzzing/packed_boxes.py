"""Builds packed_boxes.cpp: for libFuzzer, or as a program that runs it on random inputs."""

from __future__ import annotations

import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
FLAGS = ["-std=c++17", "-O1", "-g", "-ffp-contract=off", "-fno-sanitize-recover=all", "-Wall", "-Wextra", "-Werror"]


def build_for_libfuzzer(compiler: str, program: Path) -> None:
    """With a clang++ that has libFuzzer."""
    _build(compiler, "fuzzer,address,undefined", [HERE / "packed_boxes.cpp"], program)


def build_for_random_inputs(compiler: str, program: Path, folder: Path = HERE) -> None:
    """With any compiler that has the sanitizers; the sources are those of a folder like this one."""
    _build(compiler, "address,undefined", [folder / "packed_boxes.cpp", folder / "random_inputs.cpp"], program)


def _build(compiler: str, sanitizers: str, sources: list[Path], program: Path) -> None:
    command = [compiler, *FLAGS, f"-fsanitize={sanitizers}", *map(str, sources), "-o", str(program)]
    subprocess.run(command, check=True)
