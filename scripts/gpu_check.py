"""The steps of gpu_check.sh: each leaves a log, a verdict and a time; the table comes last."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SANITIZERS = ("memcheck", "racecheck", "initcheck", "synccheck")


@dataclass
class Step:
    name: str
    verdict: str  # passed, failed, or not run and why
    seconds: float


def run(name: str, command: list[str], folder: Path, limit: float) -> Step:
    """Runs one step with a time limit; its output goes to FOLDER/NAME.log."""
    print(f"== {name}", flush=True)
    started = time.monotonic()
    with (folder / f"{name}.log").open("w") as log:
        log.write(" ".join(command) + "\n")
        log.flush()
        try:
            code = subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, timeout=limit).returncode
            verdict = "passed" if code == 0 else f"failed (exit {code})"
        except subprocess.TimeoutExpired:
            verdict = f"failed (over {limit:.0f} s)"
    if verdict != "passed":
        print("\n".join((folder / f"{name}.log").read_text().splitlines()[-25:]), flush=True)
    return Step(name, verdict, time.monotonic() - started)


def build(folder: Path) -> Step:
    """Builds in place for this GPU, unless a build that loads is there."""
    probe = "from pseudo_iou_ops import _loader; import sys; sys.exit(_loader.CUDA_UNAVAILABLE_REASON is not None)"
    if subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True).returncode == 0:
        return Step("build", "passed (loaded what is there)", 0.0)
    os.environ["PSEUDO_IOU_OPS_CUDA"] = "on"
    return run("build", [sys.executable, "setup.py", "build_ext", "--inplace"], folder, 300)


def sanitize(tool: str, folder: Path) -> Step:
    sanitizer = shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")
    if sanitizer is None:
        return Step(tool, "not run: no compute-sanitizer", 0.0)
    command = [sanitizer, "--tool", tool, "--error-exitcode", "9", sys.executable, "scripts/gpu_sanitizer_cases.py"]
    return run(tool, command, folder, 120)


def benchmark(name: str, options: list[str], folder: Path, limit: float) -> Step:
    file = str(folder / f"{name}.json")
    command = [sys.executable, "-m", "benchmarks", *options, "--device", "cuda", "--json", file]
    return run(name, command, folder, limit)


def test_paths() -> list[str]:
    """The detector's are left out where its requirements are missing; pytest would count none of them."""
    has_detector = all(importlib.util.find_spec(name) for name in ("torchvision", "pycocotools", "tyro", "pydantic"))
    return ["tests/gpu", *(["tests/detector/test_gpu_step.py"] if has_detector else [])]


def environment() -> dict[str, object]:
    import torch

    def output(*command: str) -> str:
        try:
            return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()
        except FileNotFoundError:
            return "unknown"

    commit = output("git", "rev-parse", "HEAD") or os.environ.get("COMMIT", "unknown")
    return {
        "commit": commit,
        "device": torch.cuda.get_device_name(),
        "capability": torch.cuda.get_device_capability(),
        "driver": output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": sys.version.split()[0],
    }


def main(folder: Path) -> int:
    import torch

    if not torch.cuda.is_available():
        print("gpu_check: no GPU that torch can use; nothing was run", file=sys.stderr)
        return 3
    folder.mkdir(parents=True, exist_ok=True)
    steps = [build(folder)]
    if steps[0].verdict.startswith("passed"):
        tests = [sys.executable, "-m", "pytest", *test_paths(), "-q", "-p", "no:cacheprovider"]
        steps.append(run("gpu_tests", tests, folder, 240))
        steps.extend(sanitize(tool, folder) for tool in SANITIZERS)
        steps.append(benchmark("benchmarks", ["--quick"], folder, 240))
        steps.append(benchmark("losses", ["losses", "--images", "16"], folder, 120))
    facts = environment()
    (folder / "gpu_check.json").write_text(json.dumps({**facts, "steps": [asdict(step) for step in steps]}, indent=2))
    print("\n" + ", ".join(f"{name} {fact}" for name, fact in facts.items()))
    for step in steps:
        print(f"{step.name:<12} {step.verdict:<40} {step.seconds:6.1f} s")
    return 0 if all(step.verdict.startswith("passed") for step in steps) else 1


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main(Path(sys.argv[1]).resolve()))
