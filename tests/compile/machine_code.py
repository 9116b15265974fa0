"""The machine code (SASS) that nvcc makes of kernels, and the shortest paths through its control flow."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections import deque
from collections.abc import Iterable, Sequence
from copy import copy
from operator import eq, ge, gt, le, lt, ne
from pathlib import Path
from typing import NamedTuple

COMPARISONS = {"EQ": eq, "NE": ne, "LT": lt, "LE": le, "GT": gt, "GE": ge}
ROOT = Path(__file__).resolve().parents[2]
FLAGS = ("-std=c++17", "-O3", "-fmad=false")  # -fmad=false as in setup.py


def find_nvcc() -> str | None:
    """The compiler: of CUDA_HOME where that is set, else of PATH."""
    home = os.environ.get("CUDA_HOME")
    return shutil.which(str(Path(home, "bin", "nvcc"))) if home else shutil.which("nvcc")


def find_disassembler() -> str | None:
    """nvdisasm, which triton's package brings along; torch's builds for CUDA require it."""
    spec = importlib.util.find_spec("triton")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    return shutil.which("nvdisasm", path=os.pathsep.join(f"{folder}/backends/nvidia/bin" for folder in folders))


class NoPath(Exception):
    """The kernel has no such path: the definitions above do not fit it any more."""


class Instruction(NamedTuple):
    """`@!P0 BRA P1, target` has the predicate !P0, the opcode BRA and the operands `P1, target`."""

    predicate: str
    opcode: str
    operands: str

    def is_one_of(self, *names: str) -> bool:
        """Whether it has one of these opcodes, whatever else is said of it: LDG.128 is LDG.E.128.CONSTANT too."""
        base, *modifiers = self.opcode.split(".")
        return any(base == name.split(".")[0] and {*name.split(".")[1:]} <= {*modifiers} for name in names)


class Comparison(NamedTuple):
    """A register compared with a number."""

    how: str
    register: str
    number: int


class Kernel:
    """The instructions of one kernel, by their index, and where control goes after each."""

    def __init__(self, name: str, code: Sequence[Instruction], labels: dict[str, int]) -> None:
        self.name = name  # as in C++, without namespaces
        self.arguments = name.partition("<")[2].rstrip(">").split(", ")  # of the template
        self.code = code
        self.after = [_next_indices(code, index, labels) for index in range(len(code))]
        self.before: list[list[int]] = [[] for _ in code]
        for index, following in enumerate(self.after):
            for other in following:
                self.before[other].append(index)

    def find(self, *names: str) -> set[int]:
        """All instructions with one of these opcodes."""
        return {index for index, instruction in enumerate(self.code) if instruction.is_one_of(*names)}

    def following(self, index: int) -> set[int]:
        """All that can come after an instruction."""
        return _reached(self.after, index)

    def loop_around(self, index: int) -> set[int]:
        """The outermost loop that an instruction is in: what can come both before and after it."""
        return _reached(self.after, index) & _reached(self.before, index)

    def path(
        self, start: int, goals: Iterable[int], by: Sequence[Iterable[int]] = (), avoid: Iterable[int] = ()
    ) -> list[int]:
        """The shortest path from `start`, included, to one of the goals, which is not.

        On its way it passes one instruction of each set of `by`, in their order, and none that it is to avoid.

        Raises:
            NoPath: there is none.
        """
        goals, avoid, sets = {*goals}, {*avoid}, [{*each} for each in by]
        origins: dict[tuple[int, int], tuple[int, int] | None] = {(start, 0): None}
        waiting = deque([(start, 0)])
        while waiting:
            here = waiting.popleft()
            passed = here[1] + (here[1] < len(sets) and here[0] in sets[here[1]])
            for index in self.after[here[0]]:
                if index in goals and passed == len(sets):
                    return _way_to(here, origins)
                if (index, passed) not in origins and index not in avoid:
                    origins[index, passed] = here
                    waiting.append((index, passed))
        raise NoPath(self.name)

    def conditions(self, jump: int) -> list[tuple[bool, Comparison | None]]:
        """What must hold for a jump to be taken: so many comparisons are to be true or false, as far as they are known.

        Known are those with a number, made earlier in the same block.
        """
        instruction = self.code[jump]
        texts = [instruction.predicate, *instruction.operands.split("`")[0].split(",")]
        predicates = [text.strip() for text in texts if text.strip(" (")]
        return [(not each.startswith("!"), self._comparison(jump, each.lstrip("!"))) for each in predicates]

    def _comparison(self, jump: int, predicate: str) -> Comparison | None:
        index = jump
        while self.before[index] == [index - 1]:
            index -= 1
            instruction = self.code[index]
            written = instruction.operands.split(", ")[:3]  # the results come first, a carry behind the sum
            if predicate not in written and not instruction.is_one_of("R2P"):
                continue
            found = re.fullmatch(r"(P\d), PT, (R\d+)(?:\.reuse)?, (-?0x[0-9a-f]+|RZ), PT", instruction.operands)
            parts = instruction.opcode.split(".")
            if not found or found[1] != predicate or parts[0] != "ISETP" or "EX" in parts or instruction.predicate:
                return None
            return Comparison(parts[1], found[2], 0 if found[3] == "RZ" else int(found[3], 16))
        return None

    def assuming(self, registers: Iterable[str], value: int, within: Iterable[int]) -> Kernel:
        """The kernel where these registers have a value, as far as the jumps within a part of it depend on that."""
        known = copy(self)
        known.after = list(self.after)
        registers = {*registers}
        for jump in {*within} & self.find("BRA"):
            verdicts = [
                COMPARISONS[each.how](value, each.number) == wanted if each and each.register in registers else None
                for wanted, each in self.conditions(jump)
            ]
            if False in verdicts:
                known.after[jump] = [jump + 1]
            elif verdicts and all(verdicts):
                known.after[jump] = [index for index in self.after[jump] if index != jump + 1]
        return known


def _next_indices(code: Sequence[Instruction], index: int, labels: dict[str, int]) -> list[int]:
    instruction = code[index]
    is_jump = instruction.is_one_of("BRA", "BRX", "JMP")
    targets = [labels[label] for label in re.findall(r"\.L_x_\d+", instruction.operands)] if is_jump else []
    is_conditional = bool(instruction.predicate) or (is_jump and not instruction.operands.startswith("`("))
    goes_on = is_conditional or not (is_jump or instruction.is_one_of("CALL", "RET", "EXIT"))
    return [target for target in [*targets, *[index + 1] * goes_on] if target < len(code)]


def _reached(following: list[list[int]], start: int) -> set[int]:
    seen: set[int] = set()
    waiting = [start]
    while waiting:
        new = set(following[waiting.pop()]) - seen
        seen |= new
        waiting += new
    return seen


def _way_to(last: tuple[int, int], origins: dict[tuple[int, int], tuple[int, int] | None]) -> list[int]:
    way: list[int] = []
    step: tuple[int, int] | None = last
    while step is not None:
        way.append(step[0])
        step = origins[step]
    return way[::-1]


def disassemble(source: Path, folder: Path, flags: Sequence[str] = FLAGS) -> list[Kernel]:
    """The kernels that nvcc makes of a source for sm_90; the machine code stays in the folder."""
    nvcc, disassembler = find_nvcc(), find_disassembler()
    assert nvcc is not None
    assert disassembler is not None
    binary = folder / f"{source.stem}.cubin"
    subprocess.run([nvcc, *flags, "-arch=sm_90", "-cubin", str(source), "-o", str(binary)], cwd=ROOT, check=True)
    listing = subprocess.run([disassembler, "-c", str(binary)], capture_output=True, text=True, check=True).stdout
    return [kernel for kernel in map(parse, re.split(r"^\.text\.", listing, flags=re.MULTILINE)[1:]) if kernel.code]


def parse(section: str) -> Kernel:
    """A kernel from the listing of its section, which begins with its symbol."""
    symbol, _, text = section.partition(":\n")
    code: list[Instruction] = []
    labels: dict[str, int] = {}
    for line in text.splitlines():
        label = re.match(r"(\.L_x_\d+):", line)
        if label:
            labels[label[1]] = len(code)
        found = re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@(\S+)\s+)?([A-Z][\w.]*)\s*(.*?)\s*;", line)
        if found:
            code.append(Instruction(found[1] or "", found[2], found[3]))
    return Kernel(_readable(symbol), code, labels)


def _readable(symbol: str) -> str:
    """`class_loss_kernel<float, true>` for a mangled symbol whose template has types, bools and ints."""
    found = re.match(r"_ZN14pseudo_iou_ops\d+([a-z_]+)I(.*?)EEv", symbol)
    if not found:
        return symbol
    arguments = re.findall(r"Lb([01])E?|Li(\d+)E?|NS_\d+([A-Za-z0-9]+?)E|([fd])", found[2] + "E")
    words = {"0": "false", "1": "true", "f": "float", "d": "double"}
    return f"{found[1]}<{', '.join(words.get(a, a) or words.get(d, d) or b or c for a, b, c, d in arguments)}>"
