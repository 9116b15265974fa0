"""scripts/gpu_check.sh, without a GPU: what a step is, what its output tells, and a walk through all of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.assign import METRICS_OF, QUICK_WORKLOADS
from benchmarks.losses import DTYPES, LAYOUTS
from scripts import gpu_check, gpu_tuning
from scripts.gpu_check_rows import key_rows
from scripts.steps import CUT_OFF, NO_TIME, Check, Step

ROOT = Path(__file__).resolve().parents[2]


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def check_in(folder: Path, seconds: float = 60) -> Check:
    return Check(folder, ROOT, seconds, {"device": "some GPU"})


def kept(folder: Path) -> dict[str, str]:
    return {step["name"]: step["verdict"] for step in json.loads((folder / "gpu_check.json").read_text())["steps"]}


def test_a_step_has_a_verdict_and_a_place_in_the_log_and_the_file(tmp_path: Path) -> None:
    check = check_in(tmp_path)
    assert check.run("good", python("print('seen')"), 30)
    assert not check.has_failed()
    assert not check.run("bad", python("raise SystemExit(9)"), 30)
    assert "== good: " in (tmp_path / "logs.txt").read_text()
    assert "seen" in (tmp_path / "logs.txt").read_text()
    assert kept(tmp_path) == {"good": "passed", "bad": "failed (exit 9)"}
    assert check.has_failed()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gpu_check.json", "logs.txt"]


def test_steps_share_the_limit(tmp_path: Path) -> None:
    check = check_in(tmp_path, seconds=1)
    started = time.monotonic()
    assert not check.run("long", python("import time; time.sleep(60)"), 30)
    assert not check.run("late", python(""), 30)
    assert time.monotonic() - started < 20
    assert kept(tmp_path)["long"].startswith("failed (over")
    assert kept(tmp_path)["late"] == NO_TIME
    assert check.has_failed()


CHILD = "import pathlib, time\nwhile True:\n  pathlib.Path({path!r}).touch()\n  time.sleep(0.05)"
LAUNCHER = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])"


def test_at_its_limit_a_step_ends_with_all_that_it_started(tmp_path: Path) -> None:
    """compute-sanitizer is a launcher: the process that it starts would stay on the GPU."""
    beat = tmp_path / "beat"
    check = check_in(tmp_path / "out")
    assert not check.run("launcher", python(LAUNCHER.format(child=CHILD.format(path=str(beat)))), 5)
    assert beat.exists(), "the child was not started within the limit"
    time.sleep(0.5)
    beat.unlink()
    time.sleep(0.5)
    assert not beat.exists()


def test_output_that_is_no_text_ends_nothing(tmp_path: Path) -> None:
    check = check_in(tmp_path)
    code = "import sys; sys.stdout.buffer.write(b'cut \\xe2\\x82'); sys.exit(1)"
    assert not check.run("bad", python(code), 30)
    assert kept(tmp_path) == {"bad": "failed (exit 1)"}


def test_what_can_not_run_here_has_not_failed_and_not_passed(tmp_path: Path) -> None:
    check = check_in(tmp_path)
    check.add("memcheck", "not run: no compute-sanitizer")
    assert check.steps == [Step("memcheck", "not run: no compute-sanitizer", 0.0)]
    assert not check.has_failed()


@pytest.mark.parametrize(
    ("code", "output", "verdict"),
    [
        (0, "....\n711 passed, 3 skipped in 80.05s (0:01:20)\n", "passed: 711 passed, 3 skipped"),
        (
            0,
            "ssss\n711 tests were NOT run here: they need a GPU\n711 skipped in 3.10s\n",
            "failed (exit 0): 711 skipped",
        ),
        (1, "F.\n====== 1 failed, 5 passed in 2.00s ======\n", "failed (exit 1): 1 failed, 5 passed"),
        (2, "ERROR tests/gpu\n1 error in 0.31s\n", "failed (exit 2): 1 error"),
        (5, "no tests ran in 0.01s\n", "failed (exit 5): no counts"),
        (-9, "..", "failed (exit -9): no counts"),
    ],
)
def test_a_run_of_tests_is_judged_by_its_counts(code: int, output: str, verdict: str) -> None:
    assert gpu_check.by_test_counts(code, output) == verdict


NOT_SUPPORTED = '========= Error: Device not supported. Please refer to the "Supported Devices" section.\n'


@pytest.mark.parametrize(
    ("code", "output", "verdict"),
    [
        (0, "all cases ran\n========= ERROR SUMMARY: 0 errors\n", "passed: ERROR SUMMARY: 0 errors"),
        (9, "all cases ran\n========= ERROR SUMMARY: 2 errors\n", "failed (exit 9): ERROR SUMMARY: 2 errors"),
        (1, "Traceback\n========= ERROR SUMMARY: 0 errors\n", "failed (exit 1): ERROR SUMMARY: 0 errors"),
        (0, "========= ERROR SUMMARY: 0 errors\n", "failed (exit 0): ERROR SUMMARY: 0 errors"),
        (1, NOT_SUPPORTED, f"not run: {NOT_SUPPORTED.strip('= ').strip()}"),
    ],
)
def test_a_sanitizer_that_can_not_run_is_told_from_one_that_found_something(
    code: int, output: str, verdict: str
) -> None:
    assert gpu_check.by_sanitizer_errors(code, output) == verdict


def test_requirements_that_are_missing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "DETECTOR_NEEDS", ("json", "no_such_module"))
    monkeypatch.setattr(gpu_check.shutil, "which", lambda name: None)
    check = check_in(tmp_path)
    gpu_check.detector_tests(check, "cuda")
    gpu_check.sanitize(check, "memcheck", "cuda")
    assert kept(tmp_path) == {
        "detector_tests": "not run: no no_such_module",
        "memcheck": "not run: no compute-sanitizer",
    }


def test_every_dtype_and_the_variants_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: dict[str, list[str]] = {}
    check = check_in(tmp_path)
    monkeypatch.setattr(check, "run", lambda name, command, *others: commands.setdefault(name, command))
    monkeypatch.setattr(gpu_check, "build", lambda *arguments: True)
    monkeypatch.setattr(gpu_check.shutil, "which", lambda name: "/sanitizer")
    gpu_check.walk(check, list(gpu_check.STEPS), "cuda", "full")
    assert {"float32", "bfloat16", "float16"} <= set(commands["losses_ours"])
    assert list(commands) == [name for name in gpu_check.STEPS if name != "build"]
    assert list(commands).index("assign_ours") < list(commands).index("gpu_tests") < list(commands).index("memcheck")


def test_a_constant_that_no_flag_overrides_is_refused() -> None:
    with pytest.raises(SystemExit, match="do not let a flag override PSEUDO_IOU_OPS_NO_SUCH"):
        gpu_tuning.check_macros(["PSEUDO_IOU_OPS_NO_SUCH"])
    gpu_tuning.check_macros()  # the sources let flags override all that the tuning tries


def test_the_variants_cover_the_constants() -> None:
    variants = gpu_tuning.variants()
    macros = [dict(variant.macros) for variant in variants]
    assert macros[0] == {}
    points = {(one[gpu_tuning.POINTS], one[gpu_tuning.BLOCKS]) for one in macros[1:]}
    assert points == {(points, blocks) for points in (1, 2, 4) for blocks in (5, 6)}
    assert {one[gpu_tuning.CLASSES] for one in macros if gpu_tuning.CLASSES in one} == {4, 8, 16}
    timed_losses = [variant for variant in variants if "losses" in variant.parts]
    assert all(gpu_tuning.CLASSES in dict(one.macros) for one in timed_losses[1:])
    assert len({variant.name for variant in variants}) == len(variants)


def test_key_rows_show_graphs_failures_and_the_best_variant(tmp_path: Path) -> None:
    ours = {"name": "pseudo_iou_ops, out=", "seconds": [4e-5, None], "graph_seconds": 8e-6}
    peer = {"name": "padded", "seconds": [2e-3]}
    failed = {"name": "Triton, one kernel", "error": "RuntimeError: no"}
    result = {"workload": "coco", "metric": "pseudo_iou", "fill_graph_seconds": 5e-6}
    tuning = [
        {"workload": "coco", "library": "as built", "graph_seconds": 8e-6},
        {"workload": "coco", "library": "2 points 5 blocks", "graph_seconds": 7e-6},
    ]
    unfinished = {"workload": "lvis", "metric": "pseudo_iou", "contestants": [{**ours, "seconds": []}]}
    document = {
        "results": [{**result, "contestants": [ours, peer, failed]}],
        "unfinished": unfinished,
        "tuning": tuning,
    }
    (tmp_path / "assign.json").write_text(json.dumps(document))
    assert key_rows(tmp_path) == [
        "assign coco pseudo_iou: out= 40.0 us, in a graph 8.00 us; floor 5.00 us; best peer 2.00 ms (padded); "
        "failed: Triton, one kernel",
        "cut off: assign lvis pseudo_iou: out= cut off",
        "tuning coco: as built 8.00 us, 2 points 5 blocks 7.00 us <-",
    ]


def test_a_decoding_that_was_cut_off_is_told_from_a_loss(tmp_path: Path) -> None:
    unfinished = {"kind": "decode", "layout": "flat", "dtype": "float32", "contestants": []}
    (tmp_path / "losses.json").write_text(json.dumps({"unfinished": unfinished}))
    assert key_rows(tmp_path) == ["cut off: decode flat float32: "]


def test_nothing_measured_is_no_row(tmp_path: Path) -> None:
    assert key_rows(tmp_path) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_run(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "scripts/gpu_check.sh", str(tmp_path / "out")],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3
    assert "nothing was run" in done.stderr
    assert not (tmp_path / "out").exists()


def train(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", "scripts/gpu_train.sh", "--out", str(tmp_path / "out")]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_training_without_a_gpu_says_so(tmp_path: Path) -> None:
    done = train(tmp_path)
    assert done.returncode == 3
    assert done.stderr.startswith("gpu_train: no GPU")


def test_training_names_the_packages_that_are_missing(tmp_path: Path) -> None:
    hide = "import importlib.util as u; find = u.find_spec; u.find_spec = lambda n: None if n == 'tyro' else find(n)"
    (tmp_path / "sitecustomize.py").write_text(hide)
    done = train(tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 3
    assert re.fullmatch(r"gpu_train: .* lacks tyro, .*; nothing was run\n", done.stderr)


# Run by every Python process: hides that the package is installed here, as its metadata and as a checkout elsewhere.
NOT_INSTALLED = """
import sys
from importlib import metadata
found = metadata.version
def version(name):
    if name.replace("-", "_") == "pseudo_iou_ops":
        raise metadata.PackageNotFoundError(name)
    return found(name)
