"""What tests of `--sharpen` in other commands share."""

from __future__ import annotations

from pathlib import Path

import geopandas
import shapely
from pairs import GSD, painted, write_pair
from scenes import CRS, ORIGIN

SCENE = ("hsi.tif", "x.tif", "--threads", "1")
LABELS = ("--gt", "labels.gpkg", "--field", "class")
NANO = ("--preset", "nano", "--steps", "2", "--validation", "none", "--window", "32",
        "--chip", "32")  # fmt: skip
TRAIN = ("train", *SCENE, *LABELS, *NANO)


def write_labels(path: Path, names: tuple[str, str] = ("a", "b"), shift: float = 0.0) -> Path:
    """Two classes, in the left and in the right of the pair; `shift` metres further east."""
    left, top = ORIGIN[0] + shift, ORIGIN[1]
    halves = [
        shapely.box(left, top - 80 * GSD, left + 30 * GSD, top),
        shapely.box(left + 45 * GSD, top - 80 * GSD, left + 80 * GSD, top),
    ]
    geopandas.GeoDataFrame({"class": names}, geometry=halves, crs=CRS).to_file(path)
    return path


def write_place(folder: Path) -> Path:
    """hsi.tif and x.tif, a pair, and labels.gpkg."""
    write_pair(folder, painted())
    write_labels(folder / "labels.gpkg")
    return folder
