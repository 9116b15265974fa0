"""Tables in Markdown, made from the JSON of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .peers import BASELINE

Seconds = Sequence[float | None]


def quantiles(samples: Seconds) -> tuple[float, float, float]:
    """The median and the 20% and 80% quantiles of what was measured."""
    low, median, high = np.quantile([sample for sample in samples if sample is not None], (0.2, 0.5, 0.8))
    return float(median), float(low), float(high)


def ratio(samples: Seconds, baseline: Seconds) -> float:
    """The median of the ratios within a round."""
    pairs = zip(samples, baseline, strict=True)
    return quantiles([a / b for a, b in pairs if a is not None and b is not None])[0]


def time_text(seconds: float) -> str:
    """Three significant digits, in the unit that suits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size or unit == "us":
            return f"{_digits(seconds / size)} {unit}"
    raise AssertionError


def _digits(value: float, significant: int = 3) -> str:
    if value <= 0:
        return "0"
    decimals = max(0, significant - 1 - math.floor(math.log10(value)))
    return f"{value:.{decimals}f}"


def _ratio_text(value: float) -> str:
    return f"{_digits(value, 2)}x"


def render(document: dict[str, Any]) -> str:
    """The summary, then one table of details per workload."""
    results = document.get("results", [])
    parts = [head(document["environment"]), summary(results), *(_details(result) for result in results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def head(environment: dict[str, Any]) -> str:
    """Where a run was made, and the command that repeats it."""
    facts = [environment["device"], f"{environment['threads']} threads", f"torch {environment['torch']}"]
    if "instruction_set" in environment:  # not in the earliest results
        facts.insert(1, environment["instruction_set"])
    if environment["driver"]:
        facts.append(f"driver {environment['driver']}")
    facts.append(f"commit {environment['commit']}, {environment['date'][:10]}")
    return f"{', '.join(facts)}\n`{environment['command']}`"


def summary(results: Sequence[dict[str, Any]]) -> str:
    """One row per contestant, one column per workload: median time, and its ratio to the baseline. On CUDA the floor
    and the ratio to it are those of CUDA graphs, whose times hold nothing of the host's."""
    columns = [_title(result) for result in results]
    timed = [name for name in _names(results) if any(_entry(result, name) for result in results)]
    rows = [[name, *(_cell(result, name) for result in results)] for name in timed]
    rows.append(["fill the outputs (floor)", *(_floor_text(result) for result in results)])
    rows.append([f"{BASELINE} over the floor", *(_over_floor(result) for result in results)])
    rows.append([f"best exact peer over {BASELINE}", *(_over_best_peer(result) for result in results)])
    left_out = [_left_out_everywhere(results, name) for name in _names(results) if name not in timed]
    return "\n\n".join([markdown(["median of a call", *columns], rows), *left_out])


def excerpt(results: Sequence[dict[str, Any]], workloads: Sequence[str], names: Sequence[str]) -> str:
    """The README's table: some contestants on some workloads, by the default metric."""
    chosen = [result for result in results if _title(result) in workloads]
    rows = [[name, *(_cell(result, name) for result in chosen)] for name in names]
    return markdown(["median of a call", *map(_title, chosen)], rows)


def _names(results: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(entry["name"] for result in results for entry in result["contestants"]))


def _left_out_everywhere(results: Sequence[dict[str, Any]], name: str) -> str:
    entries = (entry for result in results for entry in result["contestants"] if entry["name"] == name)
    return f"{name} ({', '.join(dict.fromkeys(why_not_timed(entry) for entry in entries))})"


def _title(result: dict[str, Any]) -> str:
    metric = "" if result["metric"] == "pseudo_iou" else f" {result['metric']}"
    return result["workload"] + metric


def _entry(result: dict[str, Any], name: str) -> dict[str, Any] | None:
    """The entry of a contestant that was timed."""
    for entry in result["contestants"]:
        if entry["name"] == name and was_timed(entry):
            return entry
    return None


def was_timed(entry: dict[str, Any]) -> bool:
    return any(sample is not None for sample in entry.get("seconds", []))


def why_not_timed(entry: dict[str, Any]) -> str:
    """The words for a table."""
    if entry.get("left_out"):
        return f"left out: {entry['left_out']}"
    return f"failed: {entry['error']}" if "error" in entry else "cut off"


def _cell(result: dict[str, Any], name: str) -> str:
    entry, baseline = _entry(result, name), _entry(result, BASELINE)
    if entry is None:
        reasons = [why_not_timed(entry) for entry in result["contestants"] if entry["name"] == name]
        return reasons[0] if reasons else ""
    text = time_text(quantiles(entry["seconds"])[0])
    if baseline is None or entry is baseline:
        return text
    return f"{text} ({_ratio_text(ratio(entry['seconds'], baseline['seconds']))})"


def _floor_text(result: dict[str, Any]) -> str:
    floor = _floor(result)
    return "" if floor is None else time_text(floor)


def _floor(result: dict[str, Any]) -> float | None:
    if "fill_graph_seconds" in result:
        return float(result["fill_graph_seconds"])
    return quantiles(result["fill_seconds"])[0] if "fill_seconds" in result else None


def _over_floor(result: dict[str, Any]) -> str:
    baseline, floor = _entry(result, BASELINE), _floor(result)
    if baseline is None or floor is None:
        return ""
    if "fill_graph_seconds" in result:
        return _ratio_text(baseline["graph_seconds"] / floor) if "graph_seconds" in baseline else ""
    return _ratio_text(ratio(baseline["seconds"], result["fill_seconds"]))


def _over_best_peer(result: dict[str, Any]) -> str:
    """Over the exact contestant that is not ours with the smallest median."""
    baseline = _entry(result, BASELINE)
    peers = [e for e in result["contestants"] if was_timed(e) and e["exact"] and not e["is_ours"]]
    if baseline is None or not peers:
        return ""
    best = min(peers, key=lambda entry: quantiles(entry["seconds"])[0])
    return f"{_ratio_text(ratio(best['seconds'], baseline['seconds']))} ({best['name']})"


def _details(result: dict[str, Any]) -> str:
    facts = (
        f"**{_title(result)}**: {result['images']} images, {result['points_per_image']} points an image, "
        f"{result['boxes']} boxes (at most {result['most_boxes']} an image), {result['positives']} positives, "
        f"outputs {result['output_bytes'] / 1e6:.1f} MB"
    )
    timed = [entry for entry in result["contestants"] if was_timed(entry)]
    has_cuda = any("kernels" in entry for entry in timed)
    header = ["contestant", "median", "20%", "80%", "peak MB", "peak / outputs", "ops", "syncs", "differs in"]
    if has_cuda:
        header += ["kernels", "memsets", "copies", "in a graph"]
    rows = [_detail_row(entry, result["output_bytes"], has_cuda) for entry in timed]
    others = [[entry["name"], why_not_timed(entry)] for entry in result["contestants"] if not was_timed(entry)]
    return f"{facts}\n\n{markdown(header, rows + others)}"


def _detail_row(entry: dict[str, Any], output_bytes: int, has_cuda: bool) -> list[str]:
    peak = entry["peak_bytes"]
    row = [
        entry["name"],
        *(time_text(seconds) for seconds in quantiles(entry["seconds"])),
        "" if peak is None else f"{peak / 1e6:.1f}",
        "" if peak is None else f"{peak / output_bytes:.2f}",
        _plain(entry["ops"]),
        _plain(entry["syncs"]),
        f"{entry['differing_points']} points" if entry["differing_points"] else "",
    ]
    if has_cuda:
        graph = entry.get("graph_seconds")
        row += [_plain(entry.get(kind)) for kind in ("kernels", "memsets", "copies")]
        row.append("" if graph is None else time_text(graph))
    return row


def contest_table(what: str, result: dict[str, Any], baseline: str, input_name: str, input_bytes: int) -> str:
    """One row per contestant of one result; the time in a CUDA graph where there is one."""
    ours, has_graphs = _entry(result, baseline), any("graph_seconds" in entry for entry in result["contestants"])
    rows = []
    for entry in result["contestants"]:
        if not was_timed(entry):
            rows.append([entry["name"], why_not_timed(entry)])
            continue
        over_ours = "" if ours is None else f"{ratio(entry['seconds'], ours['seconds']):.1f}x"
        row = [entry["name"], time_text(quantiles(entry["seconds"])[0]), over_ours]
        if has_graphs:
            row.append(time_text(entry["graph_seconds"]) if "graph_seconds" in entry else "")
        peak = entry["peak_bytes"]
        rows.append(row + ([] if peak is None else [f"{peak / 1e6:.0f}", f"{peak / input_bytes:.2f}"]))
    graphs = ["in a graph"] if has_graphs else []
    return markdown([what, "median", "over ours", *graphs, "peak MB", f"peak / {input_name}"], rows)


def _plain(value: int | None) -> str:
    return "" if value is None else str(value)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    full = [list(header), *([*row, *[""] * (len(header) - len(row))] for row in rows)]
    widths = [max(len(row[column]) for row in full) for column in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in full
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])
