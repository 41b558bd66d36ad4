"""A class map as polygons in a GeoPackage, written as they are found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj import Geod
from rasterio.errors import CRSError

from comix_cli.files import output_errors, write_failure
from comix_cli.mapping.patches import Patches, trace_patches
from comix_cli.scene.grid import Grid
from comix_cli.scene.legend import Legend

# A strip of noise of this size makes a quarter of a million polygons, some hundred MB.
# Some names, `gpkg_...` among them, are refused; a file's own name may be one of those.
LAYER = "patches"
STRIP_PIXELS = 500_000
# GDAL takes a moment for every batch, however small.
_BATCH = 50_000
# What programs of 2018 read without a warning.
GPKG_VERSION = "1.2"
_FIELDS = ("code", "class", "area_m2")


def write_polygons(
    path: Path,
    strips: Iterable[tuple[int, NDArray[np.integer]]],
    grid: Grid,
    legend: Legend,
    target: Path,
) -> int:
    """Write one polygon for each patch of a class.

    A patch is what hangs together over pixel edges. Fields are `code`, `class` and `area_m2`:
    square metres in the CRS, or on its ellipsoid where its coordinates are degrees. Nodata is no
    polygon.

    Args:
        path: A new GeoPackage; its layer is called `patches`.
        strips: The map from top to bottom: first rows, and codes `(rows, W)`.
        grid: Where the map lies.
        legend: The names of the codes.
        target: What an error calls the file.

    Returns:
        How many polygons there are.

    Raises:
        OutputError: The disk is full, or fails.
    """
    total = 0
    with output_errors(target):
        for patches in _batched(trace_patches(strips)):
            _append(path, target, patches, grid, legend, is_first=total == 0)
            total += len(patches.codes)
        if total == 0:
            nothing = Patches(np.empty(0, np.int64), np.empty(0, object))
            _append(path, target, nothing, grid, legend, is_first=True)
    return total


def areas_m2(polygons: NDArray[Any], grid: Grid) -> NDArray[np.float64]:
    """Areas of polygons in pixel coordinates, `(n,)` square metres.

    Pixels of a projected CRS have the area that the CRS gives them; corners in degrees are joined
    by geodesics on the CRS's ellipsoid.
    """
    if not grid.crs.is_geographic:
        pixels: NDArray[np.float64] = shapely.area(polygons)
        return pixels * grid.gsd_m**2
    radians = float(grid.crs.units_factor[1])
    geod = _ellipsoid(grid)
    rings, polygon_of = shapely.get_rings(_on_the_ground(polygons, grid), return_index=True)
    areas = np.array([_ring_area(geod, ring, np.degrees(radians)) for ring in rings], np.float64)
    # The first ring of a polygon is its outline, the others are its holes.
    areas[np.diff(polygon_of, prepend=-1) == 0] *= -1
    total: NDArray[np.float64] = np.zeros(len(polygons))
    np.add.at(total, polygon_of, areas)
    return total


def _ring_area(geod: Geod, ring: Any, degrees: float) -> float:
    lon, lat = (shapely.get_coordinates(ring) * degrees).T
    return abs(float(geod.polygon_area_perimeter(lon, lat)[0]))


def _ellipsoid(grid: Grid) -> Geod:
    from pyproj import CRS  # noqa: PLC0415 (its name is rasterio's elsewhere)

    found = CRS.from_wkt(grid.crs.to_wkt()).get_geod()
    return found or Geod(ellps="WGS84")


def _on_the_ground(polygons: NDArray[Any], grid: Grid) -> NDArray[Any]:
    t = grid.transform
    matrix = np.array([[t.a, t.d], [t.b, t.e]])
    moved: NDArray[Any] = shapely.transform(polygons, lambda p: p @ matrix + (t.c, t.f))
    return moved


def _batched(found: Iterable[Patches]) -> Iterator[Patches]:
    """The same patches in fewer and larger pieces, none of them empty."""
    waiting: list[Patches] = []
    for patches in found:
        waiting.append(patches)
        if sum(len(p.codes) for p in waiting) >= _BATCH:
            yield _together(waiting)
            waiting = []
    if any(len(p.codes) for p in waiting):
        yield _together(waiting)


def _together(pieces: list[Patches]) -> Patches:
    return Patches(
        np.concatenate([p.codes for p in pieces]), np.concatenate([p.polygons for p in pieces])
    )


def _append(
    path: Path, target: Path, patches: Patches, grid: Grid, legend: Legend, *, is_first: bool
) -> None:
    names = dict(zip(legend.codes, legend.names, strict=True))
    columns = [
        patches.codes.astype(np.int32),
        np.array([names[int(code)] for code in patches.codes], object),
        areas_m2(patches.polygons, grid),
    ]
    try:
        pyogrio.raw.write(
            path,
            shapely.to_wkb(_on_the_ground(patches.polygons, grid)),
            columns,
            _FIELDS,
            layer=LAYER,
            driver="GPKG",
            geometry_type="Polygon",
            crs=grid.crs.to_wkt(),
            append=not is_first,
            **({"dataset_options": {"VERSION": GPKG_VERSION}} if is_first else {}),
        )
    except (DataSourceError, DataLayerError, CRSError) as error:
        raise write_failure(error, target) from error
