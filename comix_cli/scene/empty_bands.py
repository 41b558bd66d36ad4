"""Bands without a single valid pixel, as data centres deliver them in absorption windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from comix_cli.scene.pixels import NativeBands
from comix_cli.scene.windows import Window

_CHUNK_BYTES = 64 << 20


def empty_bands(
    dataset: Any, path: str, bands: Sequence[int], *, chunk_bytes: int = _CHUNK_BYTES
) -> tuple[int, ...]:
    """The 1-based bands among `bands` that are invalid everywhere.

    Exact, and bounded in memory: the raster is read in chunks, each only in the bands that have
    shown no valid pixel so far. The chunk in the middle comes first and mostly settles the matter.
    """
    pending = list(bands)
    for window in _chunks(dataset, len(pending), chunk_bytes):
        if not pending:
            break
        _, valid = NativeBands(dataset, path, pending).read_raw(window)
        alive = np.logical_or.reduce(valid, axis=(1, 2))
        pending = [band for band, seen in zip(pending, alive, strict=True) if not seen]
    return tuple(pending)


def _chunks(dataset: Any, bands: int, chunk_bytes: int) -> Iterator[Window]:
    """Windows that cover the raster: the middle one, then all from the top."""
    height, width = _chunk_shape(dataset, bands, chunk_bytes)
    starts = [
        (row, col)
        for row in range(0, dataset.height, height)
        for col in range(0, dataset.width, width)
    ]
    for row, col in (starts[len(starts) // 2], *starts):
        yield Window(row, col, min(height, dataset.height - row), min(width, dataset.width - col))


def _chunk_shape(dataset: Any, bands: int, chunk_bytes: int) -> tuple[int, int]:
    """Whole blocks of the file as far as memory allows, in rows and columns."""
    block_height, block_width = dataset.block_shapes[0]
    # Besides the values, validity takes a byte and the comparison a copy.
    pixels = max(1, chunk_bytes // (bands * (2 * np.dtype(np.float64).itemsize + 1)))
    height = min(dataset.height, max(1, min(block_height, pixels)))
    width = min(dataset.width, max(1, pixels // height))
    if block_width < width < dataset.width:
        width -= width % block_width
    if width == dataset.width:
        height = min(dataset.height, max(height, pixels // width // height * height))
    return height, width
