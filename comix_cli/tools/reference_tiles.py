"""Ground truth on the pixels of a map, tile by tile, also where it reaches beyond the map."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from comix_cli.progress import Progress
from comix_cli.scene.grid import Grid
from comix_cli.scene.labels import RASTER, Reference
from comix_cli.scene.pixel_rule import PixelRule
from comix_cli.scene.rasterize import Burnt, Sources
from comix_cli.scene.windows import Window

TILE = 1024
# Ground truth that reaches over more tiles beyond the map is counted by area there.
MOST_TILES = 20_000
# Pixels on a side of what takes the place of polygons in a raster of labels.
BLOCK = 64

# Tiles from the map's first one; what lies farther is taken to lie there.
_FARTHEST = 2.0**50

Ranges = NDArray[np.int64]
Place = tuple[int, int]


@dataclass(frozen=True)
class ReferenceTile:
    """The ground truth of a window of the map; see `Burnt`.

    Of a raster of labels the features are blocks of 64 x 64 pixels of the map.
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
        beyond: Whether to count what lies beyond the map.

    Attributes:
        outside: Pixels of ground truth beyond the map, once the walk is over.
        outside_estimated: Whether that follows from areas and not from pixels of the map.
    """

    def __init__(
        self,
        reference: Reference,
        grid: Grid,
        codes: Mapping[int, int],
        rule: PixelRule,
        *,
        beyond: bool = True,
    ) -> None:
        self._reference, self._grid = reference, grid
        self._codes, self._rule = codes, rule
        self._counts_beyond = beyond
        self.outside = 0
        self.outside_estimated = False

    def walk(self, progress: Progress) -> Iterator[ReferenceTile]:
        """Yield the tiles in the order of the map's rows."""
        tiles = self._places(progress)
        with progress.task("comparing", len(tiles)) as task:
            for row, col in tiles:
                found = self._tile(row * TILE, col * TILE)
                if found is not None:
                    yield found
                task.advance()

    def overlaps(
        self, window: Window, disputed: NDArray[np.bool_]
    ) -> Mapping[tuple[int, int], int]:
        """The disputed pixels of a tile `(H, W)` that each pair of features shares."""
        return self._reference.overlaps(
            self._grid, window, disputed, rule=self._rule, codes=self._codes
        )

    def features_without_pixel(self, seen: Collection[int]) -> int:
        """Features on the map that take no pixel of it, though some may be seen to do."""
        return self._reference.without_pixel(self._grid, seen, self._rule)

    def _places(self, progress: Progress) -> list[Place]:
        """Row and column of every tile to walk: of the map, and beyond it if not too many."""
        ranges = np.unique(_tile_ranges(self._reference, self._grid), axis=0)
        last = (self._grid.height - 1) // TILE, (self._grid.width - 1) // TILE
        places = {place for each in _clipped(ranges, last).tolist() for place in _tiles(*each)}
        if not self._counts_beyond:
            return sorted(places)
        # A raster knows its own pixels, and there may be very many of them.
        others = None if self._reference.kind == RASTER else _tiles_beyond(ranges, last)
        if others is None:
            self._counts_beyond = False
            self.outside, exact = self._reference.pixels_beyond(self._grid, progress)
            self.outside_estimated = not exact
        return sorted(places | (others or set()))

    def _tile(self, row: int, col: int) -> ReferenceTile | None:
        """One tile, whose first pixel may lie outside the map; None without labels inside."""
        window = _inside(row, col, self._grid)
        if window is None or (self._counts_beyond and window.shape != (TILE, TILE)):
            burnt = self._beyond(row, col, window)
        else:
            burnt = self._burn(self._grid, window)
        if window is None or not burnt.labelled.any():
            return None
        if self._reference.kind == RASTER:
            burnt = _in_blocks(burnt, window, self._grid.width)
        return ReferenceTile(window, burnt)

    def _beyond(self, row: int, col: int, window: Window | None) -> Burnt:
        """The part of a tile on the map, if any; what lies beside it is counted."""
        corner = self._grid.transform * Affine.translation(col, row)
        tile = replace(self._grid, transform=corner, width=TILE, height=TILE)
        burnt = self._burn(tile)
        inside = burnt.part((slice(0), slice(0)) if window is None else _corner(window))
        self.outside += int(burnt.labelled.sum()) - int(inside.labelled.sum())
        return inside

    def _burn(self, grid: Grid, window: Window | None = None) -> Burnt:
        return self._reference.burn(grid, window, rule=self._rule, codes=self._codes)


