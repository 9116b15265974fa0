"""Builds packed_boxes.cpp: for libFuzzer, or as a program that runs it on random inputs."""

from __future__ import annotations

import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
FLAGS = ["-std=c++17", "-O1", "-g", "-ffp-contract=off", "-fno-sanitize-recover=all"]
WARNINGS = ["-Wall", "-Wextra", "-Werror"]


def libfuzzer_command(compiler: str, program: Path) -> list[str]:
    """Builds it with a clang++ that has libFuzzer, whatever that version warns of."""
    return _command(compiler, "fuzzer,address,undefined", [HERE / "packed_boxes.cpp"], program)


def build_for_random_inputs(compiler: str, program: Path, folder: Path = HERE) -> None:
    """With any compiler that has the sanitizers; the sources are those of a folder like this one."""
    sources = [folder / "packed_boxes.cpp", folder / "random_inputs.cpp"]
    subprocess.run([*_command(compiler, "address,undefined", sources, program), *WARNINGS], check=True)


def _command(compiler: str, sanitizers: str, sources: list[Path], program: Path) -> list[str]:
    return [compiler, *FLAGS, f"-fsanitize={sanitizers}", *map(str, sources), "-o", str(program)]
