#!/bin/sh
# Tables about the detector: what each sensor, each part of the fusion, the
# decoder's order and pre-training are worth, on simulated streets. Preset nano, things within 25 m.
#
#   benchmarks/detect.sh [FOLDER]     (default: runs/detect)
#
# What is there is kept, so that a run that was stopped goes on. SEEDS ("0 1 2"), STEPS and VARIANTS
# change the size; each training takes about ten minutes on one core.
#
# Cameras begin from one training of them alone (as the paper's begin from ImageNet), but not where
# it is about labels and pre-training: these begin from nothing, or from their pre-training.
set -eu
OUT=${1:-runs/detect}
ATHANOR=${ATHANOR:-build/athanor}
SEEDS=${SEEDS:-0 1 2}
STEPS=${STEPS:-300}
CAMERA_STEPS=${CAMERA_STEPS:-1000}
PRETRAIN_STEPS=${PRETRAIN_STEPS:-1500}
# labels20: a fifth of the labels; pre20: the same after a pre-training on all frames, without labels.
VARIANTS=${VARIANTS:-full lidar cameras concat bev view_agnostic self_cross windows unit \
  labels20 labels40 labels60 labels80 labels100 pre20 pre40 pre60 pre80 pre100 \
  pre_no_denoising20 pre_no_attributes20}
TRAIN=${TRAIN:-$OUT/train}
VAL=${VAL:-$OUT/val}

# $1: folder, $2: scenes, $3: seed.
make_streets() {
  if [ -e "$1" ]; then return; fi
  "$ATHANOR" sim street --scenes "$2" --seconds 10 --seed "$3" --heavy 0.25 --motorcycles 0.1 \
    --bicycles 5 --pedestrians 14 --road-works 0.5 --cargo 0.1 --search 90 -o "$1.part"
  mv "$1.part" "$1"
}
make_streets "$TRAIN" 80 101
make_streets "$VAL" 40 9001

# $1: variant, $2: seed.
flags_of() {
  case $1 in
    lidar | labels* | pre*) ;;
    *) echo --start-from "$OUT/eyes.$2/detector.safetensors" ;;
  esac
  case $1 in
    full | labels100) ;;
    lidar) echo --no-cameras ;;
    cameras) echo --no-lidar ;;
    bev) echo --no-fuse-pv ;;
    view_agnostic) echo --view-agnostic ;;
    concat | self_cross | windows | unit) echo --fusion "$1" ;;
    labels*) echo --share "0.${1#labels}" ;;
    pre*100) echo --start-from "$OUT/${1%100}.$2/pretrained.safetensors" ;;
    pre*) echo --share "0.${1#"${1%??}"}" --start-from "$OUT/${1%??}.$2/pretrained.safetensors" ;;
    *) echo "detect.sh: no variant $1" >&2; exit 1 ;;
  esac
}

# $1: run, the rest: flags.
train() {
  folder=$OUT/$1
  shift
  if [ -e "$folder/detector.safetensors" ]; then return; fi
  if [ -e "$folder/config.toml" ]; then set -- "$@" --resume; fi
  "$ATHANOR" detect train "$TRAIN" --preset nano --drop-cameras 0 --drop-lidar 0 --drop-camera 0 \
    "$@" -o "$folder"
}

# $1: name, $2: seed.
pretrain() {
  if [ -e "$OUT/$1.$2/pretrained.safetensors" ]; then return; fi
  flags="--preset nano --steps $PRETRAIN_STEPS --rate 1e-3 --warmup 100 --seed $2"
  case $1 in
    pre_no_denoising) flags="$flags --no-denoising" ;;
    pre_no_attributes) flags="$flags --no-attributes" ;;
  esac
  if [ -e "$OUT/$1.$2/config.toml" ]; then flags="$flags --resume"; fi
  # shellcheck disable=SC2086
  "$ATHANOR" detect pretrain "$TRAIN" $flags -o "$OUT/$1.$2"
}

for seed in $SEEDS; do
  for variant in $VARIANTS; do
    run=$OUT/$variant.$seed
    case $variant in
      pre*) pretrain "$(echo "$variant" | tr -d 0-9)" "$seed" ;;
      lidar | labels*) ;;
      *) train "eyes.$seed" --steps "$CAMERA_STEPS" --seed "$seed" --cameras-alone ;;
    esac
    # shellcheck disable=SC2046
    train "$variant.$seed" --steps "$STEPS" --seed "$seed" $(flags_of "$variant" "$seed")
    if [ ! -e "$run/eval/metrics_summary.json" ]; then
      "$ATHANOR" detect eval --truth "$VAL" --config configs/detect/near.json \
        --model "$run/detector.safetensors" -o "$run/eval"
    fi
  done
done

# The last column: mean AP of the classes of which the streets have many objects. Of the others
# there are so few that one object moves the mean of all.
echo "variant  seeds  mAP mean  standard deviation  NDS mean  AP of six classes"
for variant in $VARIANTS; do
  for seed in $SEEDS; do
    awk -F'[":, ]+' '
      $2 == "mean_dist_aps" { is_ap = 1 }
      is_ap && $2 ~ /^(car|pedestrian|bicycle|motorcycle|traffic_cone|barrier)$/ { six += $3 }
      /}/ { is_ap = 0 }
      $2 == "mean_ap" { ap = $3 }
      $2 == "nd_score" { nds = $3 }
      END { print ap, nds, six / 6 }' "$OUT/$variant.$seed/eval/metrics_summary.json"
  done | awk -v name="$variant" '{ n++; a += $1; aa += $1 * $1; s += $2; x += $3 }
    END { v = n > 1 ? (aa - a * a / n) / (n - 1) : 0
          printf "%s  %d  %.4f  %.4f  %.4f  %.4f\n", name, n, a / n, (v > 0 ? sqrt(v) : 0), s / n, x / n }'
done
