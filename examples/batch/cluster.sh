#!/usr/bin/env bash
# The same batch on a Dask cluster: here one of two workers on this machine, elsewhere one that
# dask-jobqueue, dask-kubernetes or your administrators start. Needs comix[dask].
#
#   cluster.sh scenes.csv model.safetensors
set -euo pipefail

table=${1:?usage: cluster.sh TABLE MODEL}
model=${2:?usage: cluster.sh TABLE MODEL}
place=$(mktemp -d)

dask scheduler --scheduler-file "$place/scheduler.json" --port 0 --no-dashboard 2> "$place/log" &
scheduler=$!
trap 'kill "$scheduler"; rm -rf "$place"' EXIT
while [ ! -e "$place/scheduler.json" ]; do sleep 0.2; done
for _ in 1 2; do
    dask worker --scheduler-file "$place/scheduler.json" --nthreads 1 --no-dashboard \
        --local-directory "$place" 2>> "$place/log" &
done

comix batch "$table" -m "$model" --scheduler "$place/scheduler.json"
