#!/usr/bin/env bash
# Everything that needs a real GPU, in one call: builds or loads the extension, runs the gpu tests, compute-sanitizer's four
# tools, the benchmarks. Writes logs and JSON to a folder (default gpu_check/) and ends with a short table.
#     scripts/gpu_check.sh [FOLDER]
# PYTHON chooses the interpreter (default python3), which must have torch with CUDA, numpy, pytest and hypothesis.
# Exits non-zero if there is no GPU or a step fails; a step that is not possible is reported as "not run".
set -uo pipefail
cd "$(dirname "$0")/.."
exec "${PYTHON:-python3}" scripts/gpu_check.py "${1:-gpu_check}"
