"""Which pixels polygons cover to a given share, with exact shares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import geopandas
import numpy as np
import shapely
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from numpy.typing import NDArray
from rasterio.crs import CRS

from comix_cli.scene.rasterize import Candidates

# exactextract wants a CRS; in pixel coordinates any will do.
_ANY_CRS = CRS.from_epsg(3857).to_wkt()
# exactextract keeps shares in single precision, so what is asked for may come out a little smaller.
_ROUNDING = 1e-6
# Pixels of overlap in a window that may count twice: no share is wrong by more.
_OVERLAP = 1e-4

Numbers = NDArray[np.int32]


def covered(near: Candidates, shape: tuple[int, int], least: float) -> tuple[Numbers, Numbers]:
    """The classes that cover at least a share of each pixel: the highest code, and the lowest.

    Args:
        near: Polygons in pixel coordinates, rows downwards.
        shape: Rows and columns of the window.
        least: The share, above 0 and at most 1.

    Returns:
        `(H, W)` int32 twice: the polygon that covers most among those of the class, -1 for none.
    """
    top, bottom = np.full(shape, -1, np.int32), np.full(shape, -1, np.int32)
    for taken, owners in layers(near, shape, least):
        first = taken & (bottom < 0)
        # Codes ascend, so that the highest stays on top and the lowest at the bottom.
        top[taken], bottom[first] = owners[taken], owners[first]
    return top, bottom


def layers(
    near: Candidates, shape: tuple[int, int], least: float
) -> Iterator[tuple[NDArray[np.bool_], Numbers]]:
    """Class by class, codes ascending: the pixels that it covers enough of, and their polygons.

    Args:
        near: As `covered` has it.
        shape: Rows and columns of the window.
        least: The share that is enough.

    Yields:
        `(H, W)` bool, and `(H, W)` int32 as `covered` has it.
    """
    for code in np.unique(near.codes):
        mine = np.flatnonzero(near.codes == code)
        who, cells, shares = _shares(near.shapes[mine], shape)
        taken = _taken(near.shapes[mine], cells, shares, shape, least)
        yield taken, _owners(mine[who].astype(np.int32), cells, shares, shape)


def reaches(shapes: NDArray[Any], shape: tuple[int, int], least: float) -> NDArray[np.bool_]:
    """Which polygons cover a share of any pixel by themselves, `(n,)`."""
    found = np.zeros(len(shapes), np.bool_)
    worth = np.flatnonzero(shapely.area(shapes) >= least - _ROUNDING)
    if len(worth):
        who, _, shares = _shares(shapes[worth], shape)
        found[worth[who[shares >= least - _ROUNDING]]] = True
    return found


def _taken(
    shapes: NDArray[Any],
    cells: NDArray[np.int64],
    shares: NDArray[np.float64],
    shape: tuple[int, int],
    least: float,
) -> NDArray[np.bool_]:
    """`(H, W)`: where the polygons of one class together cover enough."""
    # Rounding to parts of a pixel may have let an outline touch itself.
    whole = shapes.copy()
    broken = ~np.asarray(shapely.is_valid(shapes))
    whole[broken] = shapely.make_valid(shapes[broken])
    united = np.array([shapely.union_all(whole)], dtype=object)
    if _area_inside(whole, shape) - _area_inside(united, shape) > _OVERLAP:
        # They overlap, and what two of them cover must not count twice.
        _, cells, shares = _shares(united, shape)
    total = np.bincount(cells, weights=shares, minlength=shape[0] * shape[1])
    enough: NDArray[np.bool_] = total.reshape(shape) >= least - _ROUNDING
    return enough


def _area_inside(shapes: NDArray[Any], shape: tuple[int, int]) -> float:
    """The area of all shapes inside the window, in pixels.

    Of what reaches far beyond it, the rounding of its whole area could hide any overlap.
    """
    height, width = shape
    return float(shapely.area(shapely.clip_by_rect(shapes, 0, 0, width, height)).sum())


def _owners(
    polygons: Numbers,
    cells: NDArray[np.int64],
    shares: NDArray[np.float64],
    shape: tuple[int, int],
) -> Numbers:
    """`(H, W)`: the polygon that covers most of each pixel."""
    owners = np.full(shape[0] * shape[1], -1, np.int32)
    order = np.lexsort((polygons, shares))  # the largest share is written last
    owners[cells[order]] = polygons[order]
    return owners.reshape(shape)


def _shares(
    shapes: NDArray[Any], shape: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Shape, cell (row by row) and covered share of every pair that occurs."""
    height, width = shape
    upright = shapely.transform(shapes, lambda points: points * (1, -1) + (0, height))
    frame = geopandas.GeoDataFrame(geometry=upright, crs=_ANY_CRS)
    raster = NumPyRasterSource(np.zeros(shape, np.uint8), 0, 0, width, height, srs_wkt=_ANY_CRS)
    found = exact_extract(raster, frame, ["cell_id", "coverage"], output="pandas")
    cells, shares = (list(found[name]) for name in ("cell_id", "coverage"))
    who = np.repeat(np.arange(len(shapes)), [len(each) for each in cells])
    return who, np.concatenate(cells).astype(np.int64), np.concatenate(shares).astype(np.float64)
