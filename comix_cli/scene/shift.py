"""How far two images of one place are apart, found by comparing their edges.

What is bright for one sensor may be dark for another, but where one sees an edge the other mostly
sees one too. So the strength of edges is compared: at every shift the normalised correlation of the
two, over the pixels that both have (Padfield 2012, Masked object registration in the Fourier
domain), after the broad differences of strength are evened out, which is what phase correlation
does to all frequencies alike, noise included.

An answer is given only where one shift stands out. Numbers in, numbers out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from comix_cli.scene.stack import Block

Array = NDArray[np.float64]

# The peak has to be this many times as high as all that lies farther than `APART` from it ...
CLEARNESS = 1.6
# ... and to stand this many standard deviations of the rest above 0.
SIGNIFICANCE = 6.0
# In pixels: a peak is as wide as the coarser raster's blur.
APART = 4
# Pixels over which the strength of edges is evened out.
SMOOTH = 6.0
# Shifts at which fewer pixels meet are not looked at, as a share of the most that meet.
LEAST_OVERLAP = 0.3


@dataclass(frozen=True)
class Shift:
    """How far the second image lies from the first, in pixels.

    Attributes:
        rows: Downwards.
        cols: To the right.
        unmoved: The correlation without any shift, as a share of that at this one.
    """

    rows: float
    cols: float
    unmoved: float


def estimate_shift(blocks: Sequence[Block], reach: int) -> Shift | None:
    """How far X lies from the HSI in blocks of one scene; None where that cannot be told.

    The blocks' correlations are added up. Of several blocks, at least half have to agree by
    themselves with what all of them say.

    Args:
        blocks: Parts of the scene, in pixels of about half the coarser raster's.
        reach: The largest shift that is looked for along each axis, in pixels.
    """
    surfaces = [surface for block in blocks if (surface := _correlations(block, reach)) is not None]
    if not surfaces:
        return None
    together: Array = np.mean(surfaces, axis=0)
    row, col = _peak(together)
    agreeing = [math.dist(_peak(surface), (row, col)) <= APART / 2 for surface in surfaces]
    if sum(agreeing) * 2 < len(agreeing) or not _stands_out(together, row, col):
        return None
    return Shift(
        row - reach + _vertex(together[row - 1 : row + 2, col]),
        col - reach + _vertex(together[row, col - 1 : col + 2]),
        float(together[reach, reach] / together[row, col]),
    )


def _correlations(block: Block, reach: int) -> Array | None:
    """`(2 reach + 1, 2 reach + 1)`: how alike edges are when X is moved back by each shift.

    None where too little is valid, or one of the two has no edges.
    """
    valid = _inside(block.valid)
    if valid.sum() < (2 * reach) ** 2:
        return None
    hsi, x = (_evened(_edges(data, valid), valid) for data in (block.hsi, block.x))
    if not hsi.any() or not x.any():
        return None
    return _masked_correlation(hsi, x, valid, reach)


def _inside(valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels whose four neighbours are valid as well, so that their gradient is."""
    inside = np.zeros_like(valid)
    inside[1:-1, 1:-1] = (
        valid[1:-1, 1:-1] & valid[:-2, 1:-1] & valid[2:, 1:-1] & valid[1:-1, :-2] & valid[1:-1, 2:]
    )
    return inside


def _edges(data: NDArray[np.float32], valid: NDArray[np.bool_]) -> Array:
    """`(H, W)`: the strength of edges, all bands alike, strong ones held down; 0 where invalid."""
    total = np.zeros(valid.shape)
    for band in data:
        down, right = np.gradient(band.astype(np.float64))
        strength = np.hypot(down, right)
        typical = float(strength[valid].mean())
        if typical > 0:
            total += np.log1p(strength / typical)
    return np.where(valid, total, 0.0)


def _evened(image: Array, valid: NDArray[np.bool_]) -> Array:
    """The image less its local mean, in units of its local standard deviation."""
    weight = np.maximum(_blurred(valid.astype(np.float64)), 1e-3)
    rest = np.where(valid, image - _blurred(image) / weight, 0.0)
    spread = np.sqrt(np.maximum(_blurred(rest**2), 0.0) / weight)
    floor = 0.3 * float(np.sqrt((rest[valid] ** 2).mean()))
    # What is left of a constant is rounding.
    if floor <= 1e-9 * float(np.abs(image).max()):
        return np.zeros_like(rest)
    return rest / np.maximum(spread, floor)


def _blurred(image: Array) -> Array:
    """A Gaussian blur of standard deviation `SMOOTH`, as if nothing lay around the image."""
    margin = int(3 * SMOOTH)
    shape = image.shape[0] + margin, image.shape[1] + margin
    rows, cols = np.fft.fftfreq(shape[0])[:, np.newaxis], np.fft.rfftfreq(shape[1])
    kernel = np.exp(-2 * (math.pi * SMOOTH) ** 2 * (rows**2 + cols**2))
    blurred: Array = np.fft.irfft2(np.fft.rfft2(image, shape) * kernel, shape)
    return blurred[: image.shape[0], : image.shape[1]]


def _masked_correlation(one: Array, other: Array, valid: NDArray[np.bool_], reach: int) -> Array:
    """Pearson's correlation at each shift, over the pixels that are valid in both."""
    shape = valid.shape[0] + reach, valid.shape[1] + reach
    mask = np.fft.rfft2(valid.astype(np.float64), shape)
    images = [np.fft.rfft2(image, shape) for image in (one, other)]
    squares = [np.fft.rfft2(image**2, shape) for image in (one, other)]
    index = np.arange(-reach, reach + 1)

    def summed(fixed: NDArray[np.complex128], moved: NDArray[np.complex128]) -> Array:
        return np.fft.irfft2(np.conj(fixed) * moved, shape)[np.ix_(index, index)]

    pixels = np.maximum(np.rint(summed(mask, mask)), 1)
    sums = summed(images[0], mask), summed(mask, images[1])
    variances = (
        summed(squares[0], mask) - sums[0] ** 2 / pixels,
        summed(mask, squares[1]) - sums[1] ** 2 / pixels,
    )
    scale = np.sqrt(np.maximum(variances[0], 1e-9) * np.maximum(variances[1], 1e-9))
    found = (summed(*images) - sums[0] * sums[1] / pixels) / scale
    return np.where(pixels >= LEAST_OVERLAP * pixels.max(), found, 0.0)


def _peak(surface: Array) -> tuple[int, int]:
    row, col = np.unravel_index(int(surface.argmax()), surface.shape)
    return int(row), int(col)


def _stands_out(surface: Array, row: int, col: int) -> bool:
    """Whether the peak is no accident and not one of many."""
    size = len(surface)
    if not (0 < row < size - 1 and 0 < col < size - 1):
        return False
    rows, cols = np.ogrid[:size, :size]
    rest = surface[np.hypot(rows - row, cols - col) > APART]
    height = float(surface[row, col])
    return height > CLEARNESS * float(rest.max()) and height > SIGNIFICANCE * float(rest.std())


def _vertex(three: Array) -> float:
    """Where between -0.5 and 0.5 the parabola through three values at -1, 0, 1 peaks."""
    before, middle, after = map(float, three)
    bend = before - 2 * middle + after
    return 0.0 if bend >= 0 else (before - after) / (2 * bend)
