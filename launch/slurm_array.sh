#!/usr/bin/env bash
# One line of a list of commands under Slurm, line N as task N of a job array (docs/scaling.md):
#   python -m hrm_jax.sweep … --list >runs.txt
#   sbatch --gpus-per-node=1 --array=1-$(wc -l <runs.txt)%16 launch/slurm_array.sh runs.txt
# Without --gpus-per-node: CPUs alone. Options of sbatch replace those below. %16: so many tasks at a time.
# Before the time limit (USR1) or a preemption (TERM) the command is told to save itself; after a time limit the
# task is put in the queue again, after a preemption or the end of a machine Slurm does that, and it resumes.
#SBATCH --job-name=hrm_jax
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%A_%a.out
set -euo pipefail
list="${1:-}"
task="${SLURM_ARRAY_TASK_ID:-}"
again=20 # times that one task is put in the queue again at most
if [ ! -r "$list" ] || ! [[ $task =~ ^[1-9][0-9]*$ ]]; then
  echo "error: sbatch --array=1-\$(wc -l <LIST) launch/slurm_array.sh LIST, a file with a command a line" >&2
  exit 2
fi
line="$(sed -n "${task}p" -- "$list")"
if [ -z "$line" ]; then
  echo "error: $list has no line $task" >&2
  exit 2
fi
printf '%s: %s\n' "$HOSTNAME" "$line"

# In a process group of its own, to which signals go; this shell and that of the line wait for the command's end.
set -m
bash -c "trap : TERM; $line" </dev/null &
command=$!
set +m
late=
trap 'late=1; kill -TERM -- "-$command" || true' USR1
trap 'kill -TERM -- "-$command" || true' TERM
status=0
wait "$command" || status=$?
while kill -0 "$command" 2>/dev/null; do # a signal ends `wait`, too
  status=0
  wait "$command" || status=$?
done
if [ -n "$late" ] && [ "${SLURM_RESTART_COUNT:-0}" -lt "$again" ]; then
  scontrol requeue "${SLURM_ARRAY_JOB_ID}_$task"
fi
exit "$status"
