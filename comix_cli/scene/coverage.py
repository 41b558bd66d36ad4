"""Which pixels polygons cover to a given share, with exact shares."""

from __future__ import annotations

from typing import Any

import geopandas
import numpy as np
import shapely
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from numpy.typing import NDArray
from rasterio.crs import CRS

from comix_cli.scene.rasterize import Candidates, Layer

# exactextract wants a CRS; in pixel coordinates any will do.
_ANY_CRS = CRS.from_epsg(3857).to_wkt()
# exactextract keeps shares in single precision, so what is asked for may come out a little smaller.
_ROUNDING = 1e-6


def covered(near: Candidates, shape: tuple[int, int], least: float) -> tuple[Layer, Layer]:
    """The classes that cover at least a share of each pixel: the highest code, and the lowest.

    Args:
        near: Polygons in pixel coordinates, rows downwards.
        shape: Rows and columns of the window.
        least: The share, above 0 and at most 1.
    """
    # The highest code is written last, so it stays; in the other layer the lowest does.
    top, bottom = Layer.empty(shape), Layer.empty(shape)
    for code in np.unique(near.codes):
        mine = near.codes == code
        features = near.features[mine]
        who, cells, shares = _shares(near.shapes[mine], shape)
        taken = _taken(near.shapes[mine], cells, shares, shape, least)
        owners = _owners(features[who], cells, shares, shape)
        fresh = taken & (bottom.codes == 0)
        for layer, where in ((top, taken), (bottom, fresh)):
            layer.codes[where] = code
            layer.features[where] = owners[where]
    return top, bottom


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
    united = shapely.union_all(whole)
    if not np.isclose(shapely.area(united), shapely.area(whole).sum()):
        # They overlap, and what two of them cover must not count twice.
        _, cells, shares = _shares(np.array([united], dtype=object), shape)
    total = np.bincount(cells, weights=shares, minlength=shape[0] * shape[1])
    enough: NDArray[np.bool_] = total.reshape(shape) >= least - _ROUNDING
    return enough


def _owners(
    features: NDArray[np.int32],
    cells: NDArray[np.int64],
    shares: NDArray[np.float64],
    shape: tuple[int, int],
) -> NDArray[np.int32]:
    """`(H, W)`: the feature that covers most of each pixel."""
    owners = np.full(shape[0] * shape[1], -1, np.int32)
    order = np.lexsort((features, shares))  # the largest share is written last
    owners[cells[order]] = features[order]
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
