#!/usr/bin/env bash
# The models of `swarm` and `mixed` at 1.8 million parameters, on a GPU: same data, steps and size.
#   bash benchmarks/gpu_models.sh OUT_DIR [SEEDS] [MINUTES]
# Trains in runs/wide, where the same command goes on after MINUTES (default 9) have passed, and leaves the
# reports and the page in OUT_DIR when all is done.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out="$1" seeds="${2:-3}" minutes="${3:-9}"
python="${PYTHON:-python3}"
timeout --signal=TERM "$((60 * minutes))" "$python" -m hrm_jax.sweep --worlds swarm mixed --seeds "$seeds" \
  --models hrm,wide lstm,wide gru,wide transformer,wide --out runs/wide || {
  echo "not done yet ($?): run this command again, it goes on" >&2
  exit 1
}
mkdir -p "$out"
cp -r runs/wide/*.json runs/wide/*.npz runs/wide/report "$out/"
