#!/bin/sh
# The table of docs/semantics.md on simulated rooms that the embedded teacher never saw: the teacher on
# the photographs, its features lifted, a 3D network that sees no photographs, and both together.
#
#   benchmarks/words.sh [FOLDER]     (default: runs/words)
#
# What is there is kept, so that a run that was stopped goes on. ROOMS and LESSONS, 2 or more, change
# the size; they may grow.
set -eu
OUT=${1:-runs/words}
ATHANOR=${ATHANOR:-build/athanor}
ROOMS=${ROOMS:-12}      # scored
LESSONS=${LESSONS:-40}  # that the 3D network learns from
EPOCHS=${EPOCHS:-30}

# Seeds from 1,000,000 on are the teacher's, 500 to 539 those of its card.
make_rooms() {
  "$ATHANOR" sim room --rooms "$2" --seed "$3" --images 56 --width 400 --height 300 --path both \
    --clutter 0.7 -o "$OUT/$1"
}
make_rooms test "$ROOMS" 2000
make_rooms lessons "$LESSONS" 3000

# $1: folder of a room. A run is finished when its scene is written.
reconstruct() {
  if [ -e "$1/run/scene.ply" ]; then return; fi
  if [ -e "$1/run/config.toml" ]; then
    "$ATHANOR" scene reconstruct --resume "$1/run"
  else
    "$ATHANOR" scene reconstruct "$1" -o "$1/run" --iterations 2000 --sh-degree 1 \
      --coarse-iterations 250
  fi
}
# $1: folder of a room, $2: mode, $3: tag of the features, or nothing.
lift() {
  if [ -e "$1/run/scene.semantics${3:+-$3}.safetensors" ]; then return; fi
  "$ATHANOR" semantic lift "$1/run" --teacher embedded --mode "$2" ${3:+--tag "$3"}
}
for room in "$OUT"/lessons/room_*; do
  reconstruct "$room"
  lift "$room" weights ""
done
for room in "$OUT"/test/room_*; do
  reconstruct "$room"
  for mode in weights paper topk max; do
    lift "$room" $mode $mode
  done
done

if [ ! -e "$OUT/network/network.safetensors" ]; then
  if [ -e "$OUT/network/config.toml" ]; then
    "$ATHANOR" semantic distill --resume "$OUT/network"
  else
    "$ATHANOR" semantic distill "$OUT"/lessons/room_*/run -o "$OUT/network" --network 14A \
      --voxel 0.05 --lr 0.002 --epochs "$EPOCHS" --precision bfloat16
  fi
fi
for room in "$OUT"/test/room_*; do
  "$ATHANOR" semantic predict "$room/run" --network "$OUT/network"
done
"$ATHANOR" semantic eval "$OUT"/test/room_*/run --maps semantic --classes classes.json \
  --teacher embedded --tag weights --tag paper --tag topk --tag max --tag 3d --tag weights+3d \
  --json "$OUT/table.json"
"$ATHANOR" semantic eval "$OUT"/test/room_*/run --maps semantic --classes classes.json \
  --combine fill --tag weights+3d --json "$OUT/table_fill.json"
"$ATHANOR" semantic eval "$OUT"/test/room_*/run --maps semantic --classes classes.json \
  --combine concat --tag weights+3d --json "$OUT/table_concat.json"
