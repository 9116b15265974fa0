#!/usr/bin/env bash
# Trains the assignment sweep on the COCO subset on a GPU, in parts: each call works up to a time limit, saves what it
# is at, and the next call with the same folder goes on. Ends with a table, results.csv and a plot in the folder.
#     scripts/gpu_train.sh [--out FOLDER] [--sweep FILE] [--seconds N] [OPTION of detector sweep ...]
# Data and weights are looked for in $PSEUDO_IOU_OPS_DATA: coco2017_subset_512/ and, if WEIGHTS names one, a file of
# Caffe-style ResNet-50 weights. --seconds defaults to 570.
# PYTHON chooses the interpreter (default python3), which must have the extra "detector" and a torch with CUDA.
# Exit status: 0 all runs done, 143 stopped at the limit and to be called again, 3 nothing was run (no GPU, or a package
# is missing), others as of the sweep.
set -euo pipefail

out=runs/coco_subset
sweep=
seconds=570
options=()
while (($#)); do
    case $1 in
    --out) out=$2; shift 2 ;;
    --sweep) sweep=$2; shift 2 ;;
    --seconds) seconds=$2; shift 2 ;;
    *) options+=("$1"); shift ;;
    esac
done

root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
sweep=${sweep:-$root/detector/configs/sweeps/coco_subset.yaml}
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}

missing=$("$python" - <<'PYTHON'
from importlib.util import find_spec
names = ("torch", "torchvision", "numpy", "PIL", "pydantic", "yaml", "pycocotools", "safetensors", "tqdm", "tyro", "matplotlib")
print(" ".join(name for name in names if find_spec(name) is None))
PYTHON
)
if [ -n "$missing" ]; then
    echo "gpu_train: $python lacks $missing, of the extra \"detector\"; nothing was run" >&2
    exit 3
fi
if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "gpu_train: no GPU that torch of $python can use; nothing was run" >&2
    exit 3
fi
exec "$python" -m detector sweep --file "$sweep" --out "$out" --time-limit "$seconds" \
    ${WEIGHTS:+--model.weights "$WEIGHTS" --model.stride-in-1x1} \
    --train.device cuda --train.amp bf16 ${options[@]+"${options[@]}"}
