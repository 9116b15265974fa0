#!/usr/bin/env bash
# Everything that needs a real GPU, in one call: builds or loads the extension, runs the gpu tests, compute-sanitizer's four
# tools, the benchmarks. Writes logs and JSON to a folder (default gpu_check/) and ends with a short table.
#     scripts/gpu_check.sh [FOLDER] [SECONDS]
# SECONDS (default 570) is the limit of the whole call; what does not fit is cut off or "not run".
# PYTHON chooses the interpreter (default python3), which must have torch with CUDA, numpy, pytest and hypothesis.
# Exits with 3 if there is no GPU, with 1 if a step fails or is not run.
set -uo pipefail
cd "$(dirname "$0")/.."
exec "${PYTHON:-python3}" scripts/gpu_check.py "${1:-gpu_check}" "${2:-570}"
