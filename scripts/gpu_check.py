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


class Check:
    """The steps so far, kept in FOLDER/gpu_check.json after each: a call that is cut off leaves what it knows."""

    def __init__(self, folder: Path, seconds: float, facts: dict[str, object]) -> None:
        self.folder = folder
        self.end = time.monotonic() + seconds
        self.facts = facts
        self.steps: list[Step] = []

    def add(self, name: str, verdict: str, seconds: float = 0.0) -> None:
        self.steps.append(Step(name, verdict, seconds))
        content = {**self.facts, "steps": [asdict(step) for step in self.steps]}
        (self.folder / "gpu_check.json").write_text(json.dumps(content, indent=2))

    def run(self, name: str, command: list[str], limit: float) -> bool:
        """Run one step within its limit and the call's; its output goes to FOLDER/NAME.log. True if it passed."""
        print(f"== {name}", flush=True)
        started = time.monotonic()
        limit = min(limit, self.end - started)
        if limit <= 0:
            self.add(name, "not run: no time left")
            return False
        with (self.folder / f"{name}.log").open("w") as log:
            log.write(" ".join(command) + "\n")
            log.flush()
            try:
                code = subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, timeout=limit).returncode
                verdict = "passed" if code == 0 else f"failed (exit {code})"
            except subprocess.TimeoutExpired:
                verdict = f"failed (over {limit:.0f} s)"
        if verdict != "passed":
            print("\n".join((self.folder / f"{name}.log").read_text().splitlines()[-25:]), flush=True)
        self.add(name, verdict, time.monotonic() - started)
        return verdict == "passed"

    def passed(self) -> bool:
        return all(step.verdict.startswith("passed") for step in self.steps)


def build(check: Check) -> bool:
    """Build in place for this GPU, unless a build that loads is there."""
    probe = "from pseudo_iou_ops import _loader; import sys; sys.exit(_loader.CUDA_UNAVAILABLE_REASON is not None)"
    if subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True).returncode == 0:
        check.add("build", "passed (loaded what is there)")
        return True
    os.environ["PSEUDO_IOU_OPS_CUDA"] = "on"
    return check.run("build", [sys.executable, "setup.py", "build_ext", "--inplace"], 300)


def sanitize(check: Check, tool: str) -> None:
    sanitizer = shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")
    if sanitizer is None:
        check.add(tool, "not run: no compute-sanitizer")
        return
    options = ["--tool", tool, "--error-exitcode", "9"]
    check.run(tool, [sanitizer, *options, sys.executable, "scripts/gpu_sanitizer_cases.py"], 120)


def benchmark(check: Check, name: str, options: list[str], limit: float) -> None:
    file = str(check.folder / f"{name}.json")
    check.run(name, [sys.executable, "-m", "benchmarks", *options, "--device", "cuda", "--json", file], limit)


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


def main(folder: Path, seconds: float) -> int:
    import torch

    if not torch.cuda.is_available():
        print("gpu_check: no GPU that torch can use; nothing was run", file=sys.stderr)
        return 3
    folder.mkdir(parents=True, exist_ok=True)
    check = Check(folder, seconds, environment())
    if build(check):
        check.run("gpu_tests", [sys.executable, "-m", "pytest", *test_paths(), "-q", "-p", "no:cacheprovider"], 240)
        for tool in SANITIZERS:
            sanitize(check, tool)
        benchmark(check, "benchmarks", ["--quick"], 240)
        benchmark(check, "losses", ["losses", "--images", "16"], 120)
    print("\n" + ", ".join(f"{name} {fact}" for name, fact in check.facts.items()))
    for step in check.steps:
        print(f"{step.name:<12} {step.verdict:<40} {step.seconds:6.1f} s")
    return 0 if check.passed() else 1


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main(Path(sys.argv[1]).resolve(), float(sys.argv[2])))
