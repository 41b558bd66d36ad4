"""Likeness of two images around every pixel, computed block by block.

A window is 11 x 11 pixels, weighted by a Gaussian of 1.5 pixels (Wang et al. 2004, IEEE
Transactions on Image Processing 13), the same for SSIM and UIQI, so that both follow from one set
of local statistics. (Wang and Bovik first took 8 x 8 equal weights for UIQI.) There is one around
each pixel, except where it would reach beyond the image or hold an invalid pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, minimum_filter1d

from comix_cli.scene.windows import Window

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Cube = NDArray[Any]
Core = tuple[slice, slice]

# Pixels that a window reaches beyond its centre; so many a block needs around its core.
HALO = 5
_SIGMA = 1.5
_BELL = np.exp(-0.5 * (np.arange(-HALO, HALO + 1) / _SIGMA) ** 2)
_KERNEL = _BELL / _BELL.sum()
# Variance, as a part of the mean square, that rounding of float32 values alone can cause.
_FLAT = float(np.finfo(np.float32).eps) ** 2


@dataclass(frozen=True)
class Block:
    """Pixels to read, and which of them count.

    Attributes:
        window: Pixels of the image, with the halo.
        core: Where in `window` the pixels that count lie: its rows and its columns.
    """

    window: Window
    core: Core


def blocks(shape: tuple[int, int], size: tuple[int, int], halo: int = HALO) -> tuple[Block, ...]:
    """Cut an image into blocks, row by row, whose cores hold each pixel once.

    Windows end at multiples of `size`, and reach back into those before them. A file that is stored
    in tiles of that size, or of a part of it, is then read in as few of them as can be.

    Args:
        shape: Height and width of the image.
        size: Height and width of a core; the first ones of an axis are smaller by the halo, and
            the last ones hold what is left.
        halo: How far windows reach beyond their cores where the image does.

    Raises:
        ValueError: Cores would not be larger than the halo, or the image is empty.
    """
    if min(shape) < 1 or halo < 0 or min(size) <= halo:
        raise ValueError(f"no blocks of {size} pixels with a halo of {halo} in {shape} pixels")
    rows, cols = (_spans(*axis, halo) for axis in zip(shape, size, strict=True))
    return tuple(
        Block(Window(top, left, height, width), (down, across))
        for (top, height, down), (left, width, across) in product(rows, cols)
    )


def _spans(length: int, size: int, halo: int) -> Iterator[tuple[int, int, slice]]:
    """Along an axis: the first pixel to read, how many, and which of them count."""
    for first, last in pairwise([0, *range(size - halo, length - halo, size), length]):
        start, stop = max(0, first - halo), min(length, last + halo)
        yield start, stop - start, slice(first - start, last - start)


@dataclass(frozen=True)
class Usable:
    """What of a block takes part in its figures.

    Attributes:
        core: Rows and columns that count.
        valid: `(h, w)`.
        windows: `(h - 2 HALO, w - 2 HALO)`; 1 where the window centred there lies in the core and
            holds valid pixels only, else 0.
    """

    core: Core
    valid: Mask
    windows: Floats

    @classmethod
    def of(cls, cubes: Sequence[Cube], valid: Mask, core: Core) -> Usable:
        """What can be used of a block.

        Args:
            cubes: `(bands, h, w)`, which must lie on the same rows and columns.
            valid: `(h, w)`; True = use.
            core: Rows and columns that count; pixels beyond belong to windows centred in them.

        Raises:
            ValueError: The shapes do not belong together, or the core lies outside.
        """
        if any(cube.ndim != 3 or cube.shape[1:] != valid.shape for cube in cubes):
            shapes = [cube.shape for cube in cubes]
            raise ValueError(f"cubes of {shapes} with a mask of {valid.shape}")
        if not all(_lies_in(part, size) for part, size in zip(core, valid.shape, strict=True)):
            raise ValueError(f"the core {core} does not lie in {valid.shape} pixels")
        return cls(core, valid, _whole_windows(valid, core))

    @cached_property
    def pixels(self) -> int:
        """How many valid pixels the core has."""
        return int(np.count_nonzero(self.valid[self.core]))

    @cached_property
    def window_count(self) -> int:
        """How many windows there are."""
        return int(np.count_nonzero(self.windows))

    @cached_property
    def _all_valid(self) -> bool:
        return bool(self.valid.all())

    def values(self, band: Cube) -> Floats:
        """One band `(h, w)` of the block, 0 where it is not valid.

        Raises:
            ValueError: A valid pixel is not finite.
        """
        found: Floats = band.astype(np.float64)
        if not self._all_valid:
            found[~self.valid] = 0
        if not np.isfinite(found.sum()):
            raise ValueError("a valid pixel is not finite")
        return found


def _lies_in(part: slice, size: int) -> bool:
    return part.step in {None, 1} and 0 <= part.start <= part.stop <= size


def _whole_windows(valid: Mask, core: Core) -> Floats:
    """1 for each centre in the core of a window that holds valid pixels only, else 0."""
    least = valid.astype(np.float64)
    for axis in (0, 1):
        least = minimum_filter1d(least, 2 * HALO + 1, axis=axis, mode="nearest")
    counted = np.zeros_like(least)
    counted[core] = least[core]
    return _inner(counted)


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
    """A band of a block with the mean and the mean square of its windows.

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
        """The statistics of a band `(h, w)` that has room for a window at least."""
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
