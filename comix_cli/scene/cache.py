"""How much GDAL should be able to keep of a scene's files, so that no block is decoded twice."""

from __future__ import annotations

import math

import numpy as np

from comix_cli.scene.grid import Grid
from comix_cli.scene.raster import RasterInfo
from comix_cli.scene.stack import Stack

# What GDAL's warper writes its results in.
_WARP_ROWS = 128


def cache_bytes(stack: Stack, rows: int) -> int:
    """Bytes of the blocks under a row of windows in every raster, and of what is warped of them.

    Windows move along rows of the grid. Where less than this fits into GDAL's cache, blocks are
    decoded again for every window that touches them.

    Args:
        stack: The open rasters.
        rows: Height of the windows in pixels of the grid.
    """
    sources = zip(
        (stack.hsi_info, *stack.x_info),
        (stack.hsi_bands, *stack.x_bands),
        stack.warped,
        strict=True,
    )
    return sum(
        _blocks(info, len(bands), rows, stack.grid)
        + (_WARP_ROWS * stack.grid.width * 4 * len(bands) if warped else 0)
        for info, bands, warped in sources
    )


def _blocks(info: RasterInfo, bands: int, rows: int, grid: Grid) -> int:
    height, width = info.block_shape
    native = math.ceil(rows * min(1.0, grid.gsd_m / info.grid.gsd_m))
    # A row of windows rarely begins where a row of blocks begins.
    covered = min((math.ceil(native / height) + 1) * height, info.grid.height)
    # A GeoTIFF in plain tiles is read past the cache, but for what the few under a window hold.
    columns = min(4 * width, info.grid.width) if info.plain_tiles else info.grid.width
    size: int = covered * columns * bands * np.dtype(info.dtype).itemsize
    return size
