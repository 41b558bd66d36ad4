"""A scene in memory that counts how often each of its pixels is read."""

from __future__ import annotations

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from comix_cli.scene.grid import Grid
from comix_cli.scene.stack import Block
from comix_cli.scene.windows import Window

UTM = CRS.from_epsg(32633)


class CountingScene:
    """Random bands in memory.

    Attributes:
        grid: Pixels of 1 m whose first one lies at `position` on the lattice of the CRS.
        hsi: `(bands, H, W)`.
        x: `(channels, H, W)`.
        valid: `(H, W)`.
        reads: `(H, W)`, how often each pixel has been read.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        *,
        bands: int = 3,
        channels: int = 0,
        seed: int = 0,
        position: tuple[int, int] = (0, 0),
    ) -> None:
        rng = np.random.default_rng(seed)
        height, width = shape
        row, col = position
        self.grid = Grid(UTM, Affine(1, 0, col, 0, -1, -row), width, height)
        self.hsi = rng.normal(size=(bands, height, width)).astype(np.float32)
        self.x = rng.normal(size=(channels, height, width)).astype(np.float32)
        self.valid = rng.random(shape) > 0.2
        self.reads = np.zeros(shape, np.int64)

    def read(self, window: Window) -> Block:
        """Copies of the window's values."""
        rows, columns = window.slices
        self.reads[rows, columns] += 1
        return Block(
            self.hsi[:, rows, columns].copy(),
            self.x[:, rows, columns].copy(),
            self.valid[rows, columns].copy(),
        )

    def read_valid(self, window: Window) -> NDArray[np.bool_]:
        """`(H, W)`."""
        return self.valid[window.slices]

    def piece(self, window: Window) -> CountingScene:
        """A scene of its own, cut out of this one."""
        row, col = self.grid.lattice_position
        part = CountingScene(window.shape, position=(row + window.row, col + window.col))
        block = self.read(window)
        part.hsi, part.x, part.valid = block.hsi, block.x, block.valid
        return part


def unchanged(block: Block) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A normaliser that changes nothing."""
    return block.hsi, block.x
