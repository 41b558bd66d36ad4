#!/usr/bin/env bash
# A night's batch as it happens: fifty scenes, five of them broken, mended in the morning.
#
#   examples/batch/run.sh [FOLDER]        (leaves everything in FOLDER, batch-demo if not given)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-batch-demo}
mkdir -p "$folder"
cd "$folder"

[ -e comix-demo/model.safetensors ] || comix demo comix-demo --overwrite
[ -e scenes/scenes.csv ] || python "$here/make_scenes.py" comix-demo scenes --spoil 5

# 45 maps, and exit code 3: scenes/scenes-batch/failed.csv names the other five, and why.
code=0
comix batch scenes/scenes.csv -m comix-demo/model.safetensors --workers 2 || code=$?
[ "$code" -eq 3 ] || { echo "expected exit code 3, not $code" >&2; exit 1; }
grep failed scenes/scenes-batch/summary.csv

# The files have been delivered again; the same command does only what is not done.
python "$here/make_scenes.py" comix-demo mended
while IFS=, read -r id _; do
    [ "$id" = id ] || cp "mended/$id/"*.tif "scenes/$id/"
done < scenes/scenes-batch/failed.csv
comix batch scenes/scenes.csv -m comix-demo/model.safetensors --workers 2
