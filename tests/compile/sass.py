"""Counts the instructions of SASS, the GPU's machine code, on the paths that the kernels take nearly always.

The kernels are bound by the instructions that they issue, and these can be counted without a GPU. A count is the length
of the shortest path through a kernel's control flow that does a piece of work, and the work is recognised by what only
it does:

- **The losses, per logit.** A thread's loop loads 16 bytes of logits and stores 16 bytes of gradients. The path leads
  once around the loop, from such a store back to it, by such a load; its length is divided by the logits that its
  stores hold, so that an unrolled loop counts like any other. All vectors are whole: where code asks how many logits
  one has, the path takes the side of a whole one. Points come last in memory where the path loads nothing else, as
  their labels were read before the loop; where it loads labels, classes do. *Branches* are those of the whole path.
  *Per tile* is the rest of a thread's way: from entry to exit by that store, less once around the loop.
- **assign, the prologue:** from entry to the loop over the boxes, the first loop that holds a vote of the warp.
- **assign, 32 boxes sifted:** once around that loop from a vote, by the load of a box a lane and the comparison of its
  sides, where none can hold a point. *For a tile*: the same around the loop of a block, which is unrolled.
- **assign, per survivor and point:** once around the innermost loop, which loads a box, compares its sides and takes no
  vote, where the box holds none of the warp's points; divided by the points of a thread.
- **assign, per background point:** from entry to exit by a store of 16 bytes (ltrb) for each point of a thread, in an
  image without boxes; less the prologue, and divided by the points.
- **decode_topk, the filter's prologue:** from entry to the first load of 16 bytes of logits.
- **decode_topk, per logit:** from entry to exit by all such loads of a thread, where no logit is a candidate; less the
  prologue, and divided by the logits. Logits are read as they lie, so that this holds for both layouts.
- **ATSS, per box:** from entry to exit by a claim, of a box with one level and one candidate, which is measured.
- **ATSS, per candidate:** once around the loop that stores the 16 bits of a candidate and measures it with a division.
- **ATSS, per key compared:** once around the loop that compares a key with those of the other points of its level.
- **ATSS, per background point:** from entry to exit of the kernel that writes the points, by a store of 16 bytes, where
  no box is counted.
- **task-aligned assignment, 32 points visited:** once around the loop over a box's points, from the vote on which of
  them are among its best, by the four loads of a float32 box and the division of its IoU, where none is.
- **task-aligned assignment, per point among the best:** once around the loop that moves such a point into its place.
- **SimOTA and soft labels, 32 points compared:** once around the loop in which a block compares all predictions with
  its box, from the vote on which overlaps are among the largest, by five loads and a division, where none is.
- **SimOTA and soft labels, per class added:** once around the loop over the classes of a point, of which one is loaded.

The shortest path is what a warp issues whose threads agree on the common side of every rare case: no positive logit, no
positive point, no border of a level. It follows no call, as the compiler's own calls are the rare sides of divisions.
An instruction whose predicate is false is issued like the others and counts.

    python -m tests.compile.sass [SOURCE ...] [--paths | --json]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tests.compile.machine_code import ROOT, Kernel, NoPath, disassemble

STEMS = ("class_loss", "assign", "decode", "atss", "task_aligned", "dynamic_k")
SOURCES = tuple(f"csrc/launch/{stem}.cu" for stem in STEMS)
LOGITS_PER_VECTOR = {"float": 4, "Half": 8, "Bfloat16": 8}
VECTORS_PER_THREAD = 4  # kVectorsPerThread of decode.cuh
POINTS_PER_THREAD = 2  # of assign
ENTRY = 0


class Work(NamedTuple):
    """A path, and what it does: so many pieces of work beside instructions that are counted elsewhere."""

    kernel: Kernel
    path: list[int]
    pieces: int = 1
    elsewhere: int = 0

    @property
    def instructions(self) -> float:
        """Per piece."""
        return (len(self.path) - self.elsewhere) / self.pieces

    def count(self, *names: str) -> int:
        """How many on the path have one of these opcodes."""
        return len(self.kernel.find(*names).intersection(self.path))


def whole_vectors(kernel: Kernel, store: int) -> Kernel:
    """The kernel where every vector of the loop around a store is whole.

    How many logits a vector has is the count that is compared with the size of a whole one before the wide loads.
    """
    loop, size = kernel.loop_around(store), LOGITS_PER_VECTOR[kernel.arguments[0]]
    loads = kernel.find("LDG.128")
    counts = set()
    for jump in loop & kernel.find("BRA"):
        is_before_load = any(not loads.isdisjoint(range(index, index + 8)) for index in kernel.after[jump])
        for _, comparison in kernel.conditions(jump) if is_before_load else ():
            if comparison and comparison.how in ("EQ", "NE") and comparison.number == size:
                counts.add(comparison.register)
    return kernel.assuming(counts, size, loop)


def loss_work(kernel: Kernel) -> dict[str, Work]:
    """The paths of a loss's kernel in both layouts."""
    wide_loads, exits = kernel.find("LDG.128"), kernel.find("EXIT")
    found: dict[str, Work] = {}
    for store in sorted(kernel.find("STG.128")):
        whole = whole_vectors(kernel, store)
        try:
            path = whole.path(store, [store], by=[wide_loads])
        except NoPath:  # a store outside a loop
            continue
        vector = Work(kernel, path)
        vector = vector._replace(pieces=LOGITS_PER_VECTOR[kernel.arguments[0]] * vector.count("STG.128"))
        layout = "points last" if vector.count("LDG", "LDS", "LD") == vector.count("LDG.128") else "classes last"
        best = found.get(f"{layout}, per logit")
        if best is None or vector.instructions < best.instructions:
            found[f"{layout}, per logit"] = vector
            found[f"{layout}, per tile"] = Work(kernel, whole.path(ENTRY, exits, [{store}]), elsewhere=len(path))
    if len(found) != 4:
        raise NoPath(f"{kernel.name}: of both layouts, only {sorted(found)}")
    return found


