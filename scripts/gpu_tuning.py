"""Times variants of the CUDA kernels' tuning constants on the GPU at hand, so that one run chooses them.

    python scripts/gpu_tuning.py FOLDER [--brief]
    python scripts/gpu_tuning.py --time LIBRARY [--brief] PART ...

The first builds every variant into a folder of its own and adds their times to the lists "tuning" of
FOLDER/assign.json and FOLDER/losses.json. The second is the process that times one variant: a line of JSON a figure.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

# What the sources let a compiler flag override.
POINTS = "PSEUDO_IOU_OPS_POINTS_PER_THREAD"
BLOCKS = "PSEUDO_IOU_OPS_ASSIGN_BLOCKS_PER_PROCESSOR"
CLASSES = "PSEUDO_IOU_OPS_CLASSES_PER_TILE"
MACROS = (POINTS, BLOCKS, CLASSES)


@dataclass(frozen=True)
class Variant:
    """A library with other constants, or with its own, and what is timed with it."""

    name: str
    macros: tuple[tuple[str, int], ...]
    parts: tuple[str, ...]

    @property
    def nvcc_flags(self) -> str:
        return " ".join(f"-D{name}={value}" for name, value in self.macros)


def variants() -> list[Variant]:
    """The assignment's and the focal loss's constants do not meet, so that one library can try both."""
    found = [Variant("as built", (), ("assign", "losses"))]
    classes = iter((4, 8, 16))
    for points, blocks in product((1, 2, 4), (5, 6)):
        macros, name, parts = ((POINTS, points), (BLOCKS, blocks)), f"{points} points {blocks} blocks", ("assign",)
        own_classes = next(classes, None)
        if own_classes is not None:
            macros, parts = (*macros, (CLASSES, own_classes)), (*parts, "losses")
            name += f" {own_classes} classes"
        found.append(Variant(name, macros, parts))
    return found


def check_macros(names: Sequence[str] = MACROS) -> None:
    """A constant that no flag overrides would be timed many times, and the best of them chosen by chance."""
    text = "".join(path.read_text() for path in (ROOT / "csrc").rglob("*.cuh"))
    missing = [name for name in names if not re.search(rf"^#ifn?def {name}$", text, re.MULTILINE)]
    if missing:
        sys.exit(f"gpu_tuning: the sources do not let a flag override {', '.join(missing)}")


def build(variant: Variant, folder: Path, architecture: str) -> Path:
    """The folder of an importable package with the variant's libraries."""
    library = folder / variant.name.replace(" ", "_")
    shutil.copytree(ROOT / "pseudo_iou_ops", library / "pseudo_iou_ops", ignore=_ignored(bool(variant.macros)))
    if variant.macros:
        flags = {"NVCC_APPEND_FLAGS": variant.nvcc_flags, "PSEUDO_IOU_OPS_CUDA": "on", "MAX_JOBS": "4"}
        command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(library)]
        subprocess.run(
            [*command, "--build-temp", str(library / "temp")],
            cwd=ROOT,
            env={**os.environ, **flags, "TORCH_CUDA_ARCH_LIST": architecture},
            check=True,
        )
    return library


def _ignored(is_built_anew: bool) -> Any:
    return shutil.ignore_patterns("__pycache__", *(["*.so"] if is_built_anew else []))


def time_variant(variant: Variant, library: Path, brief: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """The part and the figures of each workload, measured in a process of its own."""
    command = [sys.executable, __file__, "--time", str(library), *(["--brief"] if brief else []), *variant.parts]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    for line in done.stdout.splitlines():
        figures = json.loads(line)
        yield figures.pop("part"), {**figures, "library": variant.name}
    if done.returncode:
        raise RuntimeError(f"{variant.name}: exit {done.returncode}")


def run_all(folder: Path, brief: bool) -> int:
    """Build in parallel, then time one after another; a variant that fails is named, and the others go on."""
    import torch

    from benchmarks import contest, environment

    check_macros()
    architecture = ".".join(map(str, torch.cuda.get_device_capability()))
    facts = environment.describe(torch.device("cuda"), ["tuning"])
    failed = []
    with tempfile.TemporaryDirectory() as scratch:
        with ThreadPoolExecutor(4) as threads:
            begun = [
                (variant, threads.submit(build, variant, Path(scratch), architecture))
                for variant in (variants()[:2] if brief else variants())
            ]
        for variant, library in begun:
            try:
                for part, figures in time_variant(variant, library.result(), brief):
                    record = contest.Record(folder / f"{part}.json", dict(facts), add=True)
                    record.begin(figures)
                    record.finish("tuning")
            except (RuntimeError, subprocess.CalledProcessError) as error:
                failed.append(f"{variant.name}: {error}")
    print("\n".join(["failed:", *failed] if failed else ["all variants were timed"]))
    return 1 if failed else 0


def times(parts: Sequence[str], brief: bool) -> Iterator[dict[str, Any]]:
    """Time of a call in a CUDA graph; what is timed was verified."""
    if "assign" in parts:
        yield from times_of_assign(brief)
    if "losses" in parts:
        yield from times_of_losses(brief)


def times_of_assign(brief: bool) -> Iterator[dict[str, Any]]:
    from benchmarks import assign, measure
    from benchmarks.contest import MismatchError
    from benchmarks.peers import fused
    from benchmarks.targets import difference
    from benchmarks.workloads import WORKLOADS

    rule = assign.RULES["pseudo_iou"]
    for name in assign.QUICK_WORKLOADS[: 1 if brief else None]:
        into, calls = fused.AssignInto(), []
        for seed in (0, 1):
            on_cpu, batch = WORKLOADS[name].batch(seed), WORKLOADS[name].batch(seed, "cuda")
            given, expected = into(batch, rule), fused.assign(on_cpu, rule)
            found = difference(type(given)(*(field.cpu() for field in given)), expected)
            if found is not None:
                raise MismatchError(f"{name}: {found}")
            calls.append(partial(into, batch, rule))
        yield {"part": "assign", "workload": name, "graph_seconds": measure.graph_seconds(calls)}


def times_of_losses(brief: bool) -> Iterator[dict[str, Any]]:
    import torch

    from benchmarks import losses, measure

    (ours,) = (one for one in losses.contestants() if one.name == losses.BASELINE)
    for dtype, layout in product(("float32", "bfloat16"), losses.LAYOUTS):
        batch = losses.LossBatch.make(1 if brief else 16, layout, losses.DTYPES[dtype], torch.device("cuda"))
        losses.verify(ours, batch)
        seconds = measure.graph_seconds([partial(batch.captured_step, ours.call)])
        yield {"part": "losses", "workload": f"focal {layout} {dtype}", "graph_seconds": seconds}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time", type=Path, metavar="LIBRARY")
    parser.add_argument("--brief", action="store_true", help="two variants, one workload")
    parser.add_argument("arguments", nargs="+", metavar="FOLDER | PART ...")
    given = parser.parse_args()
    sys.path[:0] = [*([str(given.time)] if given.time else []), str(ROOT)]
    if given.time is None:
        return run_all(Path(given.arguments[0]), given.brief)
    for figures in times(given.arguments, given.brief):
        print(json.dumps(figures), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
