#!/usr/bin/env bash
# One binary, many torches: installs this project's wheel beside another torch and runs the library's tests.
# check_wheel.sh PYTHON VERSION [once], where VERSION is one of torch's or "newest". The wheel is built by PYTHON's torch.
# The environment, 4 GB, is kept for the next time; with "once" it is removed when the tests have passed, unless it was
# there before.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD python=$1 version=$2
venv=.venv-torch-$version
if [ "${3:-}" = once ] && [ ! -e "$venv" ]; then removed=$root/$venv; else removed=; fi
trap '[ $? = 0 ] || [ ! -e "$root/$venv" ] || echo "torch $version failed; its environment is kept in $venv" >&2' EXIT

fingerprint=$(cat csrc/*.* csrc/*/*.* csrc/*/*/*.* setup.py pyproject.toml pseudo_iou_ops/*.py pseudo_iou_ops/*/*.py | sha256sum | cut -c1-16)
dist=.cache/wheel-$fingerprint
if [ ! -e "$dist/complete" ]; then
    # Which GPUs its kernels are for makes no difference to what is checked here; one of them builds soonest.
    TORCH_CUDA_ARCH_LIST="${TORCH_CUDA_ARCH_LIST:-7.5+PTX}" "$python" -m build --no-isolation --outdir "$dist" . >/dev/null
    touch "$dist/complete"
fi

test -x "$venv/bin/python" || "$python" -m venv "$venv"
if [ "$version" = newest ]; then wanted=torch; else wanted="torch==$version"; fi
"$venv/bin/pip" install -q --no-compile "$wanted" numpy hypothesis pytest pytest-timeout pytest-xdist
"$venv/bin/pip" install -q --no-compile --no-deps --force-reinstall "$dist"/*.whl

# From elsewhere, so that the installed wheel is tested and not the sources.
cd "$(mktemp -d)"
"$root/$venv/bin/python" - <<'PYTHON'
import sys, torch, pseudo_iou_ops
assert pseudo_iou_ops.__file__.startswith(sys.prefix), f"expected the installed wheel, got {pseudo_iou_ops.__file__}"
print("the installed wheel under torch", torch.__version__)
PYTHON
HYPOTHESIS_PROFILE=default "$root/$venv/bin/pytest" -q -n 2 --dist loadfile -c "$root/pyproject.toml" \
    --rootdir "$root" -o pythonpath="$root/tests" "$root/tests/unit" "$root/tests/op" \
    "$root"/tests/compile/test_assign_*.py
[ -z "$removed" ] || rm -rf "$removed"
