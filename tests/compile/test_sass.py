"""The instructions on the kernels' hot paths: within a budget, by a count that sees one more instruction or branch."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.compile import sass
from tests.compile.machine_code import ROOT, Kernel, NoPath, disassemble, find_disassembler, find_nvcc, parse

FILE = json.loads(Path(__file__).with_name("sass_budget.json").read_text())
BUDGET: dict[str, dict[str, float]] = FILE["kernels"]


def why_not() -> str | None:
    """Why kernels cannot be counted against the budget here; None where they can."""
    nvcc = find_nvcc()
    if nvcc is None:
        return "nvcc is not installed"
    if find_disassembler() is None:
        return "nvdisasm is not installed (triton's package has it)"
    release = re.search(
        r"release (\d+\.\d+)", subprocess.run([nvcc, "--version"], capture_output=True, text=True).stdout
    )
    if release is None or release[1] != FILE["nvcc"]:
        return f"the budget is of nvcc {FILE['nvcc']}, here is {release and release[1]}"
    return None


needs_nvcc = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

LISTING = """_ZN14pseudo_iou_ops17class_loss_kernelINS_4HalfELb1EEEvNS_15ClassLossParamsE:
        /*0000*/                   S2R R0, SR_TID.X ;
.L_x_0:
        /*0010*/                   ISETP.NE.AND P0, PT, R1, 0x8, PT ;
        /*0020*/               @P0 BRA `(.L_x_1) ;
        /*0030*/              @!P2 LDG.E.128.CONSTANT R4, desc[UR4][R2.64] ;
        /*0040*/                   BRA `(.L_x_2) ;
.L_x_1:
        /*0050*/                   LDG.E R4, desc[UR4][R2.64] ;
.L_x_2:
        /*0060*/               @P1 CALL.REL.NOINC `($slow) ;
        /*0070*/                   STG.E.128 desc[UR4][R2.64], R4 ;
        /*0080*/              @!P3 BRA P4, `(.L_x_0) ;
        /*0090*/                   EXIT ;
.L_x_3:
        /*00a0*/                   BRA `(.L_x_3);
"""


@pytest.fixture
def kernel() -> Kernel:
    return parse(LISTING)


def test_a_listing_is_read(kernel: Kernel) -> None:
    assert kernel.name == "class_loss_kernel<Half, true>"
    assert kernel.arguments == ["Half", "true"]
    assert kernel.code[3] == ("!P2", "LDG.E.128.CONSTANT", "R4, desc[UR4][R2.64]")
    assert kernel.find("LDG.128") == {3}
    assert kernel.find("LDG") == {3, 5}
    assert kernel.after[:11] == [[1], [2], [5, 3], [4], [6], [6], [7], [8], [1, 9], [], [10]]


def test_the_shortest_path_is_found(kernel: Kernel) -> None:
    assert kernel.path(7, [7]) == [7, 8, 1, 2, 5, 6]
    assert kernel.path(7, [7], by=[{3}]) == [7, 8, 1, 2, 3, 4, 6]
    assert kernel.path(0, [9], by=[{7}, {7}]) == [0, 1, 2, 5, 6, 7, 8, 1, 2, 5, 6, 7, 8]
    assert kernel.loop_around(5) == {1, 2, 3, 4, 5, 6, 7, 8}
    with pytest.raises(NoPath, match="class_loss_kernel<Half, true>"):
        kernel.path(7, [7], by=[{3}], avoid={4})
    with pytest.raises(NoPath):
        kernel.path(9, [0])


def test_a_known_register_decides_jumps(kernel: Kernel) -> None:
    assert kernel.assuming({"R1"}, 8, range(11)).path(7, [7]) == [7, 8, 1, 2, 3, 4, 6]
    assert kernel.assuming({"R1"}, 7, range(11)).path(7, [7]) == [7, 8, 1, 2, 5, 6]
    assert kernel.assuming({"R1"}, 8, range(2)).after == kernel.after
    assert sass.whole_vectors(kernel, 7).after[2] == [3]


def test_a_predicate_that_is_written_again_is_not_known() -> None:
    carry = "        /*0018*/                   IADD3 R7, P0, R5, R6, RZ ;\n"
    line = "        /*0020*/               @P0 BRA `(.L_x_1) ;\n"
    kernel = parse(LISTING.replace(line, carry + line))
    assert kernel.conditions(3) == [(True, None)]
    assert parse(LISTING).conditions(2) == [(True, ("NE", "R1", 8))]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Kernel]]:
    """Compiles a source when a test first asks for it."""

    @cache
    def compile_once(source: str) -> dict[str, Kernel]:
        folder = tmp_path_factory.mktemp("sass")
        return {kernel.name: kernel for kernel in disassemble(ROOT / source, folder)}

    return compile_once


