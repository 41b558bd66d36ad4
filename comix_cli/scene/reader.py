"""One raster seen through a grid, window by window.

Two ways lead to a pixel. Where the raster has the grid's CRS, is not rotated, and either lies on
the grid's own pixels or is to be taken by nearest neighbour, its native pixels are read and
repeated: for a hyperspectral image under a fine grid that is many times faster than warping. All
else goes through GDAL's warper.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as RasterioWindow

from comix_cli.errors import RasterError
from comix_cli.scene.grid import SNAP_TOLERANCE, Grid, same_crs
from comix_cli.scene.pixels import (
    NativeBands,
    Scaling,
    Values,
    mixed,
    plausible,
    read_error,
    working_dtype,
)
from comix_cli.scene.raster import RasterInfo, first_line
from comix_cli.scene.spectral import BandMix
from comix_cli.scene.windows import Window

# GDAL warps what a large request covers at one go, with other roundings than block by block. Values
# would then depend on the windows that they are read in. It looks at the environment when it reads,
# in whichever thread.
os.environ.setdefault("GDAL_VRT_WARP_USE_DATASET_RASTERIO", "NO")

# The warper approximates coordinates to within this many source pixels, along rows. With GDAL's own
# default, 0.125, or anything that shows in a value, values would depend on where the grid begins.
WARP_TOLERANCE = 1e-9
# These leave a pixel as it is when both grids coincide; the smoothing ones (cubic_spline) do not.
_INTERPOLATING = frozenset(
    ("nearest", "bilinear", "cubic", "lanczos", "average", "mode", "min", "max", "med", "q1", "q3")
)
# These give a value wherever one neighbour has one, and so close holes by up to a pixel.
_EXTRAPOLATING = frozenset(("bilinear", "cubic", "cubic_spline", "lanczos"))


class BandReader(Protocol):
    """Reads windows of a grid from one raster."""

    def read(self, window: Window) -> Values:
        """The values of a window of the grid."""

    def read_valid(self, window: Window) -> NDArray[np.bool_]:
        """`(H, W)` True where all bands are valid."""

    def close(self) -> None:
        """Let go of what reading needs; the dataset itself stays open."""


def band_reader(
    dataset: Any,
    info: RasterInfo,
    grid: Grid,
    bands: Sequence[int],
    resampling: str,
    mix: BandMix | None = None,
) -> BandReader:
    """The fastest exact way from a raster to a grid.

    Args:
        dataset: The open rasterio dataset; it stays open as long as the reader is used.
        info: What it says about itself.
        grid: A north-up grid.
        bands: 1-based bands, in the order wanted.
        resampling: Name of a rasterio `Resampling`.
        mix: Sums of those bands that are wanted in their place.
    """
    if _repeats_native_pixels(info.grid, grid, resampling):
        return NativeReader(dataset, info, grid, bands, mix)
    warped = WarpedReader(dataset, info, grid, bands, resampling, mix)
    if resampling not in _EXTRAPOLATING:
        return warped
    return HoleKeepingReader(warped, band_reader(dataset, info, grid, bands, "nearest"))


def _repeats_native_pixels(source: Grid, grid: Grid, resampling: str) -> bool:
    t = source.transform
    if t.b != 0 or t.d != 0 or not same_crs(source.crs, grid.crs):
        return False
    to_source = ~t * grid.transform
    if resampling == "nearest":
        # Of a much finer raster nearly all native pixels would be read in vain.
        return bool(max(abs(to_source.a), abs(to_source.e)) <= 2)
    return resampling in _INTERPOLATING and _on_pixels(to_source, grid)


def _on_pixels(to_source: Affine, grid: Grid) -> bool:
    """True where the grid's pixels are the raster's own, to a thousandth of a pixel."""
    corners = ((0, 0), (grid.width, grid.height))
    shifts = [
        (col - c, row - r) for c, r in corners for col, row in [to_source * (float(c), float(r))]
    ]
    whole = (round(shifts[0][0]), round(shifts[0][1]))
    return all(math.dist(shift, whole) <= 1e-3 for shift in shifts)


class NativeReader:
    """Reads native pixels and repeats them: the pixel whose ground holds the grid pixel's centre.

    A centre within a millionth of a pixel of an edge counts as beyond it, so that rounding in the
    coordinates decides nothing.
    """

    def __init__(
        self,
        dataset: Any,
        info: RasterInfo,
        grid: Grid,
        bands: Sequence[int],
        mix: BandMix | None = None,
    ) -> None:
        # Bands are mixed before pixels are repeated: there are far fewer of them.
        self._native = NativeBands(dataset, info.path, bands, mix)
        to_source = ~info.grid.transform * grid.transform
        rows, cols = np.arange(grid.height) + 0.5, np.arange(grid.width) + 0.5
        self._rows = nearest_pixels(rows * to_source.e + to_source.f, info.grid.height)
        self._cols = nearest_pixels(cols * to_source.a + to_source.c, info.grid.width)

    def read(self, window: Window) -> Values:
        """The values of a window of the grid."""
        found = self._locate(window)
        if found is None:
            empty = np.zeros((self._native.count, *window.shape), np.float32)
            return Values(empty, np.zeros(window.shape, np.bool_))
        native = self._native.read(found.native)
        return Values(
            native.data.take(found.cols, axis=2).take(found.rows, axis=1),
            found.spread(native.valid),
        )

    def read_valid(self, window: Window) -> NDArray[np.bool_]:
        """`(H, W)` True where all bands are valid; their values are not spread out."""
        found = self._locate(window)
        if found is None:
            return np.zeros(window.shape, np.bool_)
        return found.spread(self._native.read_valid(found.native))

    def close(self) -> None:
        """Nothing but the dataset is held."""

    def _locate(self, window: Window) -> _Repeats | None:
        """The native pixels under a window; None where there are none."""
        row_slice, col_slice = window.slices
        rows, cols = self._rows[row_slice], self._cols[col_slice]
        inside = (rows >= 0)[:, np.newaxis] & (cols >= 0)
        if not inside.any():
            return None
        top, left = int(rows[rows >= 0].min()), int(cols[cols >= 0].min())
        native = Window(top, left, int(rows.max()) - top + 1, int(cols.max()) - left + 1)
        return _Repeats(native, np.maximum(rows - top, 0), np.maximum(cols - left, 0), inside)


@dataclass(frozen=True)
class _Repeats:
    """Native pixels, and which of them each row and column of a window repeats."""

    native: Window
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    inside: NDArray[np.bool_]

    def spread(self, valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return valid.take(self.cols, axis=1).take(self.rows, axis=0) & self.inside


def nearest_pixels(positions: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    """Indices of the pixels at positions along an axis; -1 outside."""
    indices = np.floor(positions + SNAP_TOLERANCE)
    inside = (indices >= 0) & (indices < size)
    return np.where(inside, indices, -1).astype(np.int64)


class WarpedReader:
    """Reads through GDAL's warper, which keeps to windows and never holds the whole raster.

    Each band's invalid pixels are left out of the interpolation of that band. What no valid pixel
    reaches comes out as NaN.
    """

    def __init__(
        self,
        dataset: Any,
        info: RasterInfo,
        grid: Grid,
        bands: Sequence[int],
        resampling: str,
        mix: BandMix | None = None,
    ) -> None:
        self._path, self._bands, self._mix = info.path, list(bands), mix
        self._scaling = Scaling(dataset, info.path, bands)
        self._dtype = working_dtype(dataset, bands)
        # A VRT knows one nodata value, a raster one per band.
        self._groups: list[tuple[Any, list[int]]] = []
        for nodata in dict.fromkeys(_nodata_key(dataset, band) for band in bands):
            places = [i for i, band in enumerate(bands) if _nodata_key(dataset, band) == nodata]
            vrt = self._open(
                dataset, info, grid, None if nodata is None else float(nodata), resampling
            )
            self._groups.append((vrt, places))

    def _open(
        self, dataset: Any, info: RasterInfo, grid: Grid, nodata: float | None, resampling: str
    ) -> Any:
        is_float = self._dtype.kind == "f" and dataset.dtypes[0].startswith("float")
        try:
            return WarpedVRT(
                dataset,
                src_crs=info.grid.crs,
                crs=grid.crs,
                transform=grid.transform,
                width=grid.width,
                height=grid.height,
                resampling=Resampling[resampling],
                src_nodata=math.nan if nodata is None and is_float else nodata,
                nodata=math.nan,
                dtype=self._dtype.name,
                tolerance=WARP_TOLERANCE,
                # By default a pixel takes part while any of its bands is valid.
                UNIFIED_SRC_NODATA="NO",
                **_kernel_scale(info.grid, grid),
            )
        except RasterioError as error:
            raise RasterError(
                f"cannot be warped to the common grid ({first_line(str(error), self._path)})",
                path=self._path,
            ) from error

    def read(self, window: Window) -> Values:
        """The values of a window of the grid."""
        data = self._read_raw(window)
        valid = plausible(data)
        scaled = self._scaling(data, valid, window)
        return Values(mixed(scaled, self._mix), np.logical_and.reduce(valid, axis=0))

    def read_valid(self, window: Window) -> NDArray[np.bool_]:
        """`(H, W)` True where all bands are valid."""
        valid: NDArray[np.bool_] = np.logical_and.reduce(plausible(self._read_raw(window)), axis=0)
        return valid

    def _read_raw(self, window: Window) -> NDArray[Any]:
        """Values as stored, NaN where invalid."""
        place = RasterioWindow(window.col, window.row, window.width, window.height)
        data = np.empty((len(self._bands), *window.shape), self._dtype)
        try:
            for vrt, places in self._groups:
                data[places] = vrt.read([self._bands[i] for i in places], window=place)
        except RasterioError as error:
            raise read_error(self._path, error) from error
        return data

    def close(self) -> None:
        """Close the virtual datasets."""
        for vrt, _ in self._groups:
            vrt.close()


class HoleKeepingReader:
    """Interpolated values, valid only where the pixel's centre lies in a valid native pixel."""

    def __init__(self, values: BandReader, nearest: BandReader) -> None:
        self._values, self._nearest = values, nearest

    def read(self, window: Window) -> Values:
        """The values of a window of the grid."""
        values = self._values.read(window)
        return Values(values.data, values.valid & self._nearest.read_valid(window))

    def read_valid(self, window: Window) -> NDArray[np.bool_]:
        """`(H, W)` True where all bands are valid."""
        return self._values.read_valid(window) & self._nearest.read_valid(window)

    def close(self) -> None:
        """Close both readers."""
        self._values.close()
        self._nearest.close()


def _nodata_key(dataset: Any, band: int) -> str | None:
    """Text, because NaN equals nothing and would found a group of its own for each band."""
    nodata = dataset.nodatavals[band - 1]
    return None if nodata is None else repr(float(nodata))


def _kernel_scale(source: Grid, grid: Grid) -> dict[str, float]:
    """Grid pixels per raster pixel; GDAL would guess it anew, differently, for every block."""
    if same_crs(source.crs, grid.crs):
        pairs = zip(source.resolution, grid.resolution, strict=True)
        x, y = (native / target for native, target in pairs)
    else:
        x = y = source.gsd_m / grid.gsd_m
    return {"XSCALE": min(x, 1.0), "YSCALE": min(y, 1.0)}
