"""How much GDAL should be able to keep of a scene's files, so that no block is decoded twice."""

from __future__ import annotations

import math

import numpy as np

from comix_cli.scene.grid import Grid
from comix_cli.scene.raster import RasterInfo
from comix_cli.scene.stack import Stack

# What GDAL's warper writes its results in.
_WARP_ROWS = 128


def cache_bytes(stack: Stack, rows: int, columns: int | None = None) -> int:
    """Bytes of the blocks under a row of windows in every raster, and of what is warped of them.

    Windows move along rows of the grid. Where less than this fits into GDAL's cache, blocks are
    decoded again for every window that touches them.

    Args:
        stack: The open rasters.
        rows: Height of the windows in pixels of the grid.
        columns: How many columns of the grid they move along; None for all.
    """
    moved = stack.grid.width if columns is None else columns
    sources = zip(
        (stack.hsi_info, *stack.x_info),
        (stack.hsi_bands, *stack.x_bands),
        stack.warped,
        strict=True,
    )
    return sum(
        _blocks(info, len(bands), rows, moved / stack.grid.width, stack.grid)
        + (_WARP_ROWS * moved * 4 * len(bands) if warped else 0)
        for info, bands, warped in sources
    )


def _blocks(info: RasterInfo, bands: int, rows: int, share: float, grid: Grid) -> int:
    """Bytes of the blocks under so many rows of a grid, and under a share of its columns."""
    height, width = info.block_shape
    native = math.ceil(rows * min(1.0, grid.gsd_m / info.grid.gsd_m))
    # A row of windows rarely begins where a row of blocks begins.
    covered = min((math.ceil(native / height) + 1) * height, info.grid.height)
    # A GeoTIFF in plain tiles is read past the cache, but for what the few under a window hold.
    wide = 4 * width if info.plain_tiles else math.ceil(share * info.grid.width) + width
    columns = min(wide, info.grid.width)
    size: int = covered * columns * bands * np.dtype(info.dtype).itemsize
    return size
