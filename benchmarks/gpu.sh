#!/usr/bin/env bash
# hrm_full on one GPU: how fast it trains, then a training run as long as the time allows.
#
#   bash benchmarks/gpu.sh OUT_DIR [MINUTES] [all|measure|train] [--tiny] [--config act_maze]
#
# MINUTES (default 9) bounds the whole command. `measure` and `train` in two commands give each all of its
# minutes; `train` then picks the fastest measured variant from OUT_DIR/gpu.json. Everything is printed as
# it comes and kept in OUT_DIR: gpu.json (figures), train.log, metrics.jsonl, model.npz. The closed-loop
# evaluation needs no GPU: python -m hrm_jax.evaluate --model OUT_DIR/model.npz …
set -euo pipefail
[[ $# -ge 1 ]] || { sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2; }
out=$(realpath -m "$1")
minutes=${2:-9}
part=${3:-all}
shift $(( $# < 3 ? $# : 3 ))
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
# The step's activations take most of the card; by default jax takes three quarters of it.
export XLA_PYTHON_CLIENT_MEM_FRACTION="${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.95}"
exec "${PYTHON:-python3}" benchmarks/gpu.py --out "$out" --minutes "$minutes" --part "$part" "$@"
