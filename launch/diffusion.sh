#!/usr/bin/env bash
# Path planners from nothing to the table: the expert's paths, a predictor, four denoisers, the judgement, the page.
# bash launch/diffusion.sh [OUT] [small|full] — small: an hour on 2 CPU cores; full: for one GPU.
# The same command resumes: paths and training go on where they were stopped, the judgement begins anew.
out="${1:-runs/diffusion}"
size="${2:-small}"
lists=(requirements.txt) backend=numpy
if [ "$size" = full ]; then # jax for CUDA, as launch/gpu.sh
  export VENV="${VENV:-.venv-cuda${CUDA:-13}}"
  lists+=("launch/cuda${CUDA:-13}.txt") backend=jax
fi
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh" "${lists[@]}"
set -euo pipefail
trap 'exit 130' INT TERM # train saves and ends well: without this the script would go on
case "$size" in
  small) suffix=",small" paths=8000 ;;
  full) suffix="" paths=50000 ;;
  *) echo "error: size \"$size\": small or full" >&2; exit 2 ;;
esac
mkdir -p "$out"

run() { "$python" -m "hrm_jax.$1" "${@:2}"; }

[ -e "$out/expert.npz" ] || run paths --count "$paths" --out "$out/expert.npz"

run train --config configs/benchmark.py:discs,lstm --workdir "$out/lstm"
run export --workdir "$out/lstm" --out "$out/lstm.npz"

for variant in hybrid once velocity forecast; do
  run train --config "configs/diffusion.py:$variant$suffix" --workdir "$out/$variant" --config.data.path="$out/expert.npz"
  run export --workdir "$out/$variant" --out "$out/$variant.npz"
done
# One thing changed at a time: replanning alone; the hybrid without guidance by cost, and with one plan only.
run export --workdir "$out/once" --out "$out/receding.npz" --set plan.replan=4
run export --workdir "$out/hybrid" --out "$out/hybrid-unguided.npz" --set plan.cost_guidance=0
run export --workdir "$out/hybrid" --out "$out/hybrid-once.npz" --set plan.replan=0

models=()
for model in once velocity forecast receding hybrid-once hybrid-unguided hybrid; do
  models+=(--model "$out/$model.npz")
done
for planner in guided_line guided_line_replanned; do # with the baselines that every table has
  models+=(--model "$planner")
done
run evaluate --backend "$backend" --protocol paths --predictor "$out/lstm.npz" "${models[@]}" --record 6 --out "$out/paths.report.json"
run report --report "$out/paths.report.json" --workdir "$out/hybrid" --out "$out/page"
