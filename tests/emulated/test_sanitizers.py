"""The kernels under UBSan and ASan: no undefined arithmetic, nothing read or written outside its arrays."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from decode_samples import crowded_samples, decode_sample, random_sample
from dynamic_k_samples import sim_ota_inputs, soft_label_inputs
from emulated import build, decode_call, emulated_call, loss_call, top_k_call
from loss_samples import DTYPES, LAYOUTS, box_sample, class_sample
from samples import sample_inputs
from task_aligned_samples import task_aligned_inputs
from top_k_samples import atss_inputs

SCRIPT = Path(__file__).with_name("run_sanitized.py")


def sanitizer_library(name: str) -> str:
    compiler = os.environ.get("CXX", "g++")
    found = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    path = found.stdout.strip()
    if not Path(path).is_absolute():
        pytest.skip(f"the compiler has no {name}")
    return path


def run(sanitizer: str, cases: Path, preload: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0", "LD_PRELOAD": preload}
    command = [sys.executable, str(SCRIPT), str(build.build(sanitizer)), str(cases)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def loss_cases() -> dict[str, dict[str, object]]:
    """Vectors of every dtype, filled and not, and several tiles."""
    cases: dict[str, dict[str, object]] = {}
    for layout in LAYOUTS:
        for dtype in DTYPES:
            for classes, shapes in ((5, ((7, 9), (1, 1))), (8, ((40, 33),))):
                sample = class_sample(layout, dtype, classes=classes, shapes=shapes)
                cases[f"class_loss-{sample}"] = loss_call.class_loss(
                    sample, (0.75, 0.25, 2.0, False), gradients=loss_call.unwritten(sample.levels)
                )
            boxes = box_sample(layout, dtype)
            cases[f"ltrb_loss-{boxes}"] = loss_call.ltrb_loss(boxes, 1, gradients=loss_call.unwritten(boxes.levels))
    return cases


def decode_cases() -> dict[str, dict[str, object]]:
    """Small calls of every kind, and one for each way to choose from more candidates than a list holds."""
    samples = [random_sample(seed) for seed in range(12)] + crowded_samples()[:6]
    return {f"decode_topk-{s}": decode_call.decode_topk(s, decode_call.unwritten(s)) for s in samples}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    small = [sample for sample in sample_inputs() if sample.num_pairs < 20_000]
    path = tmp_path_factory.mktemp("sanitized") / "cases.pickle"
    assign_cases = {sample.name: emulated_call.arguments(sample) for sample in small}
    chosen = [sample for sample in atss_inputs() if sample.num_pairs < 20_000]
    top_k_cases = {f"atss-{sample}": top_k_call.assign_atss(sample) for sample in chosen}
    aligned = [sample for sample in task_aligned_inputs() if sample.num_pairs < 20_000]
    top_k_cases |= {f"task_aligned-{sample}": top_k_call.assign_task_aligned(sample) for sample in aligned}
    counted = [sample for sample in (*sim_ota_inputs(), *soft_label_inputs()) if sample.num_pairs < 20_000]
    top_k_cases |= {f"{type(sample.rule).__name__}-{sample}": top_k_call.assign_dynamic_k(sample) for sample in counted}
    path.write_bytes(pickle.dumps(assign_cases | top_k_cases | loss_cases() | decode_cases()))
    return path


@pytest.mark.parametrize(("sanitizer", "library"), [("undefined", "libubsan.so"), ("address", "libasan.so")])
def test_clean(sanitizer: str, library: str, cases: Path) -> None:
    done = run(sanitizer, cases, sanitizer_library(library))
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.count(" ok") == len(pickle.loads(cases.read_bytes()))


def test_address_sanitizer_notices_an_overrun_of_a_loss(tmp_path: Path) -> None:
    case = loss_call.class_loss(class_sample("planes", classes=8), (0.75, 0.25, 2.0, False))
    levels, channels, *rest = case["positional"]
    path = tmp_path / "broken.pickle"
    path.write_bytes(pickle.dumps({"broken": case | {"positional": (levels, channels + 1, *rest)}}))
    done = run("address", path, sanitizer_library("libasan.so"))
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr


def test_address_sanitizer_notices_an_overrun_of_decode_topk(tmp_path: Path) -> None:
    sample = decode_sample()
    case = decode_call.decode_topk(sample, decode_call.unwritten(sample))
    levels, classes, *rest = case["positional"]
    path = tmp_path / "broken.pickle"
    path.write_bytes(pickle.dumps({"broken": case | {"positional": (levels, classes + 1, *rest)}}))
    done = run("address", path, sanitizer_library("libasan.so"))
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr


def test_address_sanitizer_notices_an_overrun_where_boxes_choose(tmp_path: Path) -> None:
    (sample,) = (sample for sample in atss_inputs() if sample.name == "one_image")
    case = top_k_call.assign_atss(sample)
    boxes, labels, *rest = case["positional"]
    path = tmp_path / "broken.pickle"
    path.write_bytes(pickle.dumps({"broken": case | {"positional": (boxes, labels[:0], *rest)}}))
    done = run("address", path, sanitizer_library("libasan.so"))
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr


@pytest.mark.parametrize("head", [9, 10], ids=["pred_boxes", "scores"])
def test_address_sanitizer_notices_an_overrun_of_a_head(head: int, tmp_path: Path) -> None:
    (sample,) = (sample for sample in task_aligned_inputs() if sample.name == "one_image")
    check_short_head(top_k_call.assign_task_aligned(sample), head, tmp_path)


@pytest.mark.parametrize("head", [9, 10, 13], ids=["pred_boxes", "scores", "objectness"])
def test_address_sanitizer_notices_an_overrun_of_a_head_of_sim_ota(head: int, tmp_path: Path) -> None:
    (sample,) = (sample for sample in sim_ota_inputs() if sample.name == "one_image")
    check_short_head(top_k_call.assign_dynamic_k(sample), head, tmp_path)


def check_short_head(case: dict[str, Any], head: int, tmp_path: Path) -> None:
    positional = list(case["positional"])
    levels, channels, dtype = positional[head]
    short = [(values[: values.size // 2], *rest) for values, *rest in levels]
    positional[head] = ([(values.copy(), *rest) for values, *rest in short], channels, dtype)
    path = tmp_path / "broken.pickle"
    path.write_bytes(pickle.dumps({"broken": case | {"positional": tuple(positional)}}))
    done = run("address", path, sanitizer_library("libasan.so"))
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr


def test_address_sanitizer_notices_an_overrun(tmp_path: Path) -> None:
    (sample,) = (sample for sample in sample_inputs() if sample.name == "one_image")
    arguments = emulated_call.arguments(sample)
    arguments["tensors"]["labels"] = arguments["tensors"]["labels"][:0]
    path = tmp_path / "broken.pickle"
    path.write_bytes(pickle.dumps({sample.name: arguments}))
    done = run("address", path, sanitizer_library("libasan.so"))
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr
