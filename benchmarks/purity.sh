#!/bin/sh
# How pure what is mined is: a class that half a per cent of a fleet's frames show, and the best 200
# frames of each miner. What the large model says is taken for what a cloud would know of the fleet;
# true boxes only count.
#
#   benchmarks/purity.sh [FOLDER]     (default: runs/purity)
#
# What is there is kept, so that a run that was stopped goes on. SCENES (of 40 frames), DOGS, SHEEP (to
# expect in each) and SEED change the fleet. CAMERAS=yes gives it pictures that can be looked at, which
# take four times as long to simulate; the models that are trained here use the LiDAR alone. LARGE is the
# large model, a name or a file of weights; by default the LiDAR half of `tiny`, taught to read five
# sweeps on streets with many animals. One that looks at pictures needs CAMERAS=yes: else they are 32x32.
#
# The small models are an ensemble of two: the one that comes along, which has never seen an animal,
# trained a little further on streets with few of them, from two seeds. The first is the car's.
set -eu
OUT=${1:-runs/purity}
ATHANOR=${ATHANOR:-build/athanor}
SCENES=${SCENES:-160}
DOGS=${DOGS:-0.06}
SHEEP=${SHEEP:-0.006}
CAMERAS=${CAMERAS:-no}
SEED=${SEED:-7000}
STEPS=${STEPS:-120}
HOME_SCENES=${HOME_SCENES:-20}
WORKERS=${WORKERS:-2}
LARGE=${LARGE:-$OUT/large/detector.safetensors}
LARGE_STEPS=${LARGE_STEPS:-300}
RANGE=25  # metres; what the small model looks at
WIDTH=704
HEIGHT=256
if [ "$CAMERAS" = no ]; then WIDTH=32 HEIGHT=32; fi

# $1: folder, $2: preset, the rest: flags.
make_streets() {
  folder=$1
  preset=$2
  shift 2
  if [ -e "$folder" ]; then return; fi
  "$ATHANOR" sim street --preset "configs/loop/$preset.toml" --no-pictures --width "$WIDTH" --height "$HEIGHT" \
    "$@" -o "$folder.part"
  mv "$folder.part" "$folder"
}
mkdir -p "$OUT"
make_streets "$OUT/home" home --scenes "$HOME_SCENES" --dogs 1
make_streets "$OUT/fleet" fleet --scenes "$SCENES" --seconds 20 --dogs "$DOGS" --sheep "$SHEEP" --seed "$SEED"

# $1: folder of the run, $2: data, the rest: flags.
train() {
  run=$1
  data=$2
  shift 2
  if [ -e "$run/detector.safetensors" ]; then return; fi
  resume=
  if [ -e "$run/config.toml" ]; then resume=--resume; fi
  "$ATHANOR" detect train "$data" "$@" --threads 1 $resume -o "$run"
}
for member in 0 1; do
  train "$OUT/small.$member" "$OUT/home" --preset micro --start-from models/athanor-detect-micro/detector.safetensors \
    --steps "$STEPS" --rate 7e-4 --seed "$member"
done
if [ "$LARGE" = "$OUT/large/detector.safetensors" ]; then
  make_streets "$OUT/dogs" fleet --scenes 16 --seconds 10 --dogs 5 --sheep 0.5 --seed 501
  train "$OUT/large" "$OUT/dogs" --older "$OUT/home" --replay 0.5 --preset tiny --no-cameras --no-fuse-pv \
    --range 25.6 --sweeps 5 --start-from models/athanor-detect-tiny/detector.safetensors \
    --batch 4 --steps "$LARGE_STEPS" --rate 7e-4 --heat-weight 8 --drop-lidar 0
fi

"$ATHANOR" infer "$OUT/fleet" --workers "$WORKERS" --model large="$LARGE" \
  --model small="$OUT/small.0/detector.safetensors" --model second="$OUT/small.1/detector.safetensors" \
  -o "$OUT/table"
boxes_of() { echo "$OUT/table/models/$1/boxes.json"; }

# What a person would point at: the nearest animals of three streets, where the large model has a box.
# Their frames count nowhere.
if [ ! -e "$OUT/examples.txt" ]; then
  "$ATHANOR" mine rule "$OUT/fleet" \
    "SELECT frame, box, 100000 - distance_cm AS score FROM boxes WHERE class LIKE 'animal%'" \
    --window 1000 --count 50 --drawn 1 -o "$OUT/nearest"
  boxes=$(awk -F'"' '$2 == "box" { gsub(/[^0-9]/, "", $3); box = $3 }
    $2 == "frame" { frame = $4 }
    /^  }/ { print frame ":" box }' "$OUT/nearest/hits.json")
  : > "$OUT/examples.part"
  for box in $boxes; do
    if "$ATHANOR" mine similar "$OUT/fleet" --features "$OUT/table" --model large --boxes annotations \
      --example "$box" --count 1 --drawn 1 -o "$OUT/try" > /dev/null 2>&1; then
      echo "$box" >> "$OUT/examples.part"
    fi
    if [ "$(wc -l < "$OUT/examples.part")" -ge 3 ]; then break; fi
  done
  mv "$OUT/examples.part" "$OUT/examples.txt"
fi
examples=$(cat "$OUT/examples.txt")
frames=$(sed 's/:.*//' "$OUT/examples.txt")

# $1: folder of hits, the rest: what `mine` is asked, of 200 frames or more.
mine() {
  hits=$OUT/$1
  shift
  if [ -e "$hits/hits.json" ]; then return; fi
  command=$1
  shift
  "$ATHANOR" mine "$command" "$OUT/fleet" "$@" --window 0 --count 2000 -o "$hits"
}
small=$(boxes_of small)
large=$(boxes_of large)
# shellcheck disable=SC2086
mine example similar --features "$OUT/table" --model large --boxes annotations --example $examples
mine words similar --text dog --boxes "$large"
mine uncertain uncertain --predictions "$small" "$(boxes_of second)"
mine undigested undigested --student "$small" --teacher "$large"
mine uncertain_any uncertain --rarity 0 --predictions "$small" "$(boxes_of second)"
mine undigested_any undigested --rarity 0 --student "$small" --teacher "$large"
# shellcheck disable=SC2086
"$ATHANOR" mine purity "$OUT/fleet" --class animal --range "$RANGE" --count 20 50 100 200 --without $frames \
  --hits "$OUT/example/hits.json" "$OUT/words/hits.json" "$OUT/uncertain/hits.json" "$OUT/undigested/hits.json" \
  "$OUT/uncertain_any/hits.json" "$OUT/undigested_any/hits.json"

# What the small model misses: its AP, and how pure its misses are in the classes with the least.
"$ATHANOR" detect eval --truth "$OUT/fleet" --results "$small" --config configs/detect/near.json -o "$OUT/eval.small"
"$ATHANOR" detect eval --truth "$OUT/fleet" --results "$large" --config configs/detect/near.json -o "$OUT/eval.large"
for class in truck bus trailer motorcycle bicycle; do
  echo "== $class"
  "$ATHANOR" mine purity "$OUT/fleet" --class "$class" --range "$RANGE" --count 100 200 \
    --hits "$OUT/uncertain/hits.json" "$OUT/undigested/hits.json" "$OUT/undigested_any/hits.json"
done
