#!/usr/bin/env bash
# Pointer over Heads on lattice mazes. bash launch/poh.sh [OUT] [ablation|accuracy|rates], about an hour each on 2
# CPU cores; the same command resumes.
# ablation: soft, hard and top-k routing x slow periods 1, 2, 4, 8 x gradients through the last or the last four
# passes on 8x8, and full gradients on 6x6, against baselines of as many parameters: equal updates, five seeds.
# accuracy: how far it gets: 6x6 and 8x8, gradients through all passes and through the last; 12x12 from the 8x8
# model and from the beginning.
# rates: which learning rate each family of models learns with (RATES in configs/poh.py).
out="${1:-runs/poh}"
what="${2:-accuracy}"
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh" requirements.txt
set -euo pipefail
trap 'exit 130' INT TERM # a sweep or a training saves and ends well: without this the script would go on
case "$what" in ablation | accuracy | rates) ;; *) echo "error: \"$what\": ablation, accuracy or rates" >&2; exit 2 ;; esac

run() { "$python" -m "hrm_jax.$1" "${@:2}"; }

for size in 6 8 12; do
  [ -e "$out/data/$size/test/dataset.json" ] ||
    run puzzles lattice --size "$size" --train 100 --test 2000 --out "$out/data/$size"
done

sweep() { # FOLDER WORLD SEEDS UPDATES MODEL ...
  run sweep --config poh --data "$out/data" --worlds "$2" --seeds "$3" --jobs 2 --record 0 --out "$out/$1" \
    --models "${@:5}" --set steps="$4" eval_every="$4" checkpoint.every="$4"
}

if [ "$what" = rates ]; then
  tune=(optimizer.learning_rate=1e-3,2e-3,4e-3,8e-3 --trials 1)
  sweep rates 8 1 600 {soft,hard,top_k},t4,{last,last_k} looped,{last,last_k} transformer deep blind,last \
    --tune "${tune[@]}"
  sweep rates 6 1 400 {soft,hard,top_k},t4 looped --tune "${tune[@]}"
  exit
fi

if [ "$what" = ablation ]; then
  routed=()
  for gradient in last last_k; do
    for routing in soft hard top_k; do
      for period in 1 2 4 8; do routed+=("$routing,t$period,$gradient"); done
    done
    routed+=("looped,$gradient")
  done
  sweep ablation 8 5 400 "${routed[@]}" transformer deep blind,last
  sweep equal_cpu 8 5 640 looped,last soft,t4,last # as long as the last four passes take for 400
  sweep ablation 6 5 400 soft,t1 soft,t4 hard,t4 top_k,t4 looped
  exit
fi

sweep accuracy 6 5 1500 soft
sweep accuracy 8 5 2000 soft
sweep long 8 4 8000 soft,last
train() { # KIND SEED
  eight="$out/accuracy/8/soft/$2/model.npz"
  case "$1" in
    tuned) fields=(init_from="$eight" steps=300 optimizer.learning_rate=1e-3) ;;
    curriculum) fields=(steps=1800 data.shortest=30 data.curriculum=1000) ;;
  esac
  folder="$out/12/$1/$2"
  mkdir -p "$folder"
  run train --config configs/poh.py:12,soft --workdir "$folder" --config.seed="$2" "${fields[@]/#/--config.}" \
    >>"$folder/log.txt" 2>&1
  run export --workdir "$folder" --out "$folder.npz" >>"$folder/log.txt" 2>&1
}
export -f run train
export out python
echo "12x12: five models of 8x8 tuned, three from the beginning; logs in $out/12/*/*/log.txt"
printf '%s\n' "curriculum "{0..2} "tuned "{0..4} | xargs -P 2 -L 1 bash -ec 'train "$@"' train
models=()
for seed in {0..4}; do
  cp "$out/accuracy/8/soft/$seed/model.npz" "$out/data/eight-$seed.npz"
  models+=(--model "untouched/$seed=$out/data/eight-$seed.npz")
done
for seed in {0..4}; do models+=(--model "tuned/$seed=$out/12/tuned/$seed.npz"); done
for seed in {0..2}; do models+=(--model "curriculum/$seed=$out/12/curriculum/$seed.npz"); done
run solve --data "$out/data/12" --segments 48 "${models[@]}" --out "$out/12/report.json"
