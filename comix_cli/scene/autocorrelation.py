"""How far likeness reaches in a scene: semivariograms of its ground truth and of its image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS

from comix_cli.scene.labelled_pixels import pixel_centres
from comix_cli.scene.labels import GroundTruth
from comix_cli.scene.pieces import dimensions, measures
from comix_cli.scene.stack import BlockReader
from comix_cli.scene.variogram import (
    LEAST_POINTS,
    Semivariance,
    Variogram,
    class_semivariance,
    first_component,
    fit_variogram,
    value_semivariance,
)
from comix_cli.scene.vector import reproject
from comix_cli.scene.windows import Window, tile_windows

# So many points take a second, and tell lags of a thousandth of the extent.
POINTS = 10_000
TILE = 32
TILES = 64
# Thin polygons fill little of their boxes.
_ROUNDS = 40


def label_variogram(truth: GroundTruth, rng: np.random.Generator) -> Variogram:
    """The semivariogram of the classes, from random points on the labelled ground.

    Args:
        truth: In a CRS whose unit is the metre.
        rng: Draws the points.
    """
    if len(np.unique(truth.codes)) < 2:
        return _none("there is only one class")
    points, numbers = points_on(truth.geometries, POINTS, rng)
    if len(points) < LEAST_POINTS:
        return _none(f"there are only {len(points)} points")
    return fit_variogram(class_semivariance(points, truth.codes[numbers]))


def image_variogram(image: BlockReader, crs: CRS, rng: np.random.Generator) -> Variogram:
    """The semivariogram of an image's first principal component, from pixels of random tiles.

    Args:
        image: The image on its grid.
        crs: A CRS whose unit is the metre.
        rng: Draws the pixels.

    Raises:
        RasterError: The image cannot be read.
    """
    positions, spectra = zip(*_sampled_tiles(image, rng), strict=True)
    placed, values = np.concatenate(positions), np.concatenate(spectra).astype(np.float64)
    if len(placed) < LEAST_POINTS:
        return _none(f"the image has only {len(placed)} valid pixels")
    component = first_component(values)
    if component.std() <= 1e-9 * max(float(np.abs(values).max()), 1e-9):
        return _none("all pixels are the same")
    centres = pixel_centres(image.grid, placed[:, 1], placed[:, 0])
    points = reproject(np.asarray(shapely.points(centres), object), image.grid.crs, crs)
    return fit_variogram(value_semivariance(shapely.get_coordinates(points), component))


def _sampled_tiles(
    image: BlockReader, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Columns and rows `(n, 2)` of valid pixels of some tiles, and their spectra `(n, bands)`."""
    tiles = tile_windows(image.grid.shape, TILE)
    chosen = rng.permutation(len(tiles))[:TILES]
    per_tile = POINTS // len(chosen)
    for number in np.sort(chosen):  # in the order of the file
        window = tiles[number]
        block = image.read(window)
        rows, columns = np.nonzero(block.valid)
        picked = rng.permutation(len(rows))[:per_tile]
        rows, columns = rows[picked], columns[picked]
        yield _positions(window, rows, columns), block.hsi[:, rows, columns].T


def _positions(
    window: Window, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.int64]:
    return np.stack([window.col + columns, window.row + rows], axis=1)


def points_on(
    geometries: NDArray[Any], count: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Random points, evenly spread over the geometries.

    Points stand for themselves: so many of them, at most. Where there are geometries of several
    kinds, each kind gets as many points as its share of the geometries.

    Returns:
        Coordinates `(n, 2)`, and the number of the geometry that each lies on, `(n,)`.
    """
    kinds = dimensions(geometries)
    sizes = measures(geometries)
    numbers = []
    for kind in np.unique(kinds):
        members = np.flatnonzero(kinds == kind)
        wanted = -(-count * len(members) // len(kinds))
        if kind == 0:
            numbers.append(rng.permutation(members)[:wanted])
        elif sizes[members].sum() > 0:
            chances = sizes[members] / sizes[members].sum()
            numbers.append(rng.choice(members, wanted, p=chances))
    chosen = np.concatenate(numbers)
    return _one_point_on_each(geometries[chosen], kinds[chosen], rng), chosen


def _one_point_on_each(
    shapes: NDArray[Any], kinds: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float64]:
    found = np.empty((len(shapes), 2))
    found[kinds == 0] = shapely.get_coordinates(shapes[kinds == 0])
    lines = kinds == 1
    along = shapely.line_interpolate_point(shapes[lines], rng.random(lines.sum()), normalized=True)
    found[lines] = shapely.get_coordinates(along)
    shapely.prepare(shapes)
    open_ = np.flatnonzero(kinds == 2)
    for _ in range(_ROUNDS):
        left, bottom, right, top = shapely.bounds(shapes[open_]).T
        x, y = rng.uniform(left, right), rng.uniform(bottom, top)
        inside = shapely.contains_xy(shapes[open_], x, y)
        found[open_[inside]] = np.stack([x, y], axis=1)[inside]
        open_ = open_[~inside]
        if not open_.size:
            return found
    found[open_] = shapely.get_coordinates(shapely.point_on_surface(shapes[open_]))
    return found


def _none(reason: str) -> Variogram:
    nothing = np.zeros(0)
    return Variogram(Semivariance(nothing, nothing, nothing), reason=reason)
