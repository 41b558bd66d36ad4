#!/usr/bin/env bash
# One model, every scene of a folder. Scenes that have a map already are skipped, so it can be run
# again after it was stopped; what failed is named at the end and in the exit code.
#
#   map_every_scene.sh model.safetensors scenes/        (scenes/*/hsi.tif and lidar.tif)
set -uo pipefail
shopt -s nullglob
trap 'exit 130' INT TERM

model=${1:?usage: map_every_scene.sh MODEL FOLDER}
folder=${2:?usage: map_every_scene.sh MODEL FOLDER}
failed=()

for scene in "$folder"/*/; do
    [ -e "${scene}map.tif" ] && continue
    comix classify "${scene}hsi.tif" "${scene}lidar.tif" -m "$model" -o "${scene}map.tif" --quiet \
        || failed+=("$scene")
done

if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${failed[@]}" >&2
    exit 3
fi
