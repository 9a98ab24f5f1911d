#!/usr/bin/env bash
# A TPU VM or pod slice: every worker runs this same command, and jax finds the others by itself.
#   gcloud compute tpus tpu-vm ssh NAME --zone ZONE --worker=all \
#     --command 'cd hrm_jax && bash launch/tpu_pod.sh --config configs/hrm_full.py --workdir /mnt/shared/hrm_full'
# The workdir must be one that all workers see. If a worker dies, the others end too (jax has no way to go on
# without it): run the same command again, and it resumes from the last checkpoint.
set -euo pipefail
export VENV="${VENV:-.venv-tpu}"
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh" requirements.txt launch/tpu.txt
exec "$python" -m hrm_jax.train --distributed "$@"
