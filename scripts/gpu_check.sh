#!/usr/bin/env bash
# Everything that needs a real GPU, in one call: loads or builds the extension, compares its results with the CPU's,
# times it, runs the gpu tests, times the alternatives, the variants of its tuning constants, and runs compute-sanitizer.
#     scripts/gpu_check.sh [FOLDER] [SECONDS] [--device cpu] [--brief] [--only STEP ...]
# FOLDER (default gpu_check/) gets logs.txt, assign.json, losses.json and gpu_check.json; the table at the end has the
# figures that matter. SECONDS (default 570) is the limit of the whole call: steps are in the order of what they are
# worth, and one that does not fit is cut off or "not run".
# --device cpu walks the same steps without a GPU, on less, within SECONDS on two busy cores. --brief takes small
# workloads on a GPU, --only takes some of the steps.
# Libraries that were built elsewhere are used if they were built from these sources, for this GPU.
# PYTHON chooses the interpreter (default python3), which must have torch with CUDA, numpy, pytest and hypothesis.
# $COMMIT names the commit where there is no .git. Exits with 3 if there is no GPU, with 1 if a step fails or gets no
# time; a step that can not run here ("not run: why") is no failure.
set -uo pipefail
cd "$(dirname "$0")/.."
exec "${PYTHON:-python3}" scripts/gpu_check.py "$@"
