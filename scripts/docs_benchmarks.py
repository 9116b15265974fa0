"""Writes docs/benchmarks.md from the runs stored in benchmarks/results: ``python scripts/docs_benchmarks.py``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
sys.path.insert(0, str(ROOT))

from benchmarks import losses, step, table, top_k  # noqa: E402

INTRODUCTION = """\
# Benchmarks

This page is made by `python scripts/docs_benchmarks.py` from the files in `benchmarks/results`; nothing is typed by
hand. Each section is one run on one machine, with the command that repeats it. The commands need the extra `detector`,
which has torchvision to compare with and matplotlib to draw by: `pip install --no-build-isolation -e ".[detector]"`.

What is timed is one call for a batch that is on the device already. Before a contestant is timed its targets are
compared with the op's; "differs in" counts the points where they are not equal, and is empty where they are.
Contestants take turns in one process, and a ratio is the median of the ratios within a round to `out=`, which writes
into an earlier result. "Style" is the algorithm of that project's released code, written anew. The floor is seven
`fill_` calls of torch on outputs of the same size, on a GPU one captured graph of a memset a buffer. "Left out" says
why.

Where boxes choose points, `padded` is one table of images x boxes x points as the YOLO family builds it, written anew
in plain torch, and mmdetection's assigners are its own, image by image, where they can be imported. They are given
decoded boxes and probabilities (soft labels: logits), whose sigmoid is not in their time; this library reads logits.
Their powers and logarithms round otherwise, so that "exact" means that no point of the run differs.

| column | meaning |
|---|---|
| median, 20%, 80% | of the calls' times |
| peak MB, peak / outputs | memory allocated during a call, and its ratio to the outputs' own |
| ops, syncs | torch operators of a call, and how many of them wait for a value of the device |
"""


# What a folder of results holds, and what makes tables of it.
KINDS = {
    ".": ("Assignment", table),
    "top_k": ("Boxes choose points", top_k),
    "losses": ("The focal loss", losses),
    "step": ("A training step", step),
}


def make_page() -> str:
    sections, drivers = [], []
    for folder, (title, module) in KINDS.items():
        for file in sorted((ROOT / "benchmarks" / "results" / folder).glob("*.json")):
            run = json.loads(file.read_text())
            drivers.append(run["environment"]["driver"])
            sections.append(f"## {title}: {file.stem}\n\n{module.render(run)}")
    if not any(drivers):
        sections.append("## On a GPU\n\nNot run.\n")
    return "\n".join([INTRODUCTION, *sections])


if __name__ == "__main__":
    PAGE.write_text(make_page())
