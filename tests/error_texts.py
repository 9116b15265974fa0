"""The error texts of the sources, with an ellipsis for what a call fills in."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILLED_IN = "…"

# These return the text of an error that others raise.
REASONS = ("_load_cuda", "_why_sources_alone", "why_no_cuda")


def python_texts(file: Path) -> set[str]:
    """What a file raises, gives to sys.exit, or returns as a reason."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            found |= _texts(node.exc.args)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "sys.exit":
            found |= _texts(node.args)
        elif isinstance(node, ast.FunctionDef) and node.name in REASONS:
            found |= _texts(part.value for part in ast.walk(node) if isinstance(part, ast.Return) and part.value)
    return found


def _texts(values: Iterator[ast.expr] | list[ast.expr]) -> set[str]:
    return {_text(value) for value in values if isinstance(value, ast.JoinedStr) or _is_string(value)}


def _is_string(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _text(value: ast.expr) -> str:
    parts = value.values if isinstance(value, ast.JoinedStr) else [value]
    return "".join(part.value if isinstance(part, ast.Constant) else FILLED_IN for part in parts)


def cpp_texts(file: Path) -> set[str]:
    """The messages of a file's STD_TORCH_CHECKs."""
    source = file.read_text()
    starts = [match.end() for match in re.finditer(r"STD_TORCH_CHECK\(", source)]
    return {_joined(_arguments(source[start:])[1:]) for start in starts}


def _arguments(source: str) -> list[str]:
    """Of a call, from behind its opening bracket to the closing one."""
    arguments, depth, current = [], 0, ""
    for token in re.findall(r'"(?:[^"\\]|\\.)*"|[^"]', source):
        if token in "([{":
            depth += 1
        elif token in ")]}":
            depth -= 1
        if depth < 0:
            break
        if token == "," and depth == 0:
            arguments.append(current)
            current = ""
        else:
            current += token
    return [*arguments, current]


def _joined(arguments: list[str]) -> str:
    return "".join("".join(re.findall(r'"((?:[^"\\]|\\.)*)"', part)) or FILLED_IN for part in arguments)


def library_texts() -> set[str]:
    """Every error text of the library and its build."""
    python = [ROOT / "setup.py", *sorted((ROOT / "pseudo_iou_ops").glob("**/*.py"))]
    cpp = [path for path in sorted((ROOT / "csrc").glob("**/*")) if path.suffix in (".h", ".cpp", ".cu", ".cuh")]
    return set().union(*map(python_texts, python), *map(cpp_texts, cpp))
