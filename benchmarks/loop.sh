#!/bin/sh
# What mining is worth: loops that label what miners choose, beside loops that label as many frames
# at random, and three times as many. Simulated fleets, a class that the first model does not know.
#
#   benchmarks/loop.sh [FOLDER]     (default: runs/loops)
#
# What is there is kept, so that a run that was stopped goes on. SEEDS ("0 1 2"), ROUNDS, STEPS,
# BATCH, SCENES (a round) and VARIANTS change the size; a loop takes a quarter of an hour on one core, beside
# its fleet. All loops of a seed see the same fleet and test streets; what the large model says of a
# frame is computed once.
set -eu
OUT=${1:-runs/loops}
ATHANOR=${ATHANOR:-build/athanor}
SEEDS=${SEEDS:-0 1 2}
ROUNDS=${ROUNDS:-3}
STEPS=${STEPS:-150}
BATCH=${BATCH:-30}
SCENES=${SCENES:-40}
VARIANTS=${VARIANTS:-mined random random3}

# $1: folder, $2: preset, the rest: flags.
make_streets() {
  folder=$1
  preset=$2
  shift 2
  if [ -e "$folder" ]; then return; fi
  "$ATHANOR" sim street --preset "configs/loop/$preset.toml" --no-pictures "$@" -o "$folder.part"
  mv "$folder.part" "$folder"
}
mkdir -p "$OUT"
make_streets "$OUT/home" home --scenes 20
make_streets "$OUT/test" test --scenes "$SCENES"

for seed in $SEEDS; do
  round=1
  while [ "$round" -le "$ROUNDS" ]; do
    make_streets "$OUT/fleet.$seed.$round" fleet --scenes "$SCENES" --dogs 2 \
      --seed $((1000 * (seed + 1) + round))
    round=$((round + 1))
  done
  for variant in $VARIANTS; do
    batch=$BATCH
    case $variant in
      mined) choose=mined ;;
      random) choose=random ;;
      random3)
        choose=random
        batch=$((3 * BATCH))
        ;;
      *)
        echo "loop.sh: no variant $variant" >&2
        exit 1
        ;;
    esac
    cat > "$OUT/$variant.$seed.toml" << END
rounds = $ROUNDS
home = "$OUT/home"
logs = "$OUT/fleet.$seed.{round}"
test = "$OUT/test"
small = "micro"
words = "dog"
rare = "animal"
choose = "$choose"
batch = $batch
steps = $STEPS
rate = 1e-3
workers = 1
cells = "$OUT/cells"
seed = $seed
END
    "$ATHANOR" loop run "$OUT/$variant.$seed.toml" -o "$OUT/$variant.$seed"
  done
done

# Means over seeds and half of 95 % intervals (Student's t).
echo "variant  round  seeds  animal AP  +-  mAP  +-  labelled frames with an animal"
for variant in $VARIANTS; do
  round=0
  while [ "$round" -le "$ROUNDS" ]; do
    for seed in $SEEDS; do
      "$ATHANOR" loop status "$OUT/$variant.$seed" | awk -v round="$round" '$1 == round { print $5, $6, $4 }'
    done | awk -v name="$variant" -v round="$round" '
      { n++; a += $1; aa += $1 * $1; m += $2; mm += $2 * $2; r += $3 }
      function half(sum, squares) {
        if (n < 2) return 0
        v = (squares - sum * sum / n) / (n - 1)
        t = n == 2 ? 12.706 : n == 3 ? 4.303 : n == 4 ? 3.182 : n == 5 ? 2.776 : 1.96
        return v > 0 ? t * sqrt(v / n) : 0
      }
      END { printf "%s  %d  %d  %.4f  %.4f  %.4f  %.4f  %.1f\n", name, round, n, a / n, half(a, aa),
            m / n, half(m, mm), r / n }'
    round=$((round + 1))
  done
done