metadata.version = version
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that was built in place and is not installed, without a history."""
    root = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__", ".build", "results")
    for name in ("benchmarks", "csrc", "pseudo_iou_ops", "scripts", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    (root / "site").mkdir()
    (root / "site" / "sitecustomize.py").write_text(NOT_INSTALLED)
    return root


def walk(tree: Path, folder: Path, *options: str) -> subprocess.Popen[str]:
    """As a user begins it, with the limit that it has by itself."""
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(tree / "site"), "COMMIT": "0abc"}
    command = ["bash", "scripts/gpu_check.sh", str(folder), "--device", "cpu", *options]
    return subprocess.Popen(command, cwd=tree, env=environment, stdout=subprocess.PIPE, text=True)


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text())
    return document


EVERY_ROW = (
    *(f"assign {name} {metric}" for name in QUICK_WORKLOADS for metric in METRICS_OF.get(name, ("pseudo_iou",))),
    *(f"losses {layout} {dtype}" for layout in LAYOUTS for dtype in DTYPES),
    *(f"decode levels {dtype}" for dtype in ("float32", "bfloat16")),
)


def test_a_walk_without_a_gpu(tree: Path, tmp_path: Path) -> None:
    process = walk(tree, tmp_path)
    printed, _ = process.communicate(timeout=900)
    assert process.returncode == 0, printed
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(gpu_check.FILES)
    verdicts = kept(tmp_path)
    assert list(verdicts) == list(gpu_check.STEPS)
    not_run = {name for name, verdict in verdicts.items() if verdict == "not run: no GPU"}
    assert not_run == {"detector_tests", "tuning", *gpu_check.SANITIZERS}
    assert all(verdicts[name].startswith("passed") for name in verdicts if name not in not_run)
    assert read(tmp_path / "gpu_check.json")["commit"] == "0abc"
    assign, losses = read(tmp_path / "assign.json"), read(tmp_path / "losses.json")
    assert assign["environment"]["commit"] == "0abc"
    for result in assign["results"]:
        names = [entry["name"] for entry in result["contestants"]]
        assert names == ["pseudo_iou_ops, out=", "box-major"], "the peers' run replaces that of ours alone"
    printed_rows = printed[-12_000:].splitlines()
    for row in EVERY_ROW:
        (found,) = [line for line in printed_rows if line.startswith(f"{row}: ")]
        assert "best peer" in found
    assert len(assign["results"]) + len(losses["results"]) + len(losses["decode"]) == len(EVERY_ROW)
    assert printed_rows[-1] == f"{len(verdicts) - len(not_run)} passed, 0 failed, {len(not_run)} not run"


def test_a_walk_that_is_ended_leaves_what_it_knows(tree: Path, tmp_path: Path) -> None:
    process = walk(tree, tmp_path, "--only", "assign_ours", "gpu_tests")
    measured = tmp_path / "assign.json"
    deadline = time.monotonic() + 300
    while not measured.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert kept(tmp_path) == {"assign_ours": CUT_OFF}
    document = read(measured)
    assert document["environment"]["torch"] == torch.__version__
    assert document["unfinished"]["workload"] == "voc"
