#!/usr/bin/env bash
# The sdist, and audited wheels built from it: build_wheels.sh PYTHON FOLDER
# FOLDER/cpu has the CPU kernels alone, FOLDER/cuda both, where there is a CUDA toolkit for PYTHON's torch.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 dist=$2

rm -rf "$dist"
"$python" -m build --sdist --no-isolation --outdir "$dist" . >/dev/null
variants=(cpu)
if PSEUDO_IOU_OPS_CUDA=on "$python" setup.py --version >/dev/null 2>&1; then
    variants+=(cuda)
else
    echo "$dist/cuda: not built, there is no CUDA toolkit for this torch"
fi
for variant in "${variants[@]}"; do
    cuda=on
    if [ "$variant" = cpu ]; then cuda=off; fi
    PSEUDO_IOU_OPS_CUDA=$cuda "$python" -m pip wheel -q --no-build-isolation --no-deps -w "$dist/$variant" "$dist"/*.tar.gz
    "$python" scripts/audit_wheel.py "$dist/$variant"/*.whl
done
