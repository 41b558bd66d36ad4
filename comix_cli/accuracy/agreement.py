"""Where a map agrees with the reference, as a coarse picture that tiles add up to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]
Bounds = tuple[float, float, float, float]

# Cells of a picture on its longer side: about what paper and screens can show.
MOST_CELLS = 1000
# The least width of a mark, as a share of the picture's longer side: 0.9 mm on an A4 page.
_LEAST_MARK = 0.005


class Level(IntEnum):
    """What a cell shows; the worse, the higher."""

    NO_REFERENCE = 0
    RIGHT = 1
    MOSTLY_RIGHT = 2
    MOSTLY_WRONG = 3
    WRONG = 4


@dataclass(frozen=True)
class AgreementPicture:
    """Reference pixels that the map got right and wrong, counted in the square cells of a picture.

    Attributes:
        right: Pixels of each cell that are right, `(h, w)`.
        wrong: Pixels of each cell that are wrong, `(h, w)`.
        pixels_per_cell: Pixels of the map along one side of a cell; the cells of the last row and
            column may reach beyond the map.
        bounds: Left, bottom, right and top of the map in its CRS; None where nobody needs them.
        crs: What the CRS is called.
        size_m: Width and height of the map on the ground in metres; None where they are not known.
    """

    right: Counts
    wrong: Counts
    pixels_per_cell: int
    bounds: Bounds | None = None
    crs: str = ""
    size_m: tuple[float, float] | None = None

    @classmethod
    def empty(
        cls,
        height: int,
        width: int,
        most: int = MOST_CELLS,
        *,
        bounds: Bounds | None = None,
        crs: str = "",
        size_m: tuple[float, float] | None = None,
    ) -> AgreementPicture:
        """The picture of a map of `height` x `width` pixels that nothing is known of yet.

        Args:
            height: Rows of the map.
            width: Columns of the map.
            most: Cells that the picture has at most on a side.
            bounds: See the class.
            crs: See the class.
            size_m: See the class.

        Raises:
            ValueError: A size is not positive.
        """
        if min(height, width, most) < 1:
            raise ValueError(f"no picture of {height} x {width} pixels in {most} cells")
        side = -(-max(height, width) // most)
        shape = (-(-height // side), -(-width // side))
        right, wrong = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        return cls(right, wrong, side, bounds, crs, size_m)

    def add(self, row: int, col: int, right: Mask, compared: Mask) -> None:
        """Count the pixels of a tile.

        Args:
            row: The tile's first row in the map.
            col: Its first column.
            right: `(H, W)`; where the map agrees with the reference. Counts only where compared.
            compared: `(H, W)`; where there is a reference to compare with.

        Raises:
            ValueError: The masks differ in shape, or reach beyond the picture.
        """
        if right.shape != compared.shape or right.ndim != 2:
            raise ValueError(f"the masks {right.shape} and {compared.shape} are not of one tile")
        reach = (row + right.shape[0], col + right.shape[1])
        ends = [cells * self.pixels_per_cell for cells in self.right.shape]
        if row < 0 or col < 0 or reach[0] > ends[0] or reach[1] > ends[1]:
            raise ValueError(f"a tile at {row}, {col} that ends at {reach} lies outside {ends}")
        if compared.any():
            self._sum(self.right, row, col, compared & right)
            self._sum(self.wrong, row, col, compared & ~right)

    def _sum(self, counts: Counts, row: int, col: int, mask: Mask) -> None:
        rows, columns = (
            _cell_starts(first, length, self.pixels_per_cell)
            for first, length in zip((row, col), mask.shape, strict=True)
        )
        across = np.add.reduceat(mask, columns, axis=1, dtype=np.int64)
        cells = np.add.reduceat(across, rows, axis=0)
        top, left = row // self.pixels_per_cell, col // self.pixels_per_cell
        counts[top : top + len(rows), left : left + len(columns)] += cells

    def levels(self) -> NDArray[np.uint8]:
        """What each cell shows, `(h, w)` of `Level`; as many right as wrong is mostly wrong."""
        levels = np.full(self.right.shape, Level.NO_REFERENCE, np.uint8)
        levels[self.right > 0] = Level.MOSTLY_RIGHT
        levels[self.wrong >= np.maximum(self.right, 1)] = Level.MOSTLY_WRONG
        levels[(self.right > 0) & (self.wrong == 0)] = Level.RIGHT
        levels[(self.right == 0) & (self.wrong > 0)] = Level.WRONG
        return levels

    def marks(self) -> NDArray[np.uint8]:
        """`levels`, grown so far into empty cells that no mark is too small to be seen."""
        steps = int(np.ceil((_LEAST_MARK * max(self.right.shape) - 1) / 2))
        return grown(self.levels(), max(0, steps))


def grown(levels: NDArray[np.uint8], steps: int) -> NDArray[np.uint8]:
    """Levels `(h, w)` of which each spreads `steps` cells into empty ones; the worst goes first."""
    height, width = levels.shape
    for _ in range(steps):
        padded = np.pad(levels, 1)
        across = np.maximum.reduce([padded[:, i : i + width] for i in range(3)])
        around = np.maximum.reduce([across[i : i + height] for i in range(3)])
        levels = np.where(levels == Level.NO_REFERENCE, around, levels)
    return levels


def _cell_starts(first: int, length: int, side: int) -> NDArray[np.intp]:
    """Where in a tile of `length` pixels, the first of which is `first`, a cell begins."""
    inner = np.arange(side - first % side, length, side, dtype=np.intp)
    return np.concatenate([np.zeros(1, np.intp), inner])
