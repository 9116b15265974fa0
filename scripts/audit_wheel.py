"""Audits built wheels: ``python scripts/audit_wheel.py FILE...`` exits with 1 if one would not run where it should.

A library may use torch's stable ABI and Python's limited API, and nothing else of the two: that lets one binary serve
every torch from 2.11 and every CPython from 3.10.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

OLDEST_PYTHON = "3.10"
# Symbols of ATen, c10 and torch's C++ API, none of which is stable between versions.
UNSTABLE = re.compile(r"_ZNK?(2at|3c10|5torch)")
# Found at run time beside torch, the CUDA runtime or the system's C and C++ libraries.
ALLOWED_LIBRARIES = re.compile(r"lib(c10|torch|torch_cpu|c10_cuda|torch_cuda|cudart|stdc\+\+|gcc_s|c|m)\.so[.\d]*")


def main(wheels: Sequence[str]) -> int:
    problems = [f"{wheel}: {problem}" for wheel in wheels for problem in wheel_problems(Path(wheel))]
    print("\n".join(problems) or "\n".join(f"{wheel}: passed" for wheel in wheels))
    return 1 if problems or not wheels else 0


def wheel_problems(wheel: Path) -> list[str]:
    """One line for each."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
        libraries = sorted(Path(folder).rglob("*.so"))
        problems = [f"{library.name}: {problem}" for library in libraries for problem in library_problems(library)]
        packages = sorted(path.name for path in Path(folder).iterdir() if not path.name.endswith(".dist-info"))
    if not libraries:
        problems.append("no compiled library")
    if packages != ["pseudo_iou_ops"]:
        problems.append(f"expected the package pseudo_iou_ops alone, got {', '.join(packages)}")
    if "-cp310-abi3-" not in wheel.name:
        problems.append("expected the tag cp310-abi3")
    return problems


def library_problems(library: Path) -> list[str]:
    names = undefined_symbols(library)
    problems = [f"unstable symbol {name}" for name in names if UNSTABLE.match(name)]
    if not any(name.startswith("aoti_torch_") for name in names):
        problems.append("uses nothing of torch's stable ABI")
    problems += [f"needs {name}" for name in needed_libraries(library) if not ALLOWED_LIBRARIES.fullmatch(name)]
    return problems + limited_api_problems(library)


def undefined_symbols(library: Path) -> list[str]:
    return [line.split()[-1] for line in _output("nm", "-D", "--undefined-only", str(library)).splitlines()]


def needed_libraries(library: Path) -> list[str]:
    return re.findall(r"\(NEEDED\).*\[(.+)\]", _output("readelf", "-d", str(library)))


def limited_api_problems(library: Path) -> list[str]:
    """What abi3audit says, if it is not content."""
    if not library.name.endswith(".abi3.so"):
        return ["expected a name that ends in .abi3.so"]
    options = ["--strict", "--verbose", "--assume-minimum-abi3", OLDEST_PYTHON]
    command = [sys.executable, "-m", "abi3audit", *options, str(library)]
    audit = subprocess.run(command, capture_output=True, text=True)
    return [] if audit.returncode == 0 else [f"abi3audit: {' '.join((audit.stdout + audit.stderr).split())}"]


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
