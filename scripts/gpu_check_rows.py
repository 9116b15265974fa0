"""The figures that matter, one line each, from the JSON files that gpu_check.sh leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# The files, and what they hold.
FILES = {"assign.json": ("results", "top_k"), "losses.json": ("results", "decode")}

MOST_ROWS = 80  # with the verdicts, well within what a caller keeps of an output


def key_rows(folder: Path) -> list[str]:
    """Ours on every workload: one by one, in a CUDA graph, the floor, the best peer; and the best tuning."""
    rows = []
    for file, keys in FILES.items():
        path = folder / file
        document = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        for key in keys:
            rows += [_row(_title(file, result), result) for result in document.get(key, [])]
        if "unfinished" in document:
            rows.append(_row("cut off: " + _title(file, document["unfinished"]), document["unfinished"]))
        rows += tuning_rows(document.get("tuning", []))
    return rows[:MOST_ROWS]


def _title(file: str, result: dict[str, Any]) -> str:
    kind = result.get("kind", file.removesuffix(".json"))
    names = ("workload", "metric", "layout", "dtype")
    return " ".join([kind, *(result[name] for name in names if name in result)])


def _row(title: str, result: dict[str, Any]) -> str:
    from benchmarks.table import was_timed

    entries = result.get("contestants", [])
    ours = [entry for entry in entries if entry["name"].startswith("pseudo_iou_ops")]
    peers = [entry for entry in entries if entry not in ours and was_timed(entry)]
    parts = [_figures(entry) for entry in ours]
    if "fill_graph_seconds" in result:
        parts.append(f"floor {_time(result['fill_graph_seconds'])}")
    if peers:
        best = min(peers, key=_median)
        parts.append(f"best peer {_time(_median(best))} ({best['name']})")
    failed = [entry["name"] for entry in entries if "error" in entry or "graph_error" in entry]
    parts += [f"failed: {', '.join(failed)}"] if failed else []
    return f"{title}: " + "; ".join(parts)


def _figures(entry: dict[str, Any]) -> str:
    from benchmarks.table import was_timed, why_not_timed

    name = entry["name"].removeprefix("pseudo_iou_ops").lstrip(", ") or "ours"
    if not was_timed(entry):
        return f"{name} {why_not_timed(entry)}"
    graph = f", in a graph {_time(entry['graph_seconds'])}" if "graph_seconds" in entry else ""
    return f"{name} {_time(_median(entry))}{graph}"


def tuning_rows(results: list[dict[str, Any]]) -> list[str]:
    """For each workload the time of every variant of the library, the best one marked."""
    rows = []
    for workload in dict.fromkeys(result["workload"] for result in results):
        own = [result for result in results if result["workload"] == workload]
        best = min(result["graph_seconds"] for result in own)
        figures = (
            f"{result['library']} {_time(result['graph_seconds'])}{' <-' if result['graph_seconds'] == best else ''}"
            for result in own
        )
        rows.append(f"tuning {workload}: " + ", ".join(figures))
    return rows


def _median(entry: dict[str, Any]) -> float:
    from benchmarks.table import quantiles

    return quantiles(entry["seconds"])[0]


def _time(seconds: float) -> str:
    from benchmarks.table import time_text

    return time_text(seconds)
