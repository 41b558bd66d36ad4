"""How fast a large map is compared with many polygons, and in how much memory, beside OTB.

Run on a quiet machine, with Orfeo ToolBox installed (Debian's otb-bin)::

    python tests/benchmarks/bench_evaluate.py
    python tests/benchmarks/bench_evaluate.py --side 5000 --polygons 1000

Both are processes of their own and take turns; their confusion matrices must be equal.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import tempfile
from pathlib import Path

import geopandas
import numpy as np
import rasterio
import shapely
from affine import Affine
from benchmarks.bench_map import COMIX, Run, run
from rasterio.windows import Window

OTB = "otbcli_ComputeConfusionMatrix"
CLASSES = 6
PATCH = 50  # pixels on a side of what the map shows as one class
STRIP = 500
RESOLUTION = 0.5


def write_map(path: Path, side: int, rng: np.random.Generator) -> None:
    """A map of patches with some salt and pepper, and a frame without data."""
    patches = rng.integers(1, CLASSES + 1, (side // PATCH, side // PATCH), np.uint8)
    profile = {
        "driver": "GTiff", "width": side, "height": side, "count": 1, "dtype": "uint8",
        "crs": "EPSG:32633", "nodata": 0, "tiled": True, "blockxsize": 512, "blockysize": 512,
        "compress": "deflate",
        "transform": Affine(RESOLUTION, 0, 380_000, 0, -RESOLUTION, 5_820_000),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        for row in range(0, side, STRIP):
            rows = np.repeat(patches[row // PATCH : (row + STRIP) // PATCH], PATCH, axis=0)
            codes = np.repeat(rows, PATCH, axis=1)
            noise = rng.random(codes.shape, np.float32) < 0.02
            codes[noise] = rng.integers(1, CLASSES + 1, int(noise.sum()), np.uint8)
            codes[:, :100] = 0
            dataset.write(codes, 1, window=Window(0, row, side, len(codes)))


def write_polygons(path: Path, side: int, count: int, rng: np.random.Generator) -> None:
    """Polygons of nine corners, each in a cell of its own, so that none overlap."""
    across = int(np.ceil(np.sqrt(count)))
    cell = side / across * RESOLUTION
    places = np.array([divmod(i, across) for i in range(count)])
    centres = (places[:, ::-1] + 0.5) * cell * (1, -1) + (380_000, 5_820_000)
    angles = np.sort(rng.uniform(0, 2 * np.pi, (count, 9)), axis=1)
    radii = rng.uniform(0.1, 0.48, (count, 9)) * cell
    corners = centres[:, None] + radii[..., None] * np.stack([np.cos(angles), np.sin(angles)], -1)
    classes = rng.integers(1, CLASSES + 1, count)
    frame = geopandas.GeoDataFrame(
        {"class": classes}, geometry=shapely.polygons(corners), crs="EPSG:32633"
    )
    frame.to_file(path)


def comix(folder: Path) -> Run:
    """`comix evaluate`, its estimates, intervals and HTML report included."""
    return run(
        *COMIX, "evaluate", str(folder / "map.tif"), "--gt", str(folder / "truth.shp"),
        "-o", str(folder / "comix.json"), "--overwrite", "-q",
    )  # fmt: skip


def otb(folder: Path) -> Run:
    """Orfeo ToolBox' matrix of the same two files."""
    return run(
        OTB, "-in", str(folder / "map.tif"), "-out", str(folder / "otb.csv"), "-ref", "vector",
        "-ref.vector.in", str(folder / "truth.shp"), "-ref.vector.field", "class",
        "-nodatalabel", "0", "-ram", "1000",
    )  # fmt: skip


def check_equal(folder: Path) -> None:
    """Both count the same."""
    ours = json.loads((folder / "comix.json").read_text())["confusion_matrix"]["counts"]
    lines = [line for line in (folder / "otb.csv").read_text().splitlines() if line[0] != "#"]
    theirs = [[int(cell) for cell in row] for row in csv.reader(lines)]
    if ours != theirs:
        raise SystemExit(f"the matrices differ:\n{ours}\n{theirs}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--polygons", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_map(folder / "map.tif", asked.side, rng)
        write_polygons(folder / "truth.shp", asked.side, asked.polygons, rng)
        sides = {"comix evaluate": comix}
        if shutil.which(OTB):
            sides[OTB] = otb
        runs: dict[str, list[Run]] = {label: [] for label in sides}
        for _ in range(asked.rounds):
            for label, measure in sides.items():
                runs[label].append(measure(folder))
        if OTB in runs:
            check_equal(folder)
    print(f"{asked.side} x {asked.side} pixels, {asked.polygons} polygons")
    for label, found in runs.items():
        best = min(each.wall_s for each in found)
        print(f"{label:32} {best:7.1f} s  {max(each.peak_mb for each in found):7.0f} MB")


if __name__ == "__main__":
    main()
