"""A sample as files: points in a GeoPackage, and a table as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import geopandas
import numpy as np
import pyogrio
import rasterio.warp
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError
from rasterio.crs import CRS
from rasterio.errors import CRSError

from comix_cli.files import output_errors, partial_folder, publish_all, write_failure
from comix_cli.mapping.cog import GDAL_ERRORS
from comix_cli.mapping.polygons import GPKG_VERSION
from comix_cli.scene.grid import Grid

LAYER = "sample"
_DESCRIPTION = "Stratified random sample of a map; what is seen at a point goes into 'class'"
_WGS84 = CRS.from_epsg(4326)


@dataclass(frozen=True)
class Stratum:
    """One stratum of a sample.

    Attributes:
        code: Its code in the raster of the strata.
        name: Its name.
        pixels: Pixels that could be drawn.
        samples: Pixels that are drawn.
    """

    code: int
    name: str
    pixels: int
    samples: int

    @property
    def probability(self) -> float:
        """The probability of each of its pixels to be drawn."""
        return self.samples / self.pixels


def sample_frame(
    strata: Sequence[Stratum],
    places: Mapping[int, NDArray[np.int64]],
    order: NDArray[np.int64],
    grid: Grid,
) -> geopandas.GeoDataFrame:
    """The drawn pixels as points at their centres.

    Args:
        strata: The strata.
        places: By code of the stratum its drawn pixels, as `row * W + column`.
        order: The order of the points: numbers of the pixels, stratum after stratum.
        grid: The grid of the map.

    Returns:
        One row for each point: `sample_id` from 1, `class` (empty, for the interpreter), `stratum`,
        `stratum_name`, `stratum_pixels`, `stratum_samples`, `inclusion_probability`, `row`, `col`
        (from 0), `lon` and `lat` in degrees (WGS 84; NaN where the CRS leads to none).
    """
    counts = [stratum.samples for stratum in strata]
    rows, cols = np.divmod(np.concatenate([places[s.code] for s in strata])[order], grid.width)
    x, y = _centres(grid, rows, cols)
    lon, lat = _degrees(grid.crs, x, y)

    def of_stratum(values: Sequence[object], dtype: type = np.int64) -> NDArray[np.generic]:
        return np.repeat(np.array(values, dtype), counts)[order]

    columns = {
        "sample_id": np.arange(1, len(order) + 1),
        "class": np.full(len(order), None, object),
        "stratum": of_stratum([s.code for s in strata]),
        "stratum_name": of_stratum([s.name for s in strata], object),
        "stratum_pixels": of_stratum([s.pixels for s in strata]),
        "stratum_samples": of_stratum(counts),
        "inclusion_probability": of_stratum([s.probability for s in strata], np.float64),
        "row": rows,
        "col": cols,
        "lon": lon,
        "lat": lat,
    }
    return geopandas.GeoDataFrame(columns, geometry=shapely.points(x, y), crs=grid.crs.to_wkt())


def _centres(
    grid: Grid, rows: NDArray[np.int64], cols: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    t, right, down = grid.transform, cols + 0.5, rows + 0.5
    return t.a * right + t.b * down + t.c, t.d * right + t.e * down + t.f


def _degrees(
    crs: CRS, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitudes and latitudes; NaN where there are none."""
    try:
        lon, lat = (np.array(v) for v in rasterio.warp.transform(crs, _WGS84, x, y))
    except (CRSError, *GDAL_ERRORS):  # such as a local CRS that nobody has placed
        return np.full(x.shape, np.nan), np.full(x.shape, np.nan)
    there = np.isfinite(lon) & np.isfinite(lat)
    return np.where(there, lon, np.nan), np.where(there, lat, np.nan)


def write_sample(
    frame: geopandas.GeoDataFrame, path: Path, table: Path | None, metadata: Mapping[str, str]
) -> None:
    """Write both files or none of them.

    Args:
        frame: What `sample_frame` makes.
        path: The GeoPackage; its layer is called `sample`.
        table: A CSV of the same columns, with `x` and `y` in the map's CRS; None for none.
        metadata: What the GeoPackage says of its origin.

    Raises:
        OutputError: One cannot be written.
    """
    with ExitStack() as stack:
        partial = stack.enter_context(partial_folder(path)) / path.name
        with output_errors(path):
            _write_points(frame, partial, path, metadata)
        finished = [(partial, path.resolve())]
        if table is not None:
            partial = stack.enter_context(partial_folder(table)) / table.name
            with output_errors(table):
                _write_table(frame, partial)
            finished.insert(0, (partial, table.resolve()))
        publish_all(finished)


def _write_points(
    frame: geopandas.GeoDataFrame, partial: Path, target: Path, metadata: Mapping[str, str]
) -> None:
    try:
        pyogrio.write_dataframe(
            frame,
            partial,
            layer=LAYER,
            driver="GPKG",
            geometry_type="Point",
            dataset_options={"VERSION": GPKG_VERSION},
            layer_options={"DESCRIPTION": _DESCRIPTION},
            layer_metadata=dict(metadata),
        )
    except (DataSourceError, DataLayerError) as error:
        raise write_failure(error, target) from error


def _write_table(frame: geopandas.GeoDataFrame, partial: Path) -> None:
    table = frame.drop(columns="geometry")
    table["x"], table["y"] = frame.geometry.x, frame.geometry.y
    table.to_csv(partial, index=False, lineterminator="\n", encoding="utf-8")
