"""The area of interest: polygons outside which nothing is classified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS

from comix_cli.errors import LabelError
from comix_cli.scene.grid import Grid, bounds_in, same_crs
from comix_cli.scene.labels import GroundTruth
from comix_cli.scene.vector import (
    POLYGONAL,
    Words,
    misses,
    read_frame,
    reproject,
    source_crs,
    touching,
    valid_parts,
)
from comix_cli.scene.windows import Window

_WORDS = Words("area of interest", layer="--mask-layer", crs=None)


@dataclass(frozen=True)
class Area:
    """Polygons of an area of interest on a grid.

    Attributes:
        grid: The grid.
        polygons: The polygons as ground truth of a single class.
    """

    grid: Grid
    polygons: GroundTruth

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know, one line each."""
        return self.polygons.warnings

    def inside(self, window: Window) -> NDArray[np.bool_]:
        """`(H, W)`, True where a pixel's centre lies in a polygon; the same in every window."""
        inside: NDArray[np.bool_] = self.polygons.burn(self.grid, window).labels > 0
        return inside

    def touches(self, window: Window) -> bool:
        """Whether a polygon comes near the window; where not, no pixel of it is inside."""
        # One pixel around it, so that rounding can hide nothing.
        left, bottom, right, top = self.grid.window_bounds(window)
        xres, yres = self.grid.resolution
        around = shapely.box(left - xres, bottom - yres, right + xres, top + yres)
        return bool(self.polygons.tree.query(around, predicate="intersects").size)


def read_area(path: str, grid: Grid, *, layer: str | None = None) -> Area:
    """Read the polygons of a vector file onto a grid.

    Args:
        path: Any vector file that GDAL reads, in any CRS, the grid's where it carries none;
            invalid geometries are repaired.
        grid: Where the area is wanted.
        layer: The layer of a file with several.

    Raises:
        LabelError: Missing, not a vector, no such layer, no polygons, or none on the grid.
    """
    frame = read_frame(path, layer, _WORDS)
    source, warnings = source_crs(path, frame, None, grid, _WORDS)
    shapes = shapely.force_2d(np.asarray(frame.geometry.array, dtype=object))
    numbers = np.flatnonzero(_is_polygonal(shapes))
    if not numbers.size:
        raise LabelError("holds no polygons", path=path, remedy="give the area as polygons")
    broken = ~np.asarray(shapely.is_valid(shapes[numbers]))
    parts, part_of = valid_parts(shapes[numbers])
    near, part_of = _near(parts, part_of, source, grid)
    placed = reproject(near, source, grid.crs)
    here = touching(placed, grid)
    if not here.any():
        raise misses(path, reproject(parts, source, grid.crs), grid, _WORDS)
    return Area(
        grid,
        GroundTruth(
            path=path,
            field="",
            crs=grid.crs,
            classes=((1, "inside"),),
            # What misses the grid is of no use: a country's file may be larger than the scene's.
            geometries=placed[here],
            codes=np.ones(int(here.sum()), np.int32),
            features=numbers[part_of[here]],
            repaired=int(broken.sum()),
            dropped_null=len(shapes) - len(numbers),
            outside=len(numbers) - len(np.unique(part_of[here])),
            warnings=warnings,
            integer_field=True,
            source_crs=source,
        ),
    )


def _near(
    parts: NDArray[Any], part_of: NDArray[np.int64], source: CRS, grid: Grid
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The polygons cut to the surroundings of the grid, where they are in another CRS.

    A polygon of half the world has no finite place in most projected CRSs, and long edges would be
    straight in the wrong one.
    """
    if same_crs(source, grid.crs):
        return parts, part_of
    left, bottom, right, top = bounds_in(grid, source)
    margin = max(right - left, top - bottom)
    around = shapely.box(left - margin, bottom - margin, right + margin, top + margin)
    cut = shapely.intersection(parts, around)
    kept = np.flatnonzero(_is_polygonal(cut))
    single, index = shapely.get_parts(cut[kept], return_index=True)
    areas = _is_polygonal(single)
    dense = shapely.segmentize(single[areas], margin / 32)
    return dense, part_of[kept[index[areas]]]


def _is_polygonal(shapes: NDArray[Any]) -> NDArray[np.bool_]:
    kinds = np.isin(shapely.get_type_id(shapes), POLYGONAL)
    return kinds & ~np.asarray(shapely.is_empty(shapes))
