#!/usr/bin/env bash
# Several GPU machines under Slurm: one task a machine, each driving its GPUs; jax finds the others from Slurm.
#   sbatch --nodes=2 launch/slurm.sh --config configs/hrm_full.py --workdir runs/hrm_full
# The workdir must be on a disk that all machines see. Slurm's SIGTERM before a time limit saves the run
# (--signal=TERM@120 below); --requeue starts it again, and it resumes.
#SBATCH --job-name=hrm_jax
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=08:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"
# Install once, before the tasks start: they share the folder.
cuda="${CUDA:-13}"
export VENV="${VENV:-.venv-cuda$cuda}"
. launch/setup.sh requirements.txt "launch/cuda$cuda.txt"
srun --kill-on-bad-exit=1 "$python" -m hrm_jax.train --distributed "$@"
