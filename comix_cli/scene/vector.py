"""Vector files as they arrive: layers, any CRS or none, invalid geometries."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import geopandas
import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError
from rasterio.crs import CRS

from comix_cli.errors import LabelError, RasterError
from comix_cli.scene.grid import Grid, crs_label, extent_label, same_crs
from comix_cli.scene.raster import (
    file_fault,
    first_line,
    looks_missing,
    open_raster,
    parse_crs,
    plain_crs,
)

POLYGONAL = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)


@dataclass(frozen=True)
class Words:
    """What messages call a vector file and the options about it.

    Attributes:
        what: Such as 'ground truth'.
        layer: The option that names a layer; None where there is none.
        crs: The option that gives a CRS; None where there is none.
        usual_layer: The layer that is meant where there are several and none is named.
    """

    what: str
    layer: str | None
    crs: str | None
    usual_layer: str | None = None


def read_frame(path: str, layer: str | None, words: Words) -> geopandas.GeoDataFrame:
    """All features of the layer meant.

    Raises:
        LabelError: Missing, not a vector, no such layer, or nothing in it.
    """
    try:
        layers = [str(n) for n, kind in pyogrio.list_layers(path) if kind is not None]
        chosen = _choose_layer(path, layers, layer, words)
        with warnings.catch_warnings():
            # A field of numbers and names comes as text, which is what is wanted.
            warnings.filterwarnings("ignore", "Could not parse column .* as JSON")
            frame = pyogrio.read_dataframe(path, layer=chosen)
    except (DataSourceError, DataLayerError) as error:
        raise _open_error(path, str(error), words) from error
    if not isinstance(frame, geopandas.GeoDataFrame) or frame.empty:
        raise LabelError("holds no features", path=path, remedy="check that it is the right file")
    return frame


def _choose_layer(path: str, layers: list[str], layer: str | None, words: Words) -> str:
    if layer is not None:
        if layer not in layers:
            raise LabelError(
                f"has no layer '{layer}' with geometries", path=path, remedy=_of(layers)
            )
        return layer
    if not layers:
        raise LabelError("holds no geometries", path=path, remedy=_meant(words))
    if len(layers) == 1:
        return layers[0]
    if words.usual_layer is not None and words.usual_layer in layers:
        return words.usual_layer
    remedy = f"{_of(layers)} with {words.layer}"
    if words.layer is None:
        remedy = f"call the one that is the {words.what} '{words.usual_layer}'"
    raise LabelError("holds several layers", path=path, remedy=remedy)


def _of(layers: list[str]) -> str:
    return f"name one of {', '.join(layers)}"


def _meant(words: Words) -> str:
    return f"give the {words.what} as a vector file, such as a GeoPackage or a Shapefile"


def _open_error(path: str, message: str, words: Words) -> LabelError:
    if looks_missing(path):
        return LabelError("there is no such file", path=path or "''", remedy="check the path")
    fault = file_fault(path)
    if fault is not None:
        return LabelError(fault[0], path=path, remedy=fault[1])
    if "not recognized" in message or "not a supported" in message:
        remedy = f"it is a raster: {_meant(words)}" if _is_raster(path) else _meant(words)
        return LabelError("is not a vector file that GDAL can read", path=path, remedy=remedy)
    return LabelError(f"cannot be read ({first_line(message, path)})", path=path)


def is_raster_file(path: str) -> bool:
    """Whether GDAL reads a file as a raster and finds no vectors in it."""
    try:
        if any(kind is not None for _, kind in pyogrio.list_layers(path)):
            return False
    except (DataSourceError, DataLayerError):
        pass
    return _is_raster(path)


def _is_raster(path: str) -> bool:
    try:
        open_raster(path).close()
    except RasterError:
        return False
    return True


def source_crs(
    path: str, frame: geopandas.GeoDataFrame, given_crs: str | None, grid: Grid, words: Words
) -> tuple[CRS, tuple[str, ...]]:
    """The CRS of the file, given or assumed, and what to tell about it.

    Raises:
        UsageError: `given_crs` is no CRS.
    """
    given = None if given_crs is None else parse_crs(given_crs, words.crs or "CRS")
    # GeoPackages without a CRS say so with one of this name.
    if frame.crs is not None and "undefined" not in str(frame.crs.name).lower():
        own = plain_crs(CRS.from_wkt(frame.crs.to_wkt()))
        if given is None or same_crs(own, given):
            return own, ()
        ignored = f"{words.crs} {given_crs} is ignored"
        return own, (f"{path}: carries {crs_label(own)}, which is used; {ignored}",)
    if given is not None:
        return given, ()
    remedy = f"; give another with {words.crs}" if words.crs else ""
    assumed = f"the raster's ({crs_label(grid.crs)}) is assumed"
    return grid.crs, (f"{path}: has no CRS; {assumed}{remedy}",)


def valid_parts(shapes: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The single parts of all geometries, repaired, and which geometry each is a part of.

    Parts are repaired one by one: that is many times faster than repairing a multipolygon of
    thousands, and where parts of one feature overlap, all of their ground stays in its class.
    """
    parts, part_of = _single_parts(shapes, np.arange(len(shapes)))
    broken = ~np.asarray(shapely.is_valid(parts))
    if not broken.any():
        return parts, part_of
    fixed, fixed_of = _single_parts(shapely.make_valid(parts[broken]), part_of[broken])
    # Repair leaves lines and points over where an area collapses.
    areas = np.asarray(shapely.get_type_id(fixed)) == shapely.GeometryType.POLYGON
    meant = areas | ~np.isin(shapely.get_type_id(shapes[fixed_of]), POLYGONAL)
    merged = np.concatenate([parts[~broken], fixed[meant]])
    merged_of = np.concatenate([part_of[~broken], fixed_of[meant]])
    order = np.argsort(merged_of, kind="stable")
    return merged[order], merged_of[order]


