#!/usr/bin/env bash
# Runs every fuzz target of a build on its corpus, src/athanor/MODULE/fuzz_corpus/NAME for the target
# MODULE_NAME_fuzz. The corpus is only read: new inputs go to BUILD/fuzz/corpus, failures to
# BUILD/fuzz/findings.
#
#   BUILD      default build-fuzz
#   FUZZ_RUNS  cases per target, default 200000
#   FUZZ_ONLY  run only the targets whose names match this pattern, default *
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build-fuzz}
runs=${FUZZ_RUNS:-200000}
out=$build/fuzz
mkdir -p "$out/findings"

failed=() count=0
for binary in $(find "$build/src" -type f -name "${FUZZ_ONLY:-*}_fuzz" -perm -u+x | sort); do
  target=$(basename "$binary")
  module=${target%%_*}
  name=${target#*_}
  corpus=src/athanor/$module/fuzz_corpus/${name%_fuzz}
  mkdir -p "$out/corpus/$target"
  folders=("$out/corpus/$target")
  if [[ -d $corpus ]]; then
    folders+=("$corpus")
  else
    echo "fuzz: $target has no corpus $corpus: it starts from nothing"
  fi
  log=$out/$target.log
  count=$((count + 1))
  # A single input may take 10 s and 2 GB: more is a finding too.
  if "$binary" -runs="$runs" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=1 \
      -artifact_prefix="$out/findings/$target-" "${folders[@]}" >"$log" 2>&1; then
    awk -v target="$target" '/^Done/ {runs = $2; seconds = $5}
                             match($0, /cov: [0-9]+/) {coverage = substr($0, RSTART + 5, RLENGTH - 5)}
                             END {print "fuzz: " target ": " runs " cases in " seconds " s, " coverage " edges"}' "$log"
  else
    failed+=("$target")
    tail -n 40 "$log" >&2
    echo "fuzz: $target FAILED; log: $log, inputs: $out/findings/$target-*" >&2
  fi
done
if [[ $count -eq 0 ]]; then
  echo "fuzz: found no fuzz targets in $build" >&2
  exit 1
fi
echo "fuzz: $count targets, ${#failed[@]} failed: ${failed[*]:-none}"
[[ ${#failed[@]} -eq 0 ]]