def unit_of(reference: Reference) -> str:
    """What a cluster of pixels is."""
    others = {RASTER: f"blocks of {BLOCK} x {BLOCK} pixels", "mixed": "features"}
    return others.get(reference.kind, reference.kind)


def _in_blocks(burnt: Burnt, window: Window, width: int) -> Burnt:
    """Blocks of the map in place of the features that a raster does not have."""
    rows = (np.arange(window.height) + window.row) // BLOCK
    columns = (np.arange(window.width) + window.col) // BLOCK
    blocks = (rows[:, None] * -(-width // BLOCK) + columns).astype(np.int64)
    here = burnt.labelled
    # A source for each block and each class in it.
    pairs = blocks[here] * len(burnt.sources.codes) + burnt.top[here]
    found, numbers = np.unique(pairs, return_inverse=True)
    block, source = np.divmod(found, len(burnt.sources.codes))
    top = np.full(burnt.top.shape, -1, np.int32)
    top[here] = numbers
    numbers = block.astype(np.int32)
    return Burnt(top, top, Sources(burnt.sources.codes[source], numbers, numbers))


def _inside(row: int, col: int, grid: Grid) -> Window | None:
    """The part of a tile that lies inside a grid; None where no pixel does."""
    height, width = min(TILE, grid.height - row), min(TILE, grid.width - col)
    if min(row, col) < 0 or min(height, width) < 1:
        return None
    return Window(row, col, height, width)


def _tile_ranges(reference: Reference, grid: Grid) -> Ranges:
    """First row, first column, last row and last column of the tiles under each part of it."""
    left, bottom, right, top = reference.boxes(grid).T
    corners = [~grid.transform * (x, y) for x in (left, right) for y in (bottom, top)]
    columns, rows = (np.stack(axis) // TILE for axis in zip(*corners, strict=True))
    edges = (rows.min(axis=0), columns.min(axis=0), rows.max(axis=0), columns.max(axis=0))
    return np.stack(edges, axis=1).clip(-_FARTHEST, _FARTHEST).astype(np.int64)


def _clipped(ranges: Ranges, last: Place) -> Ranges:
    """The tiles of each range up to the last row and column; ranges without any are left out."""
    clipped = np.hstack([np.maximum(ranges[:, :2], 0), np.minimum(ranges[:, 2:], last)])
    found: Ranges = clipped[(clipped[:, :2] <= clipped[:, 2:]).all(axis=1)]
    return found


def _tiles_beyond(ranges: Ranges, last: Place) -> set[Place] | None:
    """The tiles of all ranges that are none of a map; None where there are too many.

    A range may hold more tiles than could be listed, and many ranges may share a few.
    """
    bottom, right = last
    sizes = _sizes(ranges).tolist()
    found = set[Place]()
    for each, size in zip(ranges.tolist(), sizes, strict=True):
        if size > MOST_TILES + (bottom + 1) * (right + 1):
            return None
        tiles = _tiles(*each)
        found.update(t for t in tiles if not (0 <= t[0] <= bottom and 0 <= t[1] <= right))
        if len(found) > MOST_TILES:
            return None
    return found


def _sizes(ranges: Ranges) -> NDArray[np.float64]:
    """How many tiles each range holds; about so where they are very many."""
    sides = (ranges[:, 2:] - ranges[:, :2] + 1).astype(np.float64)
    sizes: NDArray[np.float64] = sides.prod(axis=1)
    return sizes


def _tiles(top: int, left: int, bottom: int, right: int) -> Iterator[Place]:
    return product(range(top, bottom + 1), range(left, right + 1))


def _corner(window: Window) -> tuple[slice, slice]:
    """The pixels of a window that are the first of a larger one."""
    return slice(window.height), slice(window.width)