def _single_parts(
    shapes: NDArray[Any], numbers: NDArray[np.int64]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Geometries without multi-parts and collections, nested ones included; empty ones dropped."""
    multiple = shapely.GeometryType.MULTIPOINT
    while (np.asarray(shapely.get_type_id(shapes)) >= multiple).any():
        shapes, index = shapely.get_parts(shapes, return_index=True)
        numbers = numbers[index]
    filled = ~np.asarray(shapely.is_empty(shapes))
    return shapes[filled], numbers[filled]


def reproject(shapes: NDArray[Any], source: CRS, target: CRS) -> NDArray[Any]:
    """The geometries in another CRS."""
    if same_crs(source, target):
        return shapes
    series = geopandas.GeoSeries(shapes, crs=source.to_wkt()).to_crs(target.to_wkt())
    return np.asarray(series.array, dtype=object)


def touching(parts: NDArray[Any], grid: Grid) -> NDArray[np.bool_]:
    """Which geometries have any point on the grid; none that the CRS sends to infinity."""
    finite = np.isfinite(shapely.bounds(parts)).all(axis=1)
    extent = shapely.box(*grid.bounds)
    shapely.prepare(extent)
    found = np.zeros(len(parts), np.bool_)
    found[finite] = shapely.intersects(extent, parts[finite])
    return found


def misses(path: str, parts: NDArray[Any], grid: Grid, words: Words) -> LabelError:
    """The error for geometries none of which lies on the grid."""
    left, bottom, right, top = shapely.total_bounds(parts).tolist()
    return LabelError(
        f"the {words.what} misses the raster in {crs_label(grid.crs)}: it covers "
        f"{extent_label((left, bottom, right, top))}; the raster covers "
        f"{extent_label(grid.bounds)}",
        path=path,
        remedy=f"check its CRS ({words.crs})" if words.crs else "check its CRS",
    )
