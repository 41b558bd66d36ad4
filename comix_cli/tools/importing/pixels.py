"""A raster that is going to be imported, whatever holds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

# Rows that are read and written at once: one row of the tiles that are written.
STRIP = 128


@dataclass(frozen=True)
class Pixels:
    """An open raster.

    Attributes:
        path: The file.
        bands: Number of bands.
        height: Rows.
        width: Columns.
        read: Rows `[start, stop)` as `(bands, rows, width)`.
        nodata: The value of pixels without data, if the file declares one.
        crs: Where the file says so.
        transform: From (column, row) to the CRS, where the file has one.
        centres_nm: Band centres in nanometres, where the file lists them; else ().
    """

    path: str
    bands: int
    height: int
    width: int
    read: Callable[[int, int], NDArray[Any]]
    nodata: float | None = None
    crs: CRS | None = None
    transform: Affine | None = None
    centres_nm: tuple[float, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    def strips(self, bands: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
        """First rows and values `(bands, rows, width)` from top to bottom, of the first bands."""
        for start in range(0, self.height, STRIP):
            yield start, self.read(start, min(start + STRIP, self.height))[:bands]


def array_pixels(path: str, values: NDArray[Any], **known: Any) -> Pixels:
    """An array in memory, `(H, W)` or `(H, W, bands)`, as Matlab and NumPy users keep images."""
    cube = values[..., np.newaxis] if values.ndim == 2 else values
    height, width, bands = cube.shape

    def read(start: int, stop: int) -> NDArray[Any]:
        return np.moveaxis(cube[start:stop], -1, 0)

    return Pixels(path, bands, height, width, read, **known)


def smallest_dtype(pixels: Pixels, bands: int | None = None) -> str:
    """The smallest of uint8, int16, uint16 and float32 that keeps every value.

    Matlab saves counts as float64. Values with a fraction, or too large for 16 bits, become
    float32, which keeps seven digits.

    Args:
        pixels: The raster.
        bands: How many of the first bands are looked at; None for all.
    """
    lowest, highest = np.inf, -np.inf
    for _, values in pixels.strips(bands):
        if values.dtype in (np.dtype("uint8"), np.dtype("uint16"), np.dtype("int16")):
            return str(values.dtype)
        if values.dtype.kind == "f" and not _is_whole(values):
            return "float32"
        lowest, highest = min(lowest, float(values.min())), max(highest, float(values.max()))
    fitting = (
        name
        for name in ("int16", "uint16")
        if np.iinfo(name).min <= lowest and highest <= np.iinfo(name).max
    )
    return next(fitting, "float32")


def _is_whole(values: NDArray[Any]) -> bool:
    return bool(np.isfinite(values).all() and np.array_equal(values, np.trunc(values)))
