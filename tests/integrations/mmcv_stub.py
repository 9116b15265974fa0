"""A stand-in for the compiled half of mmcv, which has no wheel for current torch: enough to import mmdetection."""

from __future__ import annotations

import sys
import types
from typing import Any


def _missing(*_: Any, **__: Any) -> None:
    raise NotImplementedError("a compiled op of mmcv, which is a stand-in here")


class _CompiledOps(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _missing


def install() -> None:
    sys.modules.setdefault("mmcv._ext", _CompiledOps("mmcv._ext"))
