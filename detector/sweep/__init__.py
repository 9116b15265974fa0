"""Sweeps: trainings that differ in few settings, run one after another, and their table beside published figures."""

from .plan import TABLES, Cell, Sweep, cell_config, chosen, load_sweep, load_table
from .run import run_sweep

__all__ = ["TABLES", "Cell", "Sweep", "cell_config", "chosen", "load_sweep", "load_table", "run_sweep"]
