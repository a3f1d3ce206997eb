#!/bin/bash
#SBATCH --job-name=foodvision
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@180
#SBATCH --requeue
# Two machines of four GPUs, one worker for each GPU. Three minutes before the time is up every worker gets SIGTERM;
# they stop after the same step, with a checkpoint, and the job, when it is queued again, carries on from there.
set -euo pipefail

run=runs/food101
if [ -e "$run/config.json" ]; then
    asked=(--resume "$run")
else
    asked=(--data food101 --batch-size 256 --fine-tune-learning-rate 0.0014 --run "$run")
fi
# TensorFlow's own ports ask for no secret: the nodes' network has to be one that only people you trust can reach.
secret=$HOME/.foodvision-secret
[ -e "$secret" ] || (umask 077; openssl rand -hex 32 > "$secret")
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

# Each task of srun is a worker: its number and how many there are come from Slurm.
srun --kill-on-bad-exit=1 bash -c \
    'exec foodvision train "$@" --workers "$SLURM_NTASKS" --worker-index "$SLURM_PROCID"' \
    foodvision "${asked[@]}" --coordinator "$first:29400" --secret-file "$secret"
