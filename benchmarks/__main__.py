"""python -m benchmarks: time the contestants, print the table, store what was measured."""

from __future__ import annotations

import os

# Spinning OpenMP threads of one contestant would steal the cores of the next; read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import sys

from .cli import main

sys.exit(main(sys.argv[1:]))
