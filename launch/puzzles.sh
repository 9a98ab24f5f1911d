#!/usr/bin/env bash
# A puzzle from nothing to the page: its data, training, every segment judged on held-out puzzles.
# bash launch/puzzles.sh [OUT] [sudoku4|sudoku6|sudoku9|maze8|maze10|city8] [seeds|supervision]: minutes on 2 CPU cores; see
# the configs. seeds: three training seeds; supervision: and as many with the last segment alone graded.
# The same command resumes: data and training go on where they were stopped.
out="${1:-runs/sudoku6}"
puzzle="${2:-sudoku6}"
what="${3:-once}"
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh" requirements.txt
set -euo pipefail
trap 'exit 130' INT TERM # train saves and ends well: without this the script would go on
case "$puzzle" in
  sudoku4) build=(sudoku --size 4 --givens 4:8 --train 2000 --test 500 --augment 30) ;;
  sudoku6) build=(sudoku --size 6 --train 5000 --test 1000 --augment 20) ;;
  sudoku9) build=(sudoku --size 9 --train 5000 --test 1000 --augment 20) ;;
  maze8) build=(maze --size 8 --shortest 8 --train 40000 --test 1000) ;;
  maze10) build=(maze --size 10 --shortest 12 --train 40000 --test 1000) ;;
  city8) build=(city --size 8 --hours 8 17 18 --apart 8: --train 40000 --test 1000) ;;
  *) echo "error: puzzle \"$puzzle\": sudoku4, sudoku6, sudoku9, maze8, maze10 or city8" >&2; exit 2 ;;
esac
case "$puzzle" in
  sudoku*) segments=64 ;;
  *) segments=4 ;; # as in training: with more these forget what they had
esac
case "$what:$puzzle" in
  once:* | seeds:* | supervision:sudoku[46] | supervision:maze8) ;;
  supervision:*) echo "error: supervision is of sudoku4, sudoku6 or maze8" >&2; exit 2 ;;
  *) echo "error: \"$what\": seeds or supervision" >&2; exit 2 ;;
esac
data="$out/data"
models=() workdirs=()

run() { "$python" -m "hrm_jax.$1" "${@:2}"; }

learn() { # NAME CONFIG [FIELD=VALUE ...]
  run train --config "$2" --workdir "$out/$1" --config.data.path="$data" "${@:3}"
  run export --workdir "$out/$1" --out "$out/$1.npz"
  models+=(--model "$1=$out/$1.npz")
  workdirs+=(--workdir "$out/$1")
}

[ -e "$data/test/dataset.json" ] || run puzzles "${build[@]}" --out "$data"
if [ "$what" != once ]; then
  for seed in 0 1 2; do
    learn "every/$seed" "configs/act_$puzzle.py" --config.seed="$seed"
    [ "$what" = seeds ] || learn "last/$seed" "configs/act_$puzzle.py:last" --config.seed="$seed"
  done
else
  learn averaged "configs/act_$puzzle.py"
  run export --workdir "$out/averaged" --weights raw --out "$out/raw.npz"
  models+=(--model "raw=$out/raw.npz")
fi
run solve --data "$data" --segments "$segments" "${models[@]}" --record 6 --out "$out/report.json"
run report --report "$out/report.json" "${workdirs[@]}" --out "$out/page"
