"""Fifty small scenes, and a table of them, cut out of the scene of `comix demo`.

`python make_scenes.py comix-demo scenes` writes scenes/scenes.csv and a folder for each scene. With
`--spoil 5`, five of them are broken in ways that happen: a file that is empty, cut off, missing, no
raster, or somewhere else. Without it, everything is whole (again).
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

import rasterio
from affine import Affine
from rasterio.windows import Window, from_bounds

ROWS, COLUMNS = 5, 10
# Pixels of the LiDAR raster; neighbours overlap by half.
HEIGHT, WIDTH = 96, 64


def main() -> None:
    """Cut, spoil, list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo", type=Path, help="the folder that 'comix demo' has written")
    parser.add_argument("scenes", type=Path, help="the folder to write to")
    parser.add_argument("--spoil", type=int, default=0, choices=range(len(FAULTS) + 1))
    arguments = parser.parse_args()
    places = [arguments.scenes / f"{number:02}" for number in range(1, ROWS * COLUMNS + 1)]
    for number, place in enumerate(places):
        cut(arguments.demo, place, *divmod(number, COLUMNS))
    for fault, place in zip(FAULTS[: arguments.spoil], places[3::10], strict=False):
        fault(place)
    write_table(arguments.scenes / "scenes.csv", places)


def cut(demo: Path, place: Path, row: int, column: int) -> None:
    """Write hsi.tif and lidar.tif of one piece."""
    place.mkdir(parents=True, exist_ok=True)
    with rasterio.open(demo / "lidar.tif") as lidar:
        top, left = row * lidar.height // (ROWS + 0.5), column * lidar.width // (COLUMNS + 1)
        window = Window(left, int(top), WIDTH, HEIGHT)
        bounds = rasterio.windows.bounds(window, lidar.transform)
        copy(lidar, window, place / "lidar.tif")
    with rasterio.open(demo / "hsi.tif") as hsi:
        # Whole coarse pixels, so that they cover all of the fine ones.
        around = from_bounds(*bounds, hsi.transform).round_offsets().round_lengths()
        wider = Window(around.col_off, around.row_off, around.width + 1, around.height + 1)
        copy(hsi, wider, place / "hsi.tif")


def copy(source: rasterio.DatasetReader, window: Window, target: Path) -> None:
    """A window of a raster as a file of its own, with the tags of its bands."""
    inside = window.intersection(Window(0, 0, source.width, source.height))
    profile = {
        **source.profile,
        "height": int(inside.height),
        "width": int(inside.width),
        "transform": source.window_transform(inside),
    }
    with rasterio.open(target, "w", **profile) as piece:
        piece.write(source.read(window=inside))
        for band in source.indexes:
            piece.update_tags(band, **source.tags(band))


def write_table(table: Path, places: list[Path]) -> None:
    """A row for each scene; paths are meant from the folder of the table."""
    with table.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(["id", "hsi", "x", "out"])
        for place in places:
            name = place.name
            rows.writerow([name, f"{name}/hsi.tif", f"{name}/lidar.tif", f"{name}/map.tif"])


def empty(place: Path) -> None:
    """A copy that never began."""
    (place / "hsi.tif").write_bytes(b"")


def cut_off(place: Path) -> None:
    """A copy that broke off."""
    raster = place / "hsi.tif"
    raster.write_bytes(raster.read_bytes()[: raster.stat().st_size // 2])


def missing(place: Path) -> None:
    """A file that nobody delivered."""
    (place / "lidar.tif").unlink()


def no_raster(place: Path) -> None:
    """A page of a download site in place of the file."""
    (place / "lidar.tif").write_text("<html>Please log in</html>\n")


def elsewhere(place: Path) -> None:
    """A raster of another place."""
    with rasterio.open(place / "lidar.tif", "r+") as lidar:
        lidar.transform = Affine.translation(50_000, 0) @ lidar.transform


FAULTS: tuple[Callable[[Path], None], ...] = (empty, cut_off, missing, no_raster, elsewhere)


if __name__ == "__main__":
    main()
