"""Ground truth on pixels, window by window, with the pixels that classes dispute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize as burn_shapes

from comix_cli.scene.grid import Grid
from comix_cli.scene.labels import GroundTruth
from comix_cli.scene.legend import NO_CLASS
from comix_cli.scene.windows import Window

# Pixel coordinates are rounded to multiples of this power of two, about a millionth of a pixel.
# Whether an edge runs through a pixel's centre then no longer depends on the window's origin.
_STEPS_PER_PIXEL = float(1 << 20)
# Geometries with more vertices are cut to the window first; below, cutting costs more than it
# saves.
_MANY_VERTICES = 2000
_MARGIN = 2.0  # pixels around the window that a cut leaves, so that cut edges lie outside


def rasterize(
    truth: GroundTruth,
    grid: Grid,
    window: Window | None = None,
    *,
    all_touched: bool = False,
    codes: Mapping[int, int] | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Burn the geometries of a window: a pixel belongs to the polygon that holds its centre.

    The result of a window is the same as that part of the whole grid's. With `all_touched` one
    exception remains: an edge that runs exactly through the corner of a pixel may or may not touch
    it, as GDAL's rounding falls.

    Args:
        truth: Geometries in the CRS of the grid.
        grid: A grid; it need not be the one that the ground truth was read for.
        window: The part of the grid wanted; None for all of it.
        all_touched: Burn every pixel that a geometry touches.
        codes: What to burn for each class code, above 0; geometries of other classes are left out.

    Returns:
        Labels `(H, W)` int32, 0 where unlabelled; and `(H, W)` bool, True where geometries with
        different codes overlap. Labels are 0 there.
    """
    place = window or Window(0, 0, grid.height, grid.width)
    shapes, values, _ = _candidates(truth, grid, place, codes)
    if not len(shapes):
        return np.zeros(place.shape, np.int32), np.zeros(place.shape, np.bool_)
    order = np.argsort(values, kind="stable")
    # Burning in ascending order leaves the highest code of every pixel, in descending order the
    # lowest: they differ exactly where different codes meet, however many there are.
    highest = _burn(shapes[order], values[order], place, all_touched)
    if values.min() == values.max():
        return highest, np.zeros(place.shape, np.bool_)
    lowest = _burn(shapes[order[::-1]], values[order[::-1]], place, all_touched)
    overlap = highest != lowest
    return np.where(overlap, np.int32(NO_CLASS), highest), overlap


def rasterize_features(
    truth: GroundTruth,
    grid: Grid,
    window: Window | None = None,
    *,
    all_touched: bool = False,
    codes: Mapping[int, int] | None = None,
) -> NDArray[np.int32]:
    """Which feature of the ground truth each pixel belongs to; arguments as for `rasterize`.

    Returns:
        `(H, W)` int32, numbers of features counted from 1, 0 where there is none; of several
        features the last one of the file.
    """
    place = window or Window(0, 0, grid.height, grid.width)
    shapes, _, features = _candidates(truth, grid, place, codes)
    if not len(shapes):
        return np.zeros(place.shape, np.int32)
    order = np.argsort(features, kind="stable")
    return _burn(shapes[order], features[order] + np.int32(1), place, all_touched)


def _candidates(
    truth: GroundTruth, grid: Grid, window: Window, codes: Mapping[int, int] | None
) -> tuple[NDArray[Any], NDArray[np.int32], NDArray[np.int32]]:
    """Geometries near the window, in the window's pixel coordinates; code and feature of each."""
    near = truth.tree.query(shapely.box(*_padded_bounds(grid, window)))
    values = truth.codes[near]
    if codes is not None:
        values = np.array([codes.get(int(code), NO_CLASS) for code in values], np.int32)
        near, values = near[values != NO_CLASS], values[values != NO_CLASS]
    features = truth.features[near].astype(np.int32)
    return _in_pixels(truth.geometries[near], grid, window), values, features


def _padded_bounds(grid: Grid, window: Window) -> tuple[float, float, float, float]:
    left, bottom, right, top = grid.window_bounds(window)
    xres, yres = grid.resolution
    return left - xres, bottom - yres, right + xres, top + yres


def _in_pixels(shapes: NDArray[Any], grid: Grid, window: Window) -> NDArray[Any]:
    to_pixels = ~grid.transform
    matrix = np.array([[to_pixels.a, to_pixels.b], [to_pixels.d, to_pixels.e]])
    origin = np.array([to_pixels.c, to_pixels.f])
    corner = np.array([window.col, window.row], np.float64)

    def project(points: NDArray[np.float64]) -> NDArray[np.float64]:
        pixels = points @ matrix.T + origin
        # Multiples of a power of two minus whole numbers: the subtraction is exact.
        rounded: NDArray[np.float64] = np.round(pixels * _STEPS_PER_PIXEL) / _STEPS_PER_PIXEL
        return rounded - corner

    projected = shapely.transform(shapes, project)
    large = shapely.get_num_coordinates(projected) > _MANY_VERTICES
    if large.any():
        projected[large] = shapely.clip_by_rect(
            projected[large], -_MARGIN, -_MARGIN, window.width + _MARGIN, window.height + _MARGIN
        )
    return projected


def _burn(
    shapes: NDArray[Any], values: NDArray[np.int32], window: Window, all_touched: bool
) -> NDArray[np.int32]:
    pairs = [(s, int(v)) for s, v in zip(shapes, values, strict=True) if not s.is_empty]
    if not pairs:
        return np.zeros(window.shape, np.int32)
    burnt: NDArray[np.int32] = burn_shapes(
        pairs,
        out_shape=window.shape,
        fill=NO_CLASS,
        transform=Affine.identity(),
        all_touched=all_touched,
        dtype="int32",
    )
    return burnt
