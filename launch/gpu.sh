#!/usr/bin/env bash
# One machine with 1 to 8 (or more) NVIDIA GPUs: one process drives them all.
#   bash launch/gpu.sh --config configs/hrm_full.py --workdir runs/hrm_full
# Installs jax for CUDA 13 (driver 580 or newer); CUDA=12 bash launch/gpu.sh … for older drivers.
# Fewer GPUs: CUDA_VISIBLE_DEVICES=0,1. The same command resumes.
set -euo pipefail
cuda="${CUDA:-13}"
export VENV="${VENV:-.venv-cuda$cuda}"
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh" requirements.txt "launch/cuda$cuda.txt"
export XLA_PYTHON_CLIENT_MEM_FRACTION="${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.92}"
exec "$python" -m hrm_jax.train "$@"
