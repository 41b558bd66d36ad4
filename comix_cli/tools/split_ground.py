"""Ground truth that is going to be split: read in metres, cut to the raster where there is one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import geopandas
import numpy as np
import shapely
from affine import Affine
from rasterio.crs import CRS

from comix_cli.errors import LabelError
from comix_cli.progress import Progress
from comix_cli.scene.grid import Bounds, Grid, crs_label, extent_label, same_crs
from comix_cli.scene.labels import GroundTruth, read_ground_truth
from comix_cli.scene.metric import NOWHERE, metric_crs
from comix_cli.scene.pieces import clipped
from comix_cli.scene.raster import inspect_raster, parse_crs, plain_crs
from comix_cli.scene.vector import Words, read_frame, reproject
from comix_cli.tools.reference import TruthOptions, tell_of_truth

_WORDS = Words("ground truth", layer="--layer", crs="--gt-crs")


@dataclass(frozen=True)
class Ground:
    """What is going to be split.

    Attributes:
        frame: All features with their attributes, as in the file.
        truth: Their labelled geometries in a CRS whose unit is the metre.
        grid: The grid of the raster that it is for, as that lies; None where there is none.
    """

    frame: geopandas.GeoDataFrame
    truth: GroundTruth
    grid: Grid | None

    @property
    def has_place(self) -> bool:
        """False where no CRS is known."""
        return not same_crs(self.truth.source_crs, NOWHERE)


def read_ground(
    options: TruthOptions, raster: str | None, src_crs: str | None, progress: Progress
) -> Ground:
    """Read ground truth, with metres for units whatever its CRS.

    Args:
        options: The ground truth.
        raster: What lies outside this raster is left out; None for everything.
        src_crs: The CRS of a raster that carries none.
        progress: Who hears about what is changed or left out.

    Raises:
        ComixError: A file cannot be used, or ground truth and raster lie apart.
    """
    grid = None if raster is None else inspect_raster(raster, src_crs=src_crs).grid
    frame = read_frame(options.path, options.layer, _WORDS)
    source = _source_crs(frame, options, grid, progress)
    bounds = _bounds(frame, options.path)
    _check_degrees(bounds, source, options.path)
    metric = metric_crs(source, bounds)
    extent = _outline(bounds, source, metric) if grid is None else footprint(grid, metric)
    truth = read_ground_truth(
        options.path,
        options.field,
        _grid_around(extent, metric),
        gt_crs=options.crs or source.to_wkt(),
        layer=options.layer,
    )
    tell_of_truth(replace(truth, outside=truth.outside if grid else 0), progress)
    return Ground(frame, clipped(truth, extent) if grid else truth, grid)


def footprint(grid: Grid, crs: CRS) -> Any:
    """The ground of a grid as a polygon in another CRS."""
    corners = ((0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height))
    return _placed(shapely.Polygon([grid.transform * corner for corner in corners]), grid.crs, crs)


def _outline(bounds: Bounds, source: CRS, target: CRS) -> Any:
    """A box as a polygon in another CRS; a point or a line gets some ground around it."""
    left, bottom, right, top = bounds
    margin = max(right - left, top - bottom, 1e-4) / 100
    return _placed(shapely.box(*bounds).buffer(margin), source, target)


def _placed(polygon: Any, source: CRS, target: CRS) -> Any:
    # Straight edges are curved in another CRS.
    dense = shapely.segmentize(polygon, polygon.length / 100)
    return reproject(np.array([dense], object), source, target)[0]


def _grid_around(extent: Any, crs: CRS) -> Grid:
    """One pixel as large as all the ground: what a reader of ground truth wants to know of it."""
    left, bottom, right, top = extent.bounds
    return Grid(crs, Affine(right - left, 0, left, 0, bottom - top, top), 1, 1)


def _bounds(frame: geopandas.GeoDataFrame, path: str) -> Bounds:
    left, bottom, right, top = map(float, frame.total_bounds)
    if not all(np.isfinite([left, bottom, right, top])):
        raise LabelError("no feature has a geometry", path=path)
    return left, bottom, right, top


def _check_degrees(bounds: Bounds, source: CRS, path: str) -> None:
    """Refuse metres in a CRS of degrees: what GeoJSON without a CRS is taken for.

    Raises:
        LabelError: No such place is on the Earth.
    """
    most = 90 / math.degrees(source.units_factor[1]) if source.is_geographic else math.inf
    if max(abs(bounds[1]), abs(bounds[3])) > most * 1.01:
        raise LabelError(
            f"its coordinates are no degrees ({extent_label(bounds)}), but its CRS is "
            f"{crs_label(source)}",
            path=path,
            remedy="write it with its true CRS, for example with ogr2ogr -a_srs",
        )


def _source_crs(
    frame: geopandas.GeoDataFrame, options: TruthOptions, grid: Grid | None, progress: Progress
) -> CRS:
    """The CRS of the file, the one given for it, the raster's, or none on Earth."""
    if frame.crs is not None and "undefined" not in str(frame.crs.name).lower():
        return plain_crs(CRS.from_wkt(frame.crs.to_wkt()))
    if options.crs is not None:
        return parse_crs(options.crs, "--gt-crs")
    if grid is not None:
        progress.warn(
            f"{options.path}: has no CRS; the raster's ({crs_label(grid.crs)}) is assumed; give "
            "another with --gt-crs"
        )
        return grid.crs
    left, bottom, right, top = _bounds(frame, options.path)
    if left >= -180 and right <= 360 and bottom >= -90 and top <= 90:
        raise LabelError(
            "has no CRS, and its coordinates may be degrees",
            path=options.path,
            remedy="give the CRS with --gt-crs, such as EPSG:4326",
        )
    progress.warn(
        f"{options.path}: has no CRS; its coordinates are taken as metres; give one with --gt-crs"
    )
    return NOWHERE
