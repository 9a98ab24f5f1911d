#!/usr/bin/env bash
# From a fresh clone to a page: trains a small HRM and an LSTM of the same size, lets them steer a space-time
# A* planner next to five trivial predictors and the oracle, judges all by two protocols, and shows them at work.
# 2 CPU cores, about 3 minutes, install included. Leaves everything under runs/quickstart/. Run again to resume.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh" requirements.txt launch/plots.txt
out=runs/quickstart
baselines="kalman reflection constant_velocity frozen blind oracle"

for model in hrm lstm; do
  "$python" -m hrm_jax.train --config "configs/quickstart.py:$model" --workdir "$out/$model"
  "$python" -m hrm_jax.export --workdir "$out/$model" --out "$out/$model/model.npz"
done

for protocol in standard hrm-cloud; do
  case $protocol in hrm-cloud) name=hrm-cloud/2025-12 ;; *) name=$protocol ;; esac
  "$python" -m hrm_jax.evaluate --protocol "$name" --episodes 200 --record 6 --out "$out/$protocol.report.json" \
    --model "$out/hrm/model.npz" --model "$out/lstm/model.npz" $(printf -- '--model %s ' $baselines) >/dev/null
done

reports="--report $out/standard.report.json --report $out/hrm-cloud.report.json"
"$python" -m hrm_jax.report $reports
"$python" -m hrm_jax.report $reports --workdir "$out/hrm" --workdir "$out/lstm" --out "$out/page"
echo "Open $PWD/$out/page/index.html in a browser: the robot, the verdict, tables and charts."
