"""How much GDAL should be able to keep of a scene's files, so that no block is decoded twice."""

from __future__ import annotations

import numpy as np

from comix_cli.scene.raster import open_raster
from comix_cli.scene.stack import Stack

# What GDAL's warper writes its results in.
_WARP_ROWS = 128


def cache_bytes(stack: Stack) -> int:
    """Bytes of a row of blocks of every compressed raster, decoded, and of what is warped of them.

    Windows move along rows of the grid. Where less than this fits into GDAL's cache, blocks are
    decoded again for every row of windows that touches them.
    """
    infos, bands = (stack.hsi_info, *stack.x_info), (stack.hsi_bands, *stack.x_bands)
    files = sum(
        _row_of_blocks(info.path, len(used)) for info, used in zip(infos, bands, strict=True)
    )
    warped = _WARP_ROWS * stack.grid.width * 4 * sum(len(used) for used in bands[1:])
    return files + warped


def _row_of_blocks(path: str, bands: int) -> int:
    with open_raster(path) as dataset:
        height, width = dataset.block_shapes[0]
        item = np.dtype(dataset.dtypes[0]).itemsize
        # A row of windows rarely begins where a row of blocks begins.
        rows = min(2 * height, dataset.height)
        # Reading a plain block again is no work, so only those under one window need to stay.
        columns = dataset.width if dataset.compression else min(4 * width, dataset.width)
        size: int = rows * columns * bands * item
        return size
