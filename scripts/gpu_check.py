"""The steps of gpu_check.sh, in the order of what they are worth, and the table at its end."""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from scripts.steps import Check, by_exit_code  # noqa: E402

SANITIZERS = ("memcheck", "racecheck", "initcheck", "synccheck")
PARTS = ("assign", "top_k", "losses", "decode")  # of the benchmarks
STEPS = (
    "build",
    "smoke",
    *(f"{part}_ours" for part in PARTS),
    "gpu_tests",
    "detector_tests",
    *(f"{part}_peers" for part in PARTS),
    "tuning",
    *SANITIZERS,
)
FILES = ("logs.txt", "assign.json", "losses.json", "gpu_check.json")
DETECTOR_NEEDS = ("torchvision", "pycocotools", "tyro", "pydantic")

# How much of each step is run. A walk without a GPU shows that the steps work, and prints a row for every workload, in
# a few minutes on two busy cores: one image, few rounds, the quickest peer alone, and nothing that torch.compile makes.
SIZES: dict[str, dict[str, list[str]]] = {
    "full": {
        "assign": ["--quick"],
        "top_k": ["--quick"],
        "losses": ["--images", "16", "--dtypes", "float32", "bfloat16", "float16"],
        "decode": ["--images", "16", "--dtypes", "float32", "bfloat16"],
        "gpu_tests": ["tests/gpu"],
    },
    "brief": {
        "assign": ["--quick", "--workloads", "voc"],
        "top_k": ["--quick", "--workloads", "coco640", "--rules", "atss"],
        "losses": ["--images", "1", "--rounds", "2", "--dtypes", "float32", "bfloat16", "--layouts", "flat"],
        "decode": ["--images", "1", "--rounds", "2"],
        "gpu_tests": ["tests/gpu/test_assign_gpu.py"],
    },
    "cpu": {
        "assign": ["--quick"],
        "top_k": ["--quick", "--workloads", "coco640"],
        "losses": ["--images", "1", "--rounds", "2", "--dtypes", "float32", "bfloat16", "float16"],
        "decode": ["--images", "1", "--rounds", "2", "--dtypes", "float32", "bfloat16"],
        "gpu_tests": ["tests/op/test_assign_out.py"],
    },
}
QUICKEST_PEERS = {"assign": "box-major", "top_k": "padded", "losses": "torchvision", "decode": "per image, plain torch"}

# Seconds for the steps that need more than a minute; without a GPU everything takes as long as it takes.
LIMITS: dict[str, dict[str, float]] = {
    "cuda": {"gpu_tests": 240, "assign_peers": 150, "top_k_peers": 90, "losses_peers": 150, "tuning": 180},
    "cpu": dict.fromkeys(STEPS, float("inf")),
}

# Why the libraries that are here can not be used, or nothing.
PROBE = """
import sys, torch
try:
    from pseudo_iou_ops import _loader, env
except ImportError as error:
    sys.exit(f"they do not load: {error}")
if stale := env.stale_libraries():
    sys.exit(f"other sources: {', '.join(stale)}")
if sys.argv[1] == "cuda":
    if _loader.CUDA_UNAVAILABLE_REASON:
        sys.exit(_loader.CUDA_UNAVAILABLE_REASON)
    wanted = ".".join(map(str, torch.cuda.get_device_capability()))
    built = torch.ops.pseudo_iou_ops.cuda_architectures()
    if wanted not in built.replace("+PTX", "").split(";"):
        sys.exit(f"built for {built}, not for {wanted}")
"""


def why_build(device: str) -> str | None:
    """The reason why the libraries that are here can not be used, or None."""
    done = subprocess.run([sys.executable, "-c", PROBE, device], cwd=ROOT, capture_output=True, text=True)
    lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
    return None if done.returncode == 0 else lines[-1]


def build(check: Check, device: str) -> bool:
    """Build in place, for the GPU at hand alone, unless libraries from these sources are there."""
    reason = why_build(device)
    if reason is None:
        check.add("build", "passed: what was there is built from these sources")
        return True
    print(f"building, because {reason}", flush=True)
    environment = {}
    if device == "cuda":
        environment = {"PSEUDO_IOU_OPS_CUDA": "on", "TORCH_CUDA_ARCH_LIST": ".".join(map(str, capability()))}
    if not check.run("build", [sys.executable, "setup.py", "build_ext", "--inplace"], 240, by_exit_code, environment):
        return False
    reason = why_build(device)
    if reason is not None:
        check.add("build", f"failed: built, but {reason}")
    return reason is None


def by_test_counts(code: int, output: str) -> str:
    """pytest's own counts; a run in which no test passed has failed."""
    counts = re.findall(r"(\d+) (passed|failed|errors?|skipped|xfailed|deselected)\b", _last_summary(output))
    told = ", ".join(f"{count} {what}" for count, what in counts) or "no counts"
    passed = sum(int(count) for count, what in counts if what == "passed")
    if code == 0 and passed:
        return f"passed: {told}"
    return f"failed (exit {code}): {told}"


def _last_summary(output: str) -> str:
    lines = [line for line in output.splitlines() if re.search(r"\d+ \w+.* in [\d.]+s", line)]
    return lines[-1] if lines else ""


def by_sanitizer_errors(code: int, output: str) -> str:
    """A device that a sandbox hides from the sanitizer is not an error of the kernels."""
    if code and "not supported" in output and "ERROR SUMMARY" not in output:
        (line, *_) = [line for line in output.splitlines() if "not supported" in line]
        return f"not run: {line.strip('= ')}"
    summaries = re.findall(r"(ERROR SUMMARY: .*|RACECHECK SUMMARY: .*)", output)
    if code == 0 and "all cases ran" in output:
        return f"passed: {summaries[-1]}" if summaries else "passed"
    return f"failed (exit {code}): {summaries[-1] if summaries else 'no summary'}"


