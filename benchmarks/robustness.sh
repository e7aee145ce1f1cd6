#!/bin/sh
# Tables about lost sensors and bad weather: a detector on clean streets,
# without its LiDAR, without its cameras, without the front one, and on MultiCorrupt's ten corruptions.
#
#   benchmarks/robustness.sh MODEL STREETS [FOLDER]     (default: runs/robustness)
#
# MODEL as `detect predict --model` takes it, STREETS a nuScenes data set. What is there is kept.
set -eu
MODEL=$1
STREETS=$2
OUT=${3:-runs/robustness}
ATHANOR=${ATHANOR:-build/athanor}

# $1: data set, $2: folder of the metrics, the rest: more flags.
score() {
  truth=$1
  out=$2
  shift 2
  if [ -e "$out/metrics_summary.json" ]; then return; fi
  "$ATHANOR" detect eval --truth "$truth" --model "$MODEL" -o "$out" "$@"
}
score "$STREETS" "$OUT/clean"
score "$STREETS" "$OUT/lost/no_lidar/1" --drop lidar
score "$STREETS" "$OUT/lost/no_cameras/1" --drop cameras
score "$STREETS" "$OUT/lost/no_front_camera/1" --drop CAM_FRONT
"$ATHANOR" log corrupt "$STREETS" --kind multicorrupt -o "$OUT/corrupted"
for folder in "$OUT"/corrupted/*/[123]; do
  kind=$(basename "$(dirname "$folder")")
  score "$folder" "$OUT/metrics/$kind/$(basename "$folder")"
done
for metric in nd_score mean_ap; do
  "$ATHANOR" eval robustness "$OUT/clean" "$OUT/lost" --metric $metric
  "$ATHANOR" eval robustness "$OUT/clean" "$OUT/metrics" --metric $metric
done
