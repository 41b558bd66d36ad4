"""A map whose pixels are known, and ground truth that is drawn on it in pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import shapely
from affine import Affine
from cli import Outcome, comix
from jsonschema import Draft202012Validator
from maps import map_rows
from numpy.typing import NDArray
from rasterio.crs import CRS
from shapely import Point, box

from comix_cli.accuracy.report_schema import report_schema
from comix_cli.scene.grid import Grid
from comix_cli.scene.legend import Legend

UTM = CRS.from_epsg(32633)
GRID = Grid(UTM, Affine(10, 0, 500_000, 0, -10, 5_800_000), 8, 6)
LEGEND = Legend.from_names([(1, "roof"), (2, "tree"), (5, "water")])
# Left half roof, right half tree, the last row water, one pixel without data.
CODES = np.array([[1, 1, 1, 1, 2, 2, 2, 2]] * 5 + [[5] * 8], np.int32)
CODES[0, 7] = 0


def write_map(folder: Path) -> Path:
    """Write `map.tif` into a folder, which is returned."""
    with map_rows(folder / "map.tif", GRID, LEGEND) as rows:
        rows.write_rows(0, CODES)
    return folder


def at(col: float, row: float) -> Point:
    """A place in pixels of the map."""
    return Point(500_000 + 10 * col, 5_800_000 - 10 * row)


def area(left: float, top: float, right: float, bottom: float) -> shapely.Polygon:
    """A rectangle in pixels of the map."""
    corner, other = at(left, top), at(right, bottom)
    return box(corner.x, other.y, other.x, corner.y)


def write(folder: Path, *rows: tuple[Any, Any], name: str = "truth.gpkg", crs: Any = UTM) -> None:
    """Write shapes and their classes."""
    frame = geopandas.GeoDataFrame(
        {"class": [value for _, value in rows]}, geometry=[shape for shape, _ in rows], crs=crs
    )
    frame.to_file(folder / name)


def label_raster(
    folder: Path, codes: NDArray[Any], grid: Grid = GRID, name: str = "truth.tif", **profile: Any
) -> None:
    """Write a raster of class codes."""
    with rasterio.open(
        folder / name, "w", driver="GTiff", width=grid.width, height=grid.height, count=1,
        dtype=codes.dtype, transform=grid.transform, **{"crs": grid.crs, "nodata": 0, **profile},
    ) as raster:  # fmt: skip
        raster.write(codes, 1)


def sample_frame(*rows: tuple[int, int, str, int, int, str | None]) -> geopandas.GeoDataFrame:
    """Points of column, row, stratum name, stratum, its pixels, and what is there in truth."""
    return geopandas.GeoDataFrame(
        {
            "class": [row[5] for row in rows],
            "stratum_name": [row[2] for row in rows],
            "stratum": [row[3] for row in rows],
            "stratum_pixels": [row[4] for row in rows],
        },
        geometry=[at(row[0] + 0.5, row[1] + 0.5) for row in rows],
        crs=UTM,
    )


def sample(folder: Path, *rows: tuple[int, int, str, int, int, str | None]) -> None:
    """Write `sample.gpkg`; see `sample_frame`."""
    sample_frame(*rows).to_file(folder / "sample.gpkg", layer="sample")


DESIGN = (
    (0, 0, "left", 1, 20, "roof"), (1, 0, "left", 1, 20, "roof"), (2, 0, "left", 1, 20, "tree"),
    (4, 0, "right", 2, 27, "tree"), (5, 0, "right", 2, 27, "roof"), (0, 5, "right", 2, 27, "water"),
)  # fmt: skip


def evaluate(folder: Path, *more: str, truth: str = "truth.gpkg") -> Outcome:
    """Compare `map.tif` with ground truth."""
    return comix(folder, "evaluate", "map.tif", "--gt", truth, "--json", *more)


def document_of(outcome: Outcome) -> dict[str, Any]:
    """The report that a command has printed."""
    assert outcome.code == 0, outcome.err
    found: dict[str, Any] = json.loads(outcome.out)
    Draft202012Validator(report_schema()).validate(found)
    return found


def report(folder: Path, *more: str, truth: str = "truth.gpkg") -> dict[str, Any]:
    """The report of `map.tif`."""
    return document_of(evaluate(folder, *more, truth=truth))


def counts(document: dict[str, Any]) -> list[list[int]]:
    """The confusion matrix of a report."""
    found: list[list[int]] = document["confusion_matrix"]["counts"]
    return found
