"""The pixels of a map that a sample is drawn from, and the stratum of each, strip by strip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from comix_cli.errors import GridError
from comix_cli.mapping.map_file import MapFile
from comix_cli.scene.area import Area
from comix_cli.scene.grid import crs_label, extent_label
from comix_cli.scene.legend import NO_CLASS
from comix_cli.scene.windows import Window

# A strip of codes and what reading it takes are some hundred MB at most.
_STRIP_PIXELS = 1 << 23


@dataclass(frozen=True)
class Strip:
    """Whole rows of a population.

    Attributes:
        codes: The stratum of every pixel `(rows, W)`, 0 outside the population.
        unassigned: Pixels of a class that lie in no stratum.
    """

    codes: NDArray[np.int32]
    unassigned: int


@dataclass(frozen=True)
class Population:
    """A map's pixels of any class, divided into strata; an open map.

    Attributes:
        map_file: The map.
        strata: A raster of strata on the map's grid; None where the map's classes are the strata.
        area: Polygons outside which nothing is drawn.

    Raises:
        GridError: The strata lie on another grid.
    """

    map_file: MapFile
    strata: MapFile | None = None
    area: Area | None = None

    def __post_init__(self) -> None:
        if self.strata is not None and not self.strata.grid.same_as(self.map_file.grid):
            raise GridError(
                f"the strata ({_described(self.strata)}) are not on the grid of the map "
                f"({_described(self.map_file)})",
                path=self.strata.path,
                remedy="warp them onto it first, with gdalwarp",
            )

    @property
    def named(self) -> MapFile:
        """The raster whose classes are the strata."""
        return self.strata or self.map_file

    def strips(self) -> Iterator[Strip]:
        """The population from top to bottom.

        Raises:
            RasterError: Pixels cannot be read, or are no class codes.
        """
        height, width = self.map_file.grid.shape
        rows = strip_rows(width, self.map_file.dataset.block_shapes[0][0])
        for row in range(0, height, rows):
            yield self._read(Window(row, 0, min(rows, height - row), width))

    def _read(self, window: Window) -> Strip:
        classes = self.map_file.read(window)
        if self.area is not None:
            classes[~self.area.inside(window)] = NO_CLASS
        if self.strata is None:
            return Strip(classes, 0)
        codes = self.strata.read(window)
        unassigned = (codes == NO_CLASS) & (classes != NO_CLASS)
        codes[classes == NO_CLASS] = NO_CLASS
        return Strip(codes, int(unassigned.sum()))


def strip_rows(width: int, block_rows: int) -> int:
    """How many rows to read at once: whole blocks of the file, where those are not too large."""
    rows = max(1, _STRIP_PIXELS // width)
    return rows if rows < block_rows else rows - rows % block_rows


def _described(raster: MapFile) -> str:
    grid = raster.grid
    size = f"{grid.width} x {grid.height} pixels, {crs_label(grid.crs)}"
    return f"{size}, {extent_label(grid.bounds)}"
