"""Ground truth on the pixels of a map, tile by tile, also where it reaches beyond the map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from comix_cli.progress import Progress
from comix_cli.scene.grid import Grid
from comix_cli.scene.labels import RASTER, Reference
from comix_cli.scene.pixel_rule import PixelRule
from comix_cli.scene.rasterize import Burnt
from comix_cli.scene.windows import Window

TILE = 1024
# Ground truth that reaches over more tiles is counted by area where the map has no pixels.
MOST_TILES = 20_000
# Pixels on a side of what takes the place of polygons in a raster of labels.
BLOCK = 64

Ranges = NDArray[np.int64]


@dataclass(frozen=True)
class ReferenceTile:
    """The ground truth of a window of the map; see `Burnt`.

    Of a raster of labels `features` are blocks of 64 x 64 pixels of the map.
    """

    window: Window
    burnt: Burnt


class ReferenceTiles:
    """All tiles of a map that hold ground truth.

    Args:
        reference: The ground truth.
        grid: The map's grid.
        codes: The map's code for each code of the ground truth; others are left out.
        rule: Which pixels a geometry takes.

    Attributes:
        outside: Pixels of ground truth beyond the map, once the walk is over.
        outside_estimated: Whether that follows from areas and not from pixels.
    """

    def __init__(
        self, reference: Reference, grid: Grid, codes: Mapping[int, int], rule: PixelRule
    ) -> None:
        self._reference, self._grid = reference, grid
        self._codes, self._rule = codes, rule
        self.outside = 0
        self.outside_estimated = False

    def walk(self, progress: Progress) -> Iterator[ReferenceTile]:
        """Yield the tiles in the order of the map's rows."""
        tiles = self._places()
        with progress.task("comparing", len(tiles)) as task:
            for row, col in tiles:
                found = self._tile(row * TILE, col * TILE)
                if found is not None:
                    yield found
                task.advance()

    def _places(self) -> list[tuple[int, int]]:
        """Row and column of every tile near ground truth; those beyond the map, if not too many."""
        ranges = _tile_ranges(self._reference, self._grid)
        sides = ranges[:, 2:] - ranges[:, :2] + 1
        if sides.prod(axis=1).sum() > MOST_TILES:
            self.outside_estimated = True
            self.outside = self._reference.pixels_beyond(self._grid)
            ranges = _clipped(ranges, self._grid)
        return sorted({tile for each in ranges.tolist() for tile in _tiles(*each)})

    def _tile(self, row: int, col: int) -> ReferenceTile | None:
        """One tile, whose first pixel may lie outside the map; None without labels inside."""
        corner = self._grid.transform * Affine.translation(col, row)
        tile = replace(self._grid, transform=corner, width=TILE, height=TILE)
        burnt = self._reference.burn(tile, rule=self._rule, codes=self._codes)
        place, window = _inside(row, col, self._grid)
        inside = burnt.part(place)
        labelled = int(inside.labelled.sum())
        if not self.outside_estimated:
            self.outside += int(burnt.labelled.sum()) - labelled
        if window is None or not labelled:
            return None
        if self._reference.kind == RASTER:
            inside = _in_blocks(inside, window, self._grid.width)
        return ReferenceTile(window, inside)


def unit_of(reference: Reference) -> str:
    """What a cluster of pixels is."""
    others = {RASTER: f"blocks of {BLOCK} x {BLOCK} pixels", "mixed": "features"}
    return others.get(reference.kind, reference.kind)


def _in_blocks(burnt: Burnt, window: Window, width: int) -> Burnt:
    """Blocks of the map in place of the features that a raster does not have."""
    rows = (np.arange(window.height) + window.row) // BLOCK
    columns = (np.arange(window.width) + window.col) // BLOCK
    blocks = (rows[:, None] * -(-width // BLOCK) + columns).astype(np.int32)
    features = np.where(burnt.features >= 0, blocks, np.int32(-1))
    return replace(burnt, features=features, rivals=features)


def _inside(row: int, col: int, grid: Grid) -> tuple[tuple[slice, slice], Window | None]:
    """The part of a tile that lies inside a grid, as slices of the tile and as a window."""
    top, left = max(row, 0), max(col, 0)
    bottom, right = min(row + TILE, grid.height), min(col + TILE, grid.width)
    if top >= bottom or left >= right:
        return (slice(0), slice(0)), None
    return (
        (slice(top - row, bottom - row), slice(left - col, right - col)),
        Window(top, left, bottom - top, right - left),
    )


def _tile_ranges(reference: Reference, grid: Grid) -> Ranges:
    """First row, first column, last row and last column of the tiles under each part of it."""
    left, bottom, right, top = reference.boxes(grid).T
    corners = [~grid.transform * (x, y) for x in (left, right) for y in (bottom, top)]
    columns, rows = (np.stack(axis) // TILE for axis in zip(*corners, strict=True))
    edges = (rows.min(axis=0), columns.min(axis=0), rows.max(axis=0), columns.max(axis=0))
    return np.stack(edges, axis=1).astype(np.int64)


def _clipped(ranges: Ranges, grid: Grid) -> Ranges:
    """The tiles of each range that hold pixels of the grid; ranges without any are left out."""
    last = [(grid.height - 1) // TILE, (grid.width - 1) // TILE]
    clipped = np.hstack([np.maximum(ranges[:, :2], 0), np.minimum(ranges[:, 2:], last)])
    found: Ranges = clipped[(clipped[:, :2] <= clipped[:, 2:]).all(axis=1)]
    return found


def _tiles(top: int, left: int, bottom: int, right: int) -> Iterator[tuple[int, int]]:
    return product(range(top, bottom + 1), range(left, right + 1))
