#!/usr/bin/env bash
# Prints how many compilers may run at once: one per core, but each with 1.5 GB of memory, which is
# what a file that includes Torch takes.
set -euo pipefail

cores=$(nproc)
free_kb=$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo)
limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || echo max)
if [[ $limit != max && $((limit / 1024)) -lt $free_kb ]]; then
  free_kb=$((limit / 1024))
fi
jobs=$((free_kb / 1500000))
((jobs <= cores)) || jobs=$cores
((jobs >= 1)) || jobs=1
echo "$jobs"