def sanitize(check: Check, tool: str, device: str) -> None:
    """The smoke test's cases under one tool, which sees every allocation apart; all kernels that are ours."""
    sanitizer = shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")
    if device == "cpu" or sanitizer is None:
        check.add(tool, "not run: no GPU" if device == "cpu" else "not run: no compute-sanitizer")
        return
    options = ["--tool", tool, "--error-exitcode", "9"]
    if tool == "memcheck":
        options += ["--padding", "32", "--report-api-errors", "no"]
    if tool != "initcheck":  # it has to see torch's kernels write
        options += ["--kernel-name", "kns=pseudo_iou_ops"]
    command = [sanitizer, *options, sys.executable, "scripts/gpu_sanitizer_cases.py", "cuda"]
    # One allocation a tensor: inside the cache's segments an access beyond a tensor's end is a legal one.
    check.run(tool, command, 60, by_sanitizer_errors, {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"})


def benchmark(check: Check, name: str, device: str, size: str) -> None:
    """One of assign, top_k, losses and decode, ours alone or with its peers; its figures join the JSON of its kind."""
    part, _, field = name.rpartition("_")
    command = [sys.executable, "-m", "benchmarks", *([] if part == "assign" else [part]), *SIZES[size][part]]
    if field == "ours":
        command += ["--contestants", "pseudo_iou_ops"]
    elif size != "full":
        command += ["--contestants", QUICKEST_PEERS[part]]
    file = check.folder / ("assign.json" if part in ("assign", "top_k") else "losses.json")
    check.run(name, [*command, "--device", device, "--json", str(file), "--add"], LIMITS[device].get(name, 60))


def run_tests(check: Check, name: str, paths: list[str], device: str) -> None:
    command = [sys.executable, "-m", "pytest", *paths, "-q", "-p", "no:cacheprovider", "--maxfail=10"]
    check.run(name, command, LIMITS[device].get(name, 60), by_test_counts)


def detector_tests(check: Check, device: str) -> None:
    missing = [name for name in DETECTOR_NEEDS if importlib.util.find_spec(name) is None]
    if device == "cpu" or missing:
        check.add("detector_tests", f"not run: no {'GPU' if device == 'cpu' else ', '.join(missing)}")
    else:
        run_tests(check, "detector_tests", ["tests/detector/test_gpu_step.py"], device)


def tune(check: Check, device: str, size: str) -> None:
    if device == "cpu":
        check.add("tuning", "not run: no GPU")
        return
    command = [sys.executable, "scripts/gpu_tuning.py", str(check.folder), *(["--brief"] if size == "brief" else [])]
    check.run("tuning", command, LIMITS[device]["tuning"])


def walk(check: Check, chosen: list[str], device: str, size: str) -> None:
    """Run the chosen steps; without a build that works there is nothing to run."""
    if "build" in chosen and not build(check, device):
        return
    for name in chosen:
        if name == "smoke":
            check.run(name, [sys.executable, "scripts/gpu_sanitizer_cases.py", device], LIMITS[device].get(name, 60))
        elif name.endswith(("_ours", "_peers")):
            benchmark(check, name, device, size)
        elif name == "gpu_tests":
            run_tests(check, name, SIZES[size]["gpu_tests"], device)
        elif name == "detector_tests":
            detector_tests(check, device)
        elif name == "tuning":
            tune(check, device, size)
        elif name in SANITIZERS:
            sanitize(check, name, device)


def capability() -> tuple[int, int]:
    import torch

    return torch.cuda.get_device_capability()


def facts(device: str) -> dict[str, Any]:
    import torch

    def output(*command: str) -> str:
        try:
            return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()
        except FileNotFoundError:
            return ""

    cuda = device == "cuda"
    return {
        "commit": output("git", "rev-parse", "HEAD") or os.environ.get("COMMIT", "unknown"),
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "capability": capability() if cuda else None,
        "driver": output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader") if cuda else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": sys.version.split()[0],
    }


def close(check: Check) -> int:
    """The figures that matter and the verdicts, where they are seen last."""
    from scripts.gpu_check_rows import key_rows

    print("\n" + ", ".join(f"{name} {fact}" for name, fact in check.facts.items()))
    print("\n".join(key_rows(check.folder)))
    for step in check.steps:
        print(f"{step.name:<14} {step.seconds:6.1f} s  {step.verdict}")
    kinds = [step.verdict.split(":")[0].split(" (")[0] for step in check.steps]
    print(", ".join(f"{kinds.count(kind)} {kind}" for kind in ("passed", "failed", "not run")))
    return 1 if check.has_failed() else 0


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("gpu_check"))
    parser.add_argument("seconds", type=float, nargs="?", default=570)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--brief", action="store_true", help="small workloads; without a GPU they always are")
    parser.add_argument("--only", nargs="+", choices=STEPS, metavar="STEP", default=list(STEPS), help=", ".join(STEPS))
    return parser.parse_args()


def main() -> int:
    import torch

    given = options()
    if given.device == "cuda" and not torch.cuda.is_available():
        print("gpu_check: no GPU that torch can use; nothing was run", file=sys.stderr)
        return 3
    for name in FILES:
        (given.folder / name).unlink(missing_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the step under way ends too
    check = Check(given.folder.resolve(), ROOT, given.seconds, facts(given.device))
    size = "cpu" if given.device == "cpu" else "brief" if given.brief else "full"
    walk(check, [name for name in STEPS if name in given.only], given.device, size)
    return close(check)


if __name__ == "__main__":
    sys.exit(main())
