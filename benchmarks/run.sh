#!/usr/bin/env bash
# Prints the measured figures beside their targets. Environment:
#   FOX        folder with the fox capture (instant-ngp); its rows are left out without it
#   OPENSPLAT  OpenSplat's program, measured in the same run; its column is left out without it
#   ITERATIONS training steps per measurement (300)
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build}
fox=${FOX:-../shared/data/fox}

grep -m1 'model name' /proc/cpuinfo | sed 's/.*: /machine: /' || true
echo "commit: $(git rev-parse --short HEAD 2>/dev/null || echo none)"
echo
"$build"/benchmarks/kernels_benchmark --benchmark_min_time=1
echo
"$build"/benchmarks/sparse_conv_benchmark
"$build"/benchmarks/sparse_network_benchmark
echo
"$build"/benchmarks/evaluation_benchmark
echo
arguments=(--iterations "${ITERATIONS:-300}")
[ -d "$fox" ] && arguments+=(--fox "$fox")
[ -n "${OPENSPLAT:-}" ] && arguments+=(--opensplat "$OPENSPLAT")
"$build"/benchmarks/reconstruct_benchmark "${arguments[@]}"
