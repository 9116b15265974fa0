"""Time and peak memory against boxes per image, made from the JSON of a run with ``--plot``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .table import quantiles, was_timed

PACKAGE = "matplotlib"


def draw(sweep: Sequence[dict[str, Any]], path: Path) -> None:
    """Two panels, a line per contestant. A line ends where the contestant was left out."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (times, memory) = pyplot.subplots(1, 2, figsize=(12, 5.5), layout="constrained")
    for index, name in enumerate(_names(sweep)):
        style = {
            "color": f"C{index % 10}",
            "linestyle": "-" if index < 10 else "--",
            "linewidth": 2.5 if name.startswith("pseudo_iou_ops") else 1.2,
            "marker": "osv^D"[index % 5],
            "markersize": 4,
            "label": name,
        }
        times.plot(*_series(sweep, name, "seconds"), **style)
        memory.plot(*_series(sweep, name, "peak_bytes"), **style)
    fill = [1e3 * quantiles(result["fill_seconds"])[0] for result in sweep]
    times.plot(
        [result["most_boxes"] for result in sweep],
        fill,
        color="black",
        linestyle=":",
        label="fill the outputs",
    )
    outputs = [result["output_bytes"] / 1e6 for result in sweep]
    memory.plot([result["most_boxes"] for result in sweep], outputs, color="black", linestyle=":", label="the outputs")
    for axes, label in ((times, "milliseconds a call"), (memory, "peak MB of a call")):
        axes.set_xscale("symlog", linthresh=1)
        axes.set_yscale("log")
        axes.set_xlabel("boxes per image")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    figure.legend(*times.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small")
    first = sweep[0]
    figure.suptitle(f"{first['images']} images, {first['points_per_image']} points an image")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def _names(sweep: Sequence[dict[str, Any]]) -> list[str]:
    timed = (entry for result in sweep for entry in result["contestants"] if was_timed(entry))
    return list(dict.fromkeys(entry["name"] for entry in timed))


def _series(sweep: Sequence[dict[str, Any]], name: str, key: str) -> tuple[list[int], list[float]]:
    boxes, values = [], []
    for result in sweep:
        for entry in result["contestants"]:
            if entry["name"] == name and was_timed(entry) and entry.get(key) is not None:
                boxes.append(result["most_boxes"])
                values.append(1e3 * quantiles(entry[key])[0] if key == "seconds" else max(entry[key] / 1e6, 1e-2))
    return boxes, values
