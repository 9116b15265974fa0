"""Runs pickled cases through a sanitized build: ``run_sanitized.py FOLDER CASES``. Needs numpy alone."""

from __future__ import annotations

import importlib
import pickle
import sys
from pathlib import Path

import numpy_call

if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    module = importlib.import_module("_emulated")
    cases = pickle.loads(Path(sys.argv[2]).read_bytes())
    for name, arguments in cases.items():
        for schedule in ("forward", "reverse"):
            if "function" in arguments:  # of a loss
                getattr(module, arguments["function"])(*arguments["positional"], schedule, 0)
            else:
                numpy_call.assign(module, arguments, schedule=schedule)
        print(f"{name} ok", flush=True)
