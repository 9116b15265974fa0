"""Draws the runs stored in docs/results into docs/reproduction.md: ``python scripts/docs_reproduction.py``.

Each ``docs/results/<name>.csv`` is the results.csv of ``detector sweep --file detector/configs/sweeps/<name>.yaml``.
Its table replaces what stands between the page's two lines ``<!-- results of <name> -->`` and ``<!-- end -->``; its
pictures are ``docs/images/<name>_plot.png`` and ``docs/images/<name>_order.png``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from detector.sweep import cell_config, load_sweep  # noqa: E402
from detector.sweep.plot import draw_order, draw_sweep  # noqa: E402
from detector.sweep.results import read_results  # noqa: E402
from detector.sweep.table import markdown_table  # noqa: E402

SECTION = "<!-- results of {} -->\n"
END = "<!-- end -->"


def draw(docs: Path) -> None:
    """Make the page's tables and the pictures of all stored runs anew."""
    page = docs / "reproduction.md"
    text = page.read_text(encoding="utf-8")
    for file in sorted((docs / "results").glob("*.csv")):
        sweep, results = load_sweep(ROOT / "detector" / "configs" / "sweeps" / f"{file.stem}.yaml"), read_results(file)
        rules = [cell_config(cell).assign.rule() for cell in sweep.cells]
        draw_sweep(sweep, rules, results, docs / "images" / f"{file.stem}_plot.png")
        draw_order(sweep, rules, results, docs / "images" / f"{file.stem}_order.png")
        text = _replaced(text, file.stem, markdown_table(sweep, results).split("\n", 2)[2])
    page.write_text(text, encoding="utf-8")


def _replaced(text: str, name: str, table: str) -> str:
    begin = SECTION.format(name)
    changed, count = re.subn(
        f"{re.escape(begin)}.*?{re.escape(END)}", lambda _: f"{begin}\n{table}\n{END}", text, flags=re.DOTALL
    )
    if count != 1:
        raise SystemExit(f"docs/reproduction.md: expected one section {begin.strip()}, found {count}")
    return changed


if __name__ == "__main__":
    draw(ROOT / "docs")
