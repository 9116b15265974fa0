#!/usr/bin/env bash
# The C++ sources compile with the headers of the oldest torch: check_oldest_headers.sh PYTHON VERSION
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 version=$2
headers=.cache/torch-$version-headers

if [ ! -e "$headers/complete" ]; then
    download=$(mktemp -d)
    trap 'rm -rf "$download"' EXIT
    "$python" -m pip download -q --no-deps -d "$download" "torch==$version"
    mkdir -p "$headers"
    "$python" - "$download"/torch-*.whl "$headers" <<'PYTHON'
import sys, zipfile
wheel, target = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    archive.extractall(target, [n for n in archive.namelist() if n.startswith("torch/include/")])
PYTHON
    touch "$headers/complete"
fi

echo '#define PSEUDO_IOU_OPS_SOURCE_HASH "none: nothing is built"' >"$headers/source_hash.h"
includes=(-I"$headers" -I"$headers/torch/include" -I"$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')")
for source in csrc/library.cpp csrc/ops/cpu/*.cpp; do
    "${CXX:-g++}" -std=c++17 -fsyntax-only -Wall -Werror -fvisibility=hidden -DPy_LIMITED_API=0x030A0000 \
        -DTORCH_TARGET_VERSION=0x020b000000000000 "${includes[@]}" "$source"
    echo "$source compiles with the headers of torch $version"
done
