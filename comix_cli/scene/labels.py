"""Vector ground truth as it arrives: any CRS or none, invalid geometries, classes of any type."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError
from rasterio.crs import CRS

from comix_cli.errors import LabelError
from comix_cli.scene.class_field import choose_field, class_codes
from comix_cli.scene.grid import Grid, crs_label, extent_label, same_crs
from comix_cli.scene.raster import parse_crs, plain_crs

_POLYGONAL = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)


@dataclass(frozen=True)
class GroundTruth:
    """Labelled geometries on the ground of a grid.

    Attributes:
        path: The file.
        field: The attribute that holds the class.
        crs: The CRS of the geometries here, which is the grid's.
        classes: `(code, name)` of every class in the file, ascending by code, whether or not a
            geometry of it lies on the grid.
        geometries: Single-part shapely geometries, on the grid and beyond it, `(n,)`.
        codes: Their class codes, `(n,)` int32, above 0.
        features: Which feature of the file (0-based) each of them is a part of, `(n,)` int64.
        repaired: Features whose geometry was invalid and has been repaired.
        dropped_null: Features without geometry or without class (null, empty, 0 or negative).
        outside: Features that miss the grid wholly.
        warnings: What the user should know, one line each.
        integer_field: True where codes are the field's own numbers.
        source_crs: The CRS of the file, or the one assumed for it.
    """

    path: str
    field: str
    crs: CRS
    classes: tuple[tuple[int, str], ...]
    geometries: NDArray[Any]
    codes: NDArray[np.int32]
    features: NDArray[np.int64]
    repaired: int
    dropped_null: int
    outside: int
    warnings: tuple[str, ...]
    integer_field: bool
    source_crs: CRS

    @cached_property
    def tree(self) -> shapely.STRtree:
        """A spatial index over `geometries`, built when first asked for."""
        return shapely.STRtree(self.geometries)


def read_ground_truth(
    path: str | Path,
    field: str | None,
    grid: Grid,
    *,
    gt_crs: str | None = None,
    layer: str | None = None,
) -> GroundTruth:
    """Read vector ground truth and bring it into the CRS of a grid.

    Args:
        path: Any vector file that GDAL reads.
        field: The attribute that holds the class. None takes the only attribute, or else one that
            is called class, label or the like. Whole numbers are codes themselves; text is
            stripped, sorted naturally and numbered from 1.
        grid: The grid that the labels are for.
        gt_crs: The CRS of a file that carries none; None assumes the grid's, with a warning.
        layer: The layer of a file with several.

    Raises:
        LabelError: Missing, not a vector, no such layer or field, no usable class, or nothing
            that touches the grid.
        UsageError: `gt_crs` is no CRS.
    """
    name = str(path)
    frame = _read_frame(name, layer)
    chosen = choose_field(name, [str(c) for c in frame.columns if c != frame.geometry.name], field)
    coded = class_codes(name, chosen, frame[chosen])
    crs, warnings = _source_crs(name, frame, gt_crs, grid)
    shapes = shapely.force_2d(np.asarray(frame.geometry.array, dtype=object))
    usable = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes)) & (coded.codes > 0)
    if not usable.any():
        raise LabelError(f"no feature has both a geometry and a class in '{chosen}'", path=name)
    numbers = np.flatnonzero(usable)
    invalid = ~np.asarray(shapely.is_valid(shapes[usable]))
    repaired, part_of = _valid_parts(shapes[usable])
    parts = _reproject(repaired, crs, grid.crs)
    touching = _touches(parts, grid)
    if not touching.any():
        raise _misses(name, parts, grid)
    placed = np.isfinite(shapely.bounds(parts)).all(axis=1)
    features = numbers[part_of[placed]]
    return GroundTruth(
        path=name,
        field=chosen,
        crs=grid.crs,
        classes=coded.classes,
        geometries=parts[placed],
        codes=coded.codes[features],
        features=features,
        repaired=int(invalid.sum()),
        dropped_null=len(shapes) - len(numbers),
        outside=len(numbers) - len(np.unique(part_of[touching])),
        warnings=warnings,
        integer_field=coded.integer_field,
        source_crs=crs,
    )


def _read_frame(path: str, layer: str | None) -> geopandas.GeoDataFrame:
    """All features of the layer meant."""
    try:
        layers = [str(n) for n, kind in pyogrio.list_layers(path) if kind is not None]
        chosen = _choose_layer(path, layers, layer)
        frame = pyogrio.read_dataframe(path, layer=chosen)
    except (DataSourceError, DataLayerError) as error:
        raise _open_error(path, str(error)) from error
    if not isinstance(frame, geopandas.GeoDataFrame) or frame.empty:
        raise LabelError("holds no features", path=path)
    return frame


def _choose_layer(path: str, layers: list[str], layer: str | None) -> str:
    if layer is not None:
        if layer not in layers:
            raise LabelError(
                f"has no layer '{layer}' with geometries", path=path, remedy=_of(layers)
            )
        return layer
    if not layers:
        raise LabelError("holds no geometries", path=path)
    if len(layers) > 1:
        raise LabelError("holds several layers", path=path, remedy=f"{_of(layers)} with --layer")
    return layers[0]


def _of(layers: list[str]) -> str:
    return f"name one of {', '.join(layers)}"


def _open_error(path: str, message: str) -> LabelError:
    looks_local = not path.startswith("/vsi") and ":" not in path
    if not path or (looks_local and not Path(path).exists()):
        return LabelError("there is no such file", path=path or "''", remedy="check the path")
    if "not recognized" in message or "not a supported" in message:
        return LabelError("is not a vector file that GDAL can read", path=path)
    reason = message.replace(f"'{path}'", "it").replace(f"{path}: ", "").strip().splitlines()
    return LabelError(f"cannot be read ({(reason or ['no reason given'])[0]})", path=path)


def _source_crs(
    path: str, frame: geopandas.GeoDataFrame, gt_crs: str | None, grid: Grid
) -> tuple[CRS, tuple[str, ...]]:
    """The CRS of the file, given or assumed, and what to tell about it."""
    given = None if gt_crs is None else parse_crs(gt_crs, "--gt-crs")
    # GeoPackages without a CRS say so with one of this name.
    if frame.crs is not None and "undefined" not in str(frame.crs.name).lower():
        own = plain_crs(CRS.from_wkt(frame.crs.to_wkt()))
        if given is None or same_crs(own, given):
            return own, ()
        text = f"{path}: carries {crs_label(own)}, which is used; --gt-crs {gt_crs} is ignored"
        return own, (text,)
    if given is not None:
        return given, ()
    text = (
        f"{path}: has no CRS; the raster's ({crs_label(grid.crs)}) is assumed; "
        "give another with --gt-crs"
    )
    return grid.crs, (text,)


def _valid_parts(shapes: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
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
    meant = areas | ~np.isin(shapely.get_type_id(shapes[fixed_of]), _POLYGONAL)
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


def _reproject(shapes: NDArray[Any], source: CRS, target: CRS) -> NDArray[Any]:
    if same_crs(source, target):
        return shapes
    series = geopandas.GeoSeries(shapes, crs=source.to_wkt()).to_crs(target.to_wkt())
    return np.asarray(series.array, dtype=object)


def _touches(parts: NDArray[Any], grid: Grid) -> NDArray[np.bool_]:
    """Which geometries have any point on the grid; none that the CRS sends to infinity."""
    finite = np.isfinite(shapely.bounds(parts)).all(axis=1)
    extent = shapely.box(*grid.bounds)
    shapely.prepare(extent)
    touching = np.zeros(len(parts), np.bool_)
    touching[finite] = shapely.intersects(extent, parts[finite])
    return touching


def _misses(path: str, parts: NDArray[Any], grid: Grid) -> LabelError:
    left, bottom, right, top = shapely.total_bounds(parts).tolist()
    return LabelError(
        f"the ground truth misses the raster in {crs_label(grid.crs)}: it covers "
        f"{extent_label((left, bottom, right, top))}; the raster covers "
        f"{extent_label(grid.bounds)}",
        path=path,
        remedy="check its CRS (--gt-crs)",
    )
