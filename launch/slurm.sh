#!/usr/bin/env bash
# One run on several GPU machines under Slurm: a task a machine, which drives its GPUs; jax finds the others from
# Slurm. Many runs, each on a machine or a GPU: launch/slurm_array.sh.
#   sbatch --nodes=2 launch/slurm.sh --config configs/hrm_full.py --workdir runs/hrm_full
# The workdir must be on a disk that all machines see. Slurm's SIGTERM before a time limit saves the run
# (--signal=TERM@120 below): the same command resumes it. After a preemption, or when a machine fails, --requeue
# starts it again by itself.
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
