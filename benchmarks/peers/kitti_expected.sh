#!/usr/bin/env bash
# Runs the KITTI development kit on our random cases and writes its numbers.
#
#   benchmarks/peers/kitti_expected.sh KITTI_EVAL OUT.bin.z
#
# KITTI_EVAL is a copy of https://github.com/prclibo/kitti_eval. Needs g++, Boost.Geometry, Eigen and
# python3 with numpy. The kit is built twice: as it is, and with the looser overlaps that stand in it
# as a comment.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
kit=$1 out=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for overlap in strict loose; do
  # Its main() would be a second one.
  { echo '#define main KittiMain'; cat "$kit/evaluate_object_3d_offline.cpp"; } >"$work/$overlap.cpp"
done
sed -i 's|^const double MIN_OVERLAP.*|const double MIN_OVERLAP[3][3] = {{0.7, 0.5, 0.5}, {0.5, 0.25, 0.25}, {0.5, 0.25, 0.25}};|' \
  "$work/loose.cpp"
for overlap in strict loose; do
  g++ -std=c++17 -O2 -w -I"$root/src" -I"$kit" -isystem /usr/include/eigen3 \
    -DKITTI_DEVKIT="\"$work/$overlap.cpp\"" "$root/benchmarks/peers/kitti_expected.cc" \
    -o "$work/$overlap"
  "$work/$overlap" >"$work/$overlap.txt"
done
PYTHONPATH=$root/benchmarks/peers python3 - "$work" "$out" <<'PYTHON'
import sys

import numpy as np
from cases import write_expected

work, out = sys.argv[1:]
strict, loose = (np.loadtxt(f"{work}/{name}.txt") for name in ("strict", "loose"))
# bbox and aos of three difficulties come first, and are the same for both overlaps.
assert np.array_equal(strict[:, :12], loose[:, :12], equal_nan=True)
write_expected(out, np.hstack([strict, loose[:, 12:]]))
PYTHON
