#!/usr/bin/env bash
# Shares of a batch as an array of jobs. When all are over, the same command without --shard sums
# them up, and does what failed once more.
#
#   sbatch --array=1-8 slurm.sh scenes.csv model.safetensors
#   sbatch --array=3 slurm.sh scenes.csv model.safetensors 8      one share once more: tell of how many
#
#SBATCH --job-name=comix
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=08:00:00
# Five minutes before the end, so that what is half done is taken back in order.
#SBATCH --signal=B:TERM@300
set -euo pipefail

table=${1:?usage: slurm.sh TABLE MODEL [SHARES]}
model=${2:?usage: slurm.sh TABLE MODEL [SHARES]}
shares=${3:-${SLURM_ARRAY_TASK_COUNT:-}}

# exec: the signal reaches comix itself.
exec comix batch "$table" -m "$model" --threads "${SLURM_CPUS_PER_TASK:-1}" \
    --shard "${SLURM_ARRAY_TASK_ID:?run it with sbatch --array=1-N}/$shares"
