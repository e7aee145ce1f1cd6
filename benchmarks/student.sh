#!/bin/sh
# What labels of a large model are worth: a student that learns from them beside one that learns
# from true boxes of the same frames. After benchmarks/purity.sh, on its fleet.
#
#   benchmarks/student.sh [FOLDER]     (default: runs/purity)
#
# What is there is kept, so that a run that was stopped goes on. SEEDS ("0 1"), STEPS and LABELS
# (accepted all) change the size; a student takes ten minutes of one core.
#
# Labels of the large model are tracked; which are accepted is told by an audit of every tenth street
# (EVERY; those that are precise enough at 95 % confidence), and scored on the others.
set -eu
OUT=${1:-runs/purity}
ATHANOR=${ATHANOR:-build/athanor}
SEEDS=${SEEDS:-0 1}
STEPS=${STEPS:-400}
EVERY=${EVERY:-10}
LABELS=${LABELS:-accepted all}
RANGE=25  # metres; what the student looks at
RESULTS="$OUT/student"
mkdir -p "$RESULTS"

# The one version in a folder.
version_in() { ls "$1"/*.labels; }

if [ ! -e "$RESULTS/found" ]; then
  rm -rf "$RESULTS/found.part"
  "$ATHANOR" label auto "$OUT/fleet" --predictions "$OUT/table/models/large/boxes.json" -o "$RESULTS/found.part"
  mv "$RESULTS/found.part" "$RESULTS/found"
fi
if [ ! -e "$RESULTS/audited" ]; then
  rm -rf "$RESULTS/audited.part"
  grep -ho '"name": "[^"]*"' "$OUT"/fleet/v1.0-*/scene.json | cut -d'"' -f4 > "$RESULTS/streets.txt"
  awk -v n="$EVERY" 'NR % n == 0' "$RESULTS/streets.txt" > "$RESULTS/slice.txt"
  awk -v n="$EVERY" 'NR % n != 0' "$RESULTS/streets.txt" > "$RESULTS/rest.txt"
  "$ATHANOR" label audit "$(version_in "$RESULTS/found")" --truth "$OUT/fleet" --split "$RESULTS/slice.txt" \
    --held-out "$RESULTS/rest.txt" --precision 0.9 --range "$RANGE" -o "$RESULTS/audited.part" > "$RESULTS/audit.txt"
  mv "$RESULTS/audited.part" "$RESULTS/audited"
fi
cat "$RESULTS/audit.txt"

# $1: labels; prints the streets with them.
streets_with() {
  case $1 in
    truth) echo "$OUT/fleet" ;;
    *)
      if [ ! -e "$RESULTS/$1" ]; then
        rm -rf "$RESULTS/$1.part"
        flags=
        if [ "$1" = all ]; then flags=--all; fi
        "$ATHANOR" label export "$(version_in "$RESULTS/audited")" "$OUT/fleet" $flags -o "$RESULTS/$1.part" >&2
        mv "$RESULTS/$1.part" "$RESULTS/$1"
      fi
      echo "$RESULTS/$1"
      ;;
  esac
}

for seed in $SEEDS; do
  for labels in truth $LABELS; do
    run=$RESULTS/$labels.$seed
    if [ ! -e "$run/detector.safetensors" ]; then
      resume=
      if [ -e "$run/config.toml" ]; then resume=--resume; fi
      streets=$(streets_with "$labels")
      "$ATHANOR" detect train "$streets" --preset micro --steps "$STEPS" --seed "$seed" --threads 1 \
        $resume -o "$run"
    fi
    if [ ! -e "$run/eval/metrics_summary.json" ]; then
      "$ATHANOR" detect eval --truth "$OUT/home" --config configs/detect/near.json \
        --model "$run/detector.safetensors" -o "$run/eval"
    fi
  done
done

echo "labels  seeds  mAP mean  standard deviation  NDS mean"
for labels in truth $LABELS; do
  for seed in $SEEDS; do
    awk -F'[":, ]+' '$2 == "mean_ap" { ap = $3 } $2 == "nd_score" { nds = $3 } END { print ap, nds }' \
      "$RESULTS/$labels.$seed/eval/metrics_summary.json"
  done | awk -v name="$labels" '{ n++; a += $1; aa += $1 * $1; s += $2 }
    END { v = n > 1 ? (aa - a * a / n) / (n - 1) : 0
          printf "%s  %d  %.4f  %.4f  %.4f\n", name, n, a / n, (v > 0 ? sqrt(v) : 0), s / n }'
done
