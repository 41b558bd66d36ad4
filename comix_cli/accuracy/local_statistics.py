"""Likeness of two images around every pixel, computed from strips of rows.

A window is 11 x 11 pixels, weighted by a Gaussian of 1.5 pixels (Wang et al. 2004, IEEE
Transactions on Image Processing 13), the same for SSIM and UIQI, so that both follow from one set
of local statistics. (Wang and Bovik first took 8 x 8 equal weights for UIQI.) There is one around
each pixel, except where it would reach beyond the image or hold an invalid pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, minimum_filter1d

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Cube = NDArray[Any]

# Pixels that a window reaches beyond its centre; so many rows a strip needs beyond its core.
HALO = 5
_SIGMA = 1.5
_BELL = np.exp(-0.5 * (np.arange(-HALO, HALO + 1) / _SIGMA) ** 2)
_KERNEL = _BELL / _BELL.sum()
# Rows and columns of a tile's core: a dozen arrays of float64 of this size fit into a cache.
_TILE = (64, 256)
# Variance, as a part of the mean square, that rounding of float32 values alone can cause.
_FLAT = float(np.finfo(np.float32).eps) ** 2


@dataclass(frozen=True)
class Strip:
    """Rows to read, and which of them count.

    Attributes:
        rows: Rows of the image, with the halo.
        core: Where in `rows` the strip itself lies.
    """

    rows: slice
    core: slice


def row_strips(height: int, rows: int) -> Iterator[Strip]:
    """Cut an image into strips whose cores touch, each with as much halo as the image has.

    Args:
        height: Rows of the image.
        rows: Rows of a core; the last may have fewer.

    Raises:
        ValueError: A core would have no rows.
    """
    if rows < 1:
        raise ValueError(f"no strips of {rows} rows")
    return _strips(slice(0, height), height, rows)


def _strips(span: slice, length: int, step: int) -> Iterator[Strip]:
    """Strips whose cores fill `span` of an axis of `length` pixels."""
    for first in range(span.start, span.stop, step):
        last = min(first + step, span.stop)
        start, stop = max(0, first - HALO), min(length, last + HALO)
        yield Strip(slice(start, stop), slice(first - start, last - start))


@dataclass(frozen=True)
class Tile:
    """A part of a strip that is small enough for the cache.

    Attributes:
        place: Rows and columns of the strip, with the halo.
        core: Where in `place` the pixels that count lie.
        valid: `(h, w)` at `place`.
        windows: `(h - 2 HALO, w - 2 HALO)`; 1 where the window centred there holds valid pixels
            only, else 0.
    """

    place: tuple[slice, slice]
    core: tuple[slice, slice]
    valid: Mask
    windows: Floats

    @cached_property
    def all_valid(self) -> bool:
        """Whether no pixel has to be left out."""
        return bool(self.valid.all())

    def cut(self, image: Cube) -> Floats:
        """The tile of one band `(H, W)` of the strip, 0 where it is not valid.

        Raises:
            ValueError: A valid pixel is not finite.
        """
        values: Floats = image[self.place].astype(np.float64)
        if not self.all_valid:
            values[~self.valid] = 0
        if not np.isfinite(values.sum()):
            raise ValueError("a valid pixel is not finite")
        return values


def tiles(cubes: Sequence[Cube], valid: Mask, core: slice) -> Iterator[Tile]:
    """The tiles of a strip that have valid pixels in their core.

    Args:
        cubes: `(bands, H, W)`, which must lie on the same rows and columns.
        valid: `(H, W)`; True = use.
        core: Rows that count; up to `HALO` more on either side belong to windows centred in them.

    Raises:
        ValueError: The shapes do not belong together, or the core lies outside.
    """
    height, width = valid.shape
    if any(cube.ndim != 3 or cube.shape[1:] != valid.shape for cube in cubes):
        raise ValueError(f"cubes of {[cube.shape for cube in cubes]} with a mask of {valid.shape}")
    if core.step not in {None, 1} or not 0 <= core.start <= core.stop <= height:
        raise ValueError(f"the core {core} does not lie in {height} rows")
    return _tiles(valid, core, width)


def _tiles(valid: Mask, core: slice, width: int) -> Iterator[Tile]:
    for rows in _strips(core, len(valid), _TILE[0]):
        for columns in _strips(slice(0, width), width, _TILE[1]):
            place, inner = (rows.rows, columns.rows), (rows.core, columns.core)
            if valid[place][inner].any():
                yield Tile(place, inner, valid[place], _whole_windows(valid[place]))


def _whole_windows(valid: Mask) -> Floats:
    """1 for each centre of a window that holds valid pixels only, else 0."""
    least = valid.astype(np.float64)
    for axis in (0, 1):
        least = minimum_filter1d(least, 2 * HALO + 1, axis=axis, mode="nearest")
    return _inner(least)


def _inner(image: Floats) -> Floats:
    """The pixels around which there is a whole window; none in an image that is too small."""
    return image[HALO:-HALO, HALO:-HALO]


def _local_mean(image: Floats) -> Floats:
    """The weighted mean of each window that fits into `(h, w)`, at its centre."""
    down = correlate1d(image, _KERNEL, axis=0)[HALO:-HALO]
    across: Floats = correlate1d(down, _KERNEL, axis=1)
    return across[:, HALO:-HALO]


@dataclass(frozen=True)
class LocalBand:
    """A band's tile with the mean and the mean square of its windows.

    Attributes:
        values: `(h, w)`.
        mean: Weighted mean of each window, `(h - 2 HALO, w - 2 HALO)`.
        square: Weighted mean of the squares.
    """

    values: Floats
    mean: Floats
    square: Floats

    @classmethod
    def of(cls, values: Floats) -> LocalBand:
        """The statistics of a tile `(h, w)` that has room for a window at least."""
        return cls(values, _local_mean(values), _local_mean(values * values))

    def scaled(self, gain: float) -> LocalBand:
        """The same band in other units."""
        return LocalBand(self.values * gain, self.mean * gain, self.square * gain**2)


class Likeness:
    """How alike two bands are, window by window.

    SSIM is `(2 m_x m_y + c1) / (m_x^2 + m_y^2 + c1) * (2 s_xy + c2) / (s_x^2 + s_y^2 + c2)` of
    local means m, variances s^2 and the covariance s_xy (Wang et al. 2004). UIQI is the same
    without c1 and c2 (Wang and Bovik 2002, IEEE Signal Processing Letters 9). A factor that becomes
    0 / 0 is 1, so that equal windows are wholly alike even if they are constant.
    """

    def __init__(self, first: LocalBand, second: LocalBand) -> None:
        self._mean_product = 2 * first.mean * second.mean
        self._mean_squares = first.mean**2 + second.mean**2
        squares = first.square + second.square
        self._covariance = 2 * _local_mean(first.values * second.values) - self._mean_product
        self._variances = squares - self._mean_squares
        flat = self._variances <= _FLAT * squares
        if flat.any():
            self._covariance[flat] = 0
            self._variances[flat] = 0

    def uiqi(self) -> Floats:
        """Universal image quality index of each window, -1..1."""
        return self.ssim(0)

    def ssim(self, data_range: float) -> Floats:
        """Structural similarity of each window, -1..1, with K1 = 0.01 and K2 = 0.03.

        Args:
            data_range: How far values reach, in their unit; 0 gives UIQI.
        """
        c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
        means = _ratio(self._mean_product + c1, self._mean_squares + c1)
        return means * _ratio(self._covariance + c2, self._variances + c2)


def _ratio(upper: Floats, lower: Floats) -> Floats:
    """`upper / lower`, 1 where both are 0; `lower` is 0 only where `upper` is."""
    nothing = lower == 0
    if nothing.any():
        return np.divide(upper, lower, out=np.ones_like(upper), where=~nothing)
    return upper / lower
