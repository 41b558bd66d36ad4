"""Small pairs of a coarse HSI and a fine optical image, made from a truth that is known.

The coarse image is sampled from the truth on a canvas larger than the fine image, by a Gaussian
around each of its pixels' centres, wherever its grid places these: nothing of `comix` is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
from affine import Affine
from numpy.typing import NDArray
from rasterio.warp import transform_bounds
from scenes import CRS, ORIGIN, write_raster
from scipy.ndimage import gaussian_filter

GSD = 5.0
WAVELENGTHS = tuple(450.0 + 20 * i for i in range(30))
FWHM = (20.0,) * len(WAVELENGTHS)
X_WAVELENGTHS = (490.0, 560.0, 665.0, 842.0)
X_FWHM = (66.0, 36.0, 32.0, 106.0)
X_GAIN, X_OFFSET = 8000.0, 150.0
# Full width at half maximum of what a coarse pixel sees, as a share of its side.
SEEN = 1.0
_MARGIN = 40
_PER_FWHM = 2 * np.sqrt(2 * np.log(2))


@dataclass(frozen=True)
class Canvas:
    """The truth, and where the fine image lies in it.

    Attributes:
        values: `(bands, H + 2 margin, W + 2 margin)`, reflectance.
        shape: `(H, W)` of the fine image.
    """

    values: NDArray[np.float64]
    shape: tuple[int, int]

    @property
    def fine(self) -> NDArray[np.float64]:
        """The truth under the fine image, `(bands, H, W)`."""
        height, width = self.shape
        return self.values[:, _MARGIN : _MARGIN + height, _MARGIN : _MARGIN + width]

    @property
    def x(self) -> NDArray[np.uint16]:
        """What the fine sensor gives: Gaussian responses, gain and offset, whole numbers."""
        rows = [
            np.exp(-0.5 * ((np.array(WAVELENGTHS) - centre) * _PER_FWHM / width) ** 2)
            for centre, width in zip(X_WAVELENGTHS, X_FWHM, strict=True)
        ]
        response = np.array(rows) / np.sum(rows, axis=1, keepdims=True)
        seen = np.tensordot(response, self.fine, 1)
        return np.rint(X_GAIN * seen + X_OFFSET).astype(np.uint16)


@dataclass(frozen=True)
class CoarseGrid:
    """Where the pixels of an HSI lie."""

    crs: str
    transform: Affine
    shape: tuple[int, int]


def painted(shape: tuple[int, int] = (96, 80), seed: int = 0) -> Canvas:
    """Five smooth spectra in changing shares, with fields and fine texture."""
    rng = np.random.default_rng(seed)
    size = (shape[0] + 2 * _MARGIN, shape[1] + 2 * _MARGIN)
    scaled = (np.array(WAVELENGTHS) - 450) / 580
    spectra = np.array(
        [
            0.08 + 0.3 * scaled,
            0.05 + 0.4 / (1 + np.exp(-(scaled - 0.45) * 18)),
            0.35 - 0.1 * scaled,
            0.1 * np.exp(-3 * scaled) + 0.02,
            0.15 + 0.15 * np.sin(3 * scaled),
        ]
    )
    smooth = np.array([gaussian_filter(rng.normal(size=size), 3) for _ in spectra])
    fine = np.array([gaussian_filter(rng.normal(size=size), 1) for _ in spectra])
    weights = np.exp(3 * smooth / smooth.std() + fine / fine.std())
    shares = weights / weights.sum(0)
    light = 1 + 0.05 * rng.normal(size=size)
    return Canvas(np.tensordot(spectra.T, shares, 1) * light, shape)


def with_square(rows: slice, cols: slice) -> Canvas:
    """A dark ground, a little textured, with one bright square; places in the fine image."""
    canvas = painted()
    values = 0.5 * canvas.values
    rows = slice(rows.start + _MARGIN, rows.stop + _MARGIN)
    cols = slice(cols.start + _MARGIN, cols.stop + _MARGIN)
    values[:, rows, cols] = 0.9
    return Canvas(values, canvas.shape)


def fine_transform() -> Affine:
    """Where the fine image lies."""
    return Affine(GSD, 0, ORIGIN[0], 0, -GSD, ORIGIN[1])


def coarse_grid(
    shape: tuple[int, int], ratio: float = 4.0, offset: tuple[float, float] = (0.0, 0.0)
) -> CoarseGrid:
    """Whole coarse pixels that cover the fine image, in its CRS.

    Args:
        shape: Of the fine image.
        ratio: Fine pixels along a coarse one.
        offset: Of the first coarse pixel's corner, in fine pixels, (down, across).
    """
    step = GSD * ratio
    left, top = ORIGIN[0] + GSD * offset[1], ORIGIN[1] - GSD * offset[0]
    sides = [int(np.ceil((n - o) / ratio - 1e-9)) for n, o in zip(shape, offset, strict=True)]
    return CoarseGrid(CRS, Affine(step, 0, left, 0, -step, top), (sides[0], sides[1]))


def grid_in(crs: str, shape: tuple[int, int], metres: float = 20.0) -> CoarseGrid:
    """Coarse pixels of a given size that cover the fine image in another CRS."""
    right, bottom = ORIGIN[0] + GSD * shape[1], ORIGIN[1] - GSD * shape[0]
    west, south, east, north = transform_bounds(CRS, crs, ORIGIN[0], bottom, right, ORIGIN[1])
    across = down = metres
    if pyproj.CRS(crs).is_geographic:
        down = metres / 111_200
        across = down / np.cos(np.radians(north))
    size = (int(np.ceil((north - south) / down)), int(np.ceil((east - west) / across)))
    return CoarseGrid(crs, Affine(across, 0, west, 0, -down, north), size)


def seen_by(canvas: Canvas, grid: CoarseGrid, ratio: float = 4.0) -> NDArray[np.float64]:
    """What the coarse sensor gives: `(bands, h, w)`."""
    rows, cols = (c.ravel() + 0.5 for c in np.indices(grid.shape))
    t = grid.transform
    across, down = t.a * cols + t.b * rows + t.c, t.d * cols + t.e * rows + t.f
    if grid.crs != CRS:
        turned = pyproj.Transformer.from_crs(grid.crs, CRS, always_xy=True)
        across, down = turned.transform(across, down)
    fine = fine_transform()
    cols, rows = (np.array(across) - fine.c) / fine.a, (np.array(down) - fine.f) / fine.e
    sigma = SEEN * ratio / _PER_FWHM
    values = [_around(canvas.values, r, c, sigma) for r, c in zip(rows, cols, strict=True)]
    return np.array(values).T.reshape(-1, *grid.shape)


def _around(
    values: NDArray[np.float64], row: float, col: float, sigma: float
) -> NDArray[np.float64]:
    """The mean of each band around a place in the fine image, in fine pixels."""
    weights, slices = [], []
    for place, size in zip((row, col), values.shape[1:], strict=True):
        centre = place + _MARGIN
        first, last = int(centre - 4 * sigma), int(centre + 4 * sigma) + 1
        assert 0 <= first < last <= size, "the canvas is too small"
        weights.append(np.exp(-0.5 * ((np.arange(first, last) + 0.5 - centre) / sigma) ** 2))
        slices.append(slice(first, last))
    part = values[:, slices[0], slices[1]]
    total = np.einsum("h,bhw,w->b", weights[0], part, weights[1], optimize=True)
    mean: NDArray[np.float64] = total / (weights[0].sum() * weights[1].sum())
    return mean


def write_hsi(path: Path, values: NDArray[Any], grid: CoarseGrid, **options: Any) -> Path:
    """Write a coarse image with wavelengths."""
    told: dict[str, Any] = {"wavelengths": WAVELENGTHS, "fwhm": FWHM} | options
    return write_raster(path, values, crs=grid.crs, transform=grid.transform, **told)


def write_x(path: Path, values: NDArray[Any], **options: Any) -> Path:
    """Write a fine image with wavelengths."""
    told: dict[str, Any] = {
        "wavelengths": X_WAVELENGTHS,
        "fwhm": X_FWHM,
        "transform": fine_transform(),
    } | options
    return write_raster(path, values, **told)


def write_pair(
    folder: Path,
    canvas: Canvas,
    grid: CoarseGrid | None = None,
    ratio: float = 4.0,
) -> Path:
    """Write hsi.tif, x.tif and truth.tif (float32, float32, uint16) into a folder."""
    grid = grid or coarse_grid(canvas.shape, ratio)
    write_hsi(folder / "hsi.tif", seen_by(canvas, grid, ratio).astype(np.float32), grid)
    write_x(folder / "x.tif", canvas.x)
    write_x(
        folder / "truth.tif", canvas.fine.astype(np.float32), wavelengths=WAVELENGTHS, fwhm=FWHM
    )
    return folder
