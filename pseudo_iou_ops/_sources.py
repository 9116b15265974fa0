"""Which sources a compiled library was built from. Plain Python alone, because setup.py runs it before a build."""

from __future__ import annotations

import hashlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def source_hash(root: Path = ROOT) -> str | None:
    """Of all that decides what a build makes, setup.py and csrc; None where they do not lie beside the package."""
    files = [root / "setup.py", *sorted(path for path in (root / "csrc").rglob("*") if path.is_file())]
    if not all(path.is_file() for path in files) or len(files) == 1:
        return None
    digest = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]