def counts(kernels: dict[str, Kernel]) -> dict[str, dict[str, float]]:
    works = {name: sass.work_of(kernel) for name, kernel in kernels.items()}
    return {name: sass.counts_of(work) for name, work in works.items() if work}


def over_budget(counted: dict[str, dict[str, float]]) -> dict[str, str]:
    return {
        f"{name}, {path}": f"{count:.2f} instructions, budget {BUDGET[name][path]:.2f}"
        for name, paths in counted.items()
        for path, count in paths.items()
        if count > BUDGET[name][path]
    }


@needs_nvcc
@pytest.mark.parametrize("source", sass.SOURCES)
def test_kernels_stay_within_the_budget(source: str, compiled: Callable[[str], dict[str, Kernel]]) -> None:
    counted = counts(compiled(source))
    assert counted.keys() == {name for name in BUDGET if Path(source).stem in name.partition("<")[0]}
    assert not over_budget(counted)


@needs_nvcc
def test_the_paths_of_the_losses_do_the_whole_work(compiled: Callable[[str], dict[str, Kernel]]) -> None:
    """No way around the arithmetic is taken for the hot path: a sigmoid has a reciprocal, at least, for each logit."""
    for name, kernel in compiled(sass.SOURCES[0]).items():
        for path, work in sass.work_of(kernel).items():
            if path.endswith("per logit"):
                assert work.count("MUFU") >= work.pieces, f"{name}, {path}"


@needs_nvcc
@pytest.mark.parametrize("is_square", ["true", "false"])
@pytest.mark.parametrize("layout", ["points last", "classes last"])
def test_no_logit_has_a_branch(layout: str, is_square: str, compiled: Callable[[str], dict[str, Kernel]]) -> None:
    """A vector of 16-bit logits has twice as many as one of float32, and no more branches."""
    counted = counts(compiled(sass.SOURCES[0]))
    branches = [counted[f"class_loss_kernel<{t}, {is_square}>"][f"{layout}, branches"] for t in ("Bfloat16", "float")]
    assert branches[0] <= branches[1]


PLANTED = {
    "an addition per logit": (
        "class_loss",
        "class_loss_kernel<float, true>",
        "widen(vector.values[i])",
        "widen(vector.values[i]) + slab.exponent",
        ["classes last, per logit", "points last, per logit"],
    ),
    "a branch per logit": (
        "class_loss",
        "class_loss_kernel<Bfloat16, true>",
        "widen(vector.values[i])",
        "1 / widen(vector.values[i])",
        ["classes last, branches", "points last, branches"],
    ),
    "an addition per survivor": (
        "assign",
        "assign_kernel<false, 64>",
        "is_outside(box, x, y)",
        "is_outside(box, x + box.x1, y)",
        ["per survivor and point"],
    ),
    "an addition per logit of the filter": (
        "decode",
        "decode_filter_kernel<float>",
        "as_float(vectors[v].values[i]) >= bound",
        "as_float(vectors[v].values[i]) + bound >= bound",
        ["per logit"],
    ),
    "an addition per key": (
        "atss",
        "choose_atss_kernel<8, 16, 64>",
        "scratch.keys[other] < key",
        "scratch.keys[other] + index < key",
        ["per key compared"],
    ),
    "an addition per candidate": (
        "atss",
        "choose_atss_kernel<8, 16, 64>",
        "atss_value(rule, params.levels[level].stride, box",
        "rule.anchor_scale + atss_value(rule, params.levels[level].stride, box",
        ["per box", "per candidate"],
    ),
    "an addition per visited point": (
        "task_aligned",
        "choose_task_aligned_kernel<64>",
        "whole_power(overlap, params.rule.beta)",
        "whole_power(overlap + box.x1, params.rule.beta)",
        ["32 points visited"],
    ),
}


@needs_nvcc
@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_over_the_budget(fault: str, tmp_path: Path) -> None:
    stem, name, before, after, paths = PLANTED[fault]
    shutil.copytree(ROOT / "csrc", tmp_path / "csrc")
    header = tmp_path / f"csrc/kernels/{stem}.cuh"
    text = header.read_text()
    assert text.count(before) == 1
    header.write_text(text.replace(before, after))
    source = tmp_path / f"{stem}.cu"
    arguments = name.replace("Bfloat16", "pseudo_iou_ops::Bfloat16")
    source.write_text(
        f'#include "csrc/kernels/{stem}.cuh"\n'
        f"const void* kernel() {{ return reinterpret_cast<const void*>(&pseudo_iou_ops::{arguments}); }}\n"
    )
    counted = counts({kernel.name: kernel for kernel in disassemble(source, tmp_path)})
    over = over_budget(counted)
    assert {f"{name}, {path}" for path in paths} <= over.keys(), counted
