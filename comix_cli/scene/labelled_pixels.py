"""The pixels of a grid that ground truth labels, window by window: counted, or as points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import shapely
from numpy.typing import NDArray

from comix_cli.scene.grid import Grid
from comix_cli.scene.labels import GroundTruth
from comix_cli.scene.pieces import selected
from comix_cli.scene.windows import Window, tile_windows

TILE = 2048


def labelled_windows(truth: GroundTruth, grid: Grid) -> list[Window]:
    """The tiles of a grid that ground truth in its CRS comes near to."""
    windows = tile_windows(grid.shape, TILE)
    boxes = shapely.box(*np.array([grid.window_bounds(window) for window in windows]).T)
    return [windows[i] for i in np.unique(truth.tree.query(boxes)[0])]


def count_pixels(truth: GroundTruth, grid: Grid, window: Window, most: int) -> NDArray[np.int64]:
    """How many pixels of a window have each code from 0 (no class) to `most`, `(most + 1,)`.

    A pixel belongs to the polygon that holds its centre; pixels on which polygons of different
    codes disagree have none.
    """
    labels = truth.burn(grid, window).labels
    return np.bincount(labels.ravel(), minlength=most + 1).astype(np.int64)


def pixel_centres(
    grid: Grid, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Coordinates of the centres of some pixels of a grid, `(n, 2)`."""
    t = grid.transform
    matrix = np.array([[t.a, t.d], [t.b, t.e]])
    corners = np.stack([columns, rows], axis=1).astype(np.float64)
    centres: NDArray[np.float64] = (corners + 0.5) @ matrix + (t.c, t.f)
    return centres


def pixel_points(
    truth: GroundTruth,
    grid: Grid,
    window: Window,
    chances: NDArray[np.float64],
    rng: np.random.Generator,
) -> GroundTruth:
    """The labelled pixels of a window as points at their centres, or a random part of them.

    Args:
        truth: Ground truth in the CRS of the grid.
        grid: The grid.
        window: The part of it wanted.
        chances: How likely a pixel is taken, by class code.
        rng: Draws the pixels.
    """
    burnt = truth.burn(grid, window)
    labels = burnt.labels
    rows, columns = np.nonzero(labels)
    taken = rng.random(len(rows)) < chances[labels[rows, columns]]
    rows, columns = rows[taken], columns[taken]
    features = burnt.features[rows, columns]
    x, y = pixel_centres(grid, window.row + rows, window.col + columns).T
    points = selected(truth, np.zeros(0, np.int64))
    return replace(
        points,
        geometries=np.asarray(shapely.points(x, y), object),
        codes=labels[rows, columns],
        features=features.astype(np.int64),
    )