def loop_over_boxes(kernel: Kernel) -> set[int]:
    """The first loop that votes, which no other loop that votes comes before; with its copies for special cases."""
    votes = kernel.find("VOTE", "VOTEU")
    loops = [loop for loop in map(kernel.loop_around, sorted(votes)) if loop]
    later = [kernel.following(min(loop)) for loop in loops]
    first = [
        loop
        for loop in loops
        if all(loop == other or loop.isdisjoint(after) for other, after in zip(loops, later, strict=True))
    ]
    if not first:
        raise NoPath(f"{kernel.name}: no loop that votes")
    return set[int]().union(*first)


def boxes_loaded(work: Work) -> int:
    """How many boxes are loaded on a path, by 16 bytes or by 4."""
    sides = 4 * work.count("LDS.128", "LDG.128") + work.count("LDG") - work.count("LDG.128", "LDG.64")
    return max(1, sides // 4)


def round_trips(kernel: Kernel, starts: set[int], by: list[set[int]], avoid: Iterable[int] = ()) -> list[Work]:
    """From each instruction back to itself, where a path leads there."""
    trips = []
    for start in sorted(starts):
        try:
            trips.append(Work(kernel, kernel.path(start, [start], by, avoid)))
        except NoPath:
            continue
    if not trips:
        raise NoPath(kernel.name)
    return trips


def assign_work(kernel: Kernel) -> dict[str, Work]:
    """The paths of assign's kernel."""
    loop, votes, barriers = loop_over_boxes(kernel), kernel.find("VOTE", "VOTEU"), kernel.find("BAR")
    boxes, loads = kernel.find("LDG.128") & loop, kernel.find("LDG", "LDS") & loop
    comparisons = kernel.find("FSETP", "FMNMX") & loop
    prologue = kernel.path(ENTRY, loop)
    trips = round_trips(kernel, votes & loop, [boxes, comparisons], barriers)
    sifts = [trip._replace(pieces=boxes_loaded(trip)) for trip in trips]
    survivors = [
        trip._replace(pieces=POINTS_PER_THREAD * boxes_loaded(trip))
        for trip in round_trips(kernel, loads, [comparisons], votes | barriers)
    ]
    background = kernel.path(ENTRY, kernel.find("EXIT"), by=[kernel.find("STG.128")] * POINTS_PER_THREAD)
    return {
        "prologue": Work(kernel, prologue),
        "32 boxes sifted": cheapest(sift for sift in sifts if sift.pieces == 1),
        "32 boxes sifted for a tile": cheapest(sift for sift in sifts if sift.pieces > 1),
        "per survivor and point": cheapest(survivors),
        "per background point": Work(kernel, background, POINTS_PER_THREAD, elsewhere=len(prologue)),
    }


def cheapest(works: Iterable[Work]) -> Work:
    return min(works, key=lambda each: each.instructions)


def filter_work(kernel: Kernel) -> dict[str, Work]:
    """The paths of decode_topk's first kernel."""
    loads = kernel.find("LDG.128")
    prologue = kernel.path(ENTRY, loads)
    tile = kernel.path(ENTRY, kernel.find("EXIT"), [loads] * VECTORS_PER_THREAD, kernel.find("ATOMS", "ATOMG"))
    logits = VECTORS_PER_THREAD * LOGITS_PER_VECTOR[kernel.arguments[0]]
    return {"prologue": Work(kernel, prologue), "per logit": Work(kernel, tile, logits, elsewhere=len(prologue))}


def atss_choice_work(kernel: Kernel) -> dict[str, Work]:
    """The paths of the kernel in which a warp chooses the points of a box."""
    candidates, claims = kernel.find("STS.U16"), kernel.find("REDG.MAX", "ATOMG.MAX")
    elsewhere = kernel.find("STS", "WARPSYNC", "FADD")  # the loops that make keys or add up values
    divisions, exits = kernel.find("MUFU.RCP"), kernel.find("EXIT")
    measured = round_trips(kernel, candidates, [divisions])
    compared = [
        trip._replace(pieces=2 * trip.count("LDS.128") + trip.count("LDS.64"))
        for trip in round_trips(kernel, kernel.find("LDS.128", "LDS.64"), [], elsewhere)
    ]
    return {
        "per box": Work(kernel, kernel.path(ENTRY, exits, [candidates, divisions, claims])),
        "per candidate": min(measured, key=lambda each: each.instructions),
        "per key compared": min(compared, key=lambda each: each.instructions),
    }


def atss_point_work(kernel: Kernel) -> dict[str, Work]:
    """The path of the kernel that writes the points."""
    counters = kernel.find("REDG", "ATOMG")
    background = kernel.path(ENTRY, kernel.find("EXIT"), [kernel.find("STG.128")], counters)
    return {"per background point": Work(kernel, background)}


def task_aligned_work(kernel: Kernel) -> dict[str, Work]:
    """The paths of the kernel in which boxes visit their points; between two boxes a block waits for all its warps."""
    votes, loads, shuffles = kernel.find("VOTE", "VOTEU"), kernel.find("LDG"), kernel.find("SHFL")
    visits = round_trips(kernel, votes, [*[loads] * 4, kernel.find("MUFU")], votes | kernel.find("BAR"))
    entries = round_trips(kernel, shuffles, [kernel.find("SHFL.UP")], votes | loads)
    return {
        "32 points visited": min(visits, key=lambda each: each.instructions),
        "per point among the best": min(entries, key=lambda each: each.instructions),
    }


def cheapest_work(kernel: Kernel) -> dict[str, Work]:
    """The path of the kernel in which boxes compare predictions."""
    votes, loads = kernel.find("VOTE", "VOTEU"), kernel.find("LDG")
    compared = round_trips(kernel, votes, [*[loads] * 5, kernel.find("MUFU")], votes | kernel.find("BAR"))
    return {"32 points compared": min(compared, key=lambda each: each.instructions)}


def class_sum_work(kernel: Kernel) -> dict[str, Work]:
    """The path of the kernel that adds up classes."""
    loads = kernel.find("LDG")
    added = round_trips(kernel, loads, [kernel.find("MUFU")], kernel.find("BAR"))
    return {"per class added": min(added, key=lambda each: each.instructions)}


def work_of(kernel: Kernel) -> dict[str, Work]:
    """The paths of a kernel, none for a kernel whose paths are not defined here."""
    if kernel.name.startswith("assign_kernel<"):
        return assign_work(kernel)
    if kernel.name.startswith("choose_atss_kernel<"):
        return atss_choice_work(kernel)
    if kernel.name.startswith("write_atss_kernel<"):
        return atss_point_work(kernel)
    if kernel.name.startswith("choose_task_aligned_kernel<"):
        return task_aligned_work(kernel)
    if kernel.name.startswith("choose_dynamic_k_kernel<"):
        return cheapest_work(kernel)
    if kernel.name.startswith("sum_dynamic_k_kernel<"):
        return class_sum_work(kernel)
    if kernel.arguments[0] not in LOGITS_PER_VECTOR:
        return {}
    if kernel.name.startswith("decode_filter_kernel<"):
        return filter_work(kernel)
    return loss_work(kernel) if kernel.name.startswith("class_loss_kernel<") else {}


def counts_of(work: dict[str, Work]) -> dict[str, float]:
    """The instructions of each path; of a path per logit also the branches, all of them, which are to be few."""
    counts = {name: each.instructions for name, each in work.items()}
    branches = {
        name.replace("per logit", "branches"): float(each.count("BRA", "BRX", "JMP", "BSSY", "BSYNC"))
        for name, each in work.items()
        if name.endswith("per logit")
    }
    return dict(sorted({**counts, **branches}.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description="Counts SASS instructions on the hot paths of kernels, for sm_90.")
    parser.add_argument(
        "sources", nargs="*", type=Path, default=[ROOT / source for source in SOURCES], metavar="SOURCE"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--paths", action="store_true", help="print the instructions of each path")
    form.add_argument("--json", action="store_true", help="print the counts as sass_budget.json has them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kernels = [kernel for source in options.sources for kernel in disassemble(source.resolve(), Path(folder))]
    works = {kernel.name: work for kernel in kernels if (work := work_of(kernel))}
    if options.json:
        print(json.dumps({name: counts_of(work) for name, work in sorted(works.items())}, indent=2))
        return
    for name, work in sorted(works.items()):
        print(name)
        for path, instructions in counts_of(work).items():
            print(f"    {path:28} {instructions:8.2f}")
            for index in work[path].path if options.paths and path in work else ():
                predicate, opcode, operands = work[path].kernel.code[index]
                print(f"        {index * 16:#06x} {predicate and '@' + predicate:>5} {opcode} {operands}")


if __name__ == "__main__":
    main()
