"""One raster seen through a grid, window by window.

Two ways lead to a pixel. Where the raster has the grid's CRS, is not rotated, and either lies on
the grid's own pixels or is to be taken by nearest neighbour, its native pixels are read and
repeated: for a hyperspectral image under a fine grid that is many times faster than warping. All
else goes through GDAL's warper.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as RasterioWindow

from comix_cli.errors import RasterError
from comix_cli.scene.grid import SNAP_TOLERANCE, Grid, same_crs
from comix_cli.scene.raster import RasterInfo, first_line
from comix_cli.scene.windows import Window

# Beyond it lie only fill values, such as the lowest float32 in the various ways of rounding it.
LARGEST_VALUE = 1e30
# The warper approximates coordinates to within this many source pixels. GDAL's own default, 0.125,
# would make values depend on where the grid begins.
WARP_TOLERANCE = 1e-4
# These leave a pixel as it is when both grids coincide; the smoothing ones (cubic_spline) do not.
_INTERPOLATING = frozenset(
    ("nearest", "bilinear", "cubic", "lanczos", "average", "mode", "min", "max", "med", "q1", "q3")
)
# Types whose values float32 cannot all tell apart, nodata values among them.
_NEEDS_FLOAT64 = frozenset(("int32", "uint32", "int64", "uint64", "float64"))


@dataclass(frozen=True)
class Values:
    """A window of one raster: `(bands, H, W)` float32, and `(H, W)` True where all are valid.

    Invalid pixels hold anything.
    """

    data: NDArray[np.float32]
    valid: NDArray[np.bool_]


class BandReader(Protocol):
    """Reads windows of a grid from one raster."""

    def read(self, window: Window) -> Values:
        """The values of a window of the grid."""

    def read_valid(self, window: Window) -> NDArray[np.bool_]:
        """`(H, W)` True where all bands are valid."""


def band_reader(
    dataset: Any, info: RasterInfo, grid: Grid, bands: Sequence[int], resampling: str
) -> BandReader:
    """The fastest exact way from a raster to a grid.

    Args:
        dataset: The open rasterio dataset; it stays open as long as the reader is used.
        info: What it says about itself.
        grid: A north-up grid.
        bands: 1-based bands, in the order wanted.
        resampling: Name of a rasterio `Resampling`.
    """
    if _repeats_native_pixels(info.grid, grid, resampling):
        return NativeReader(dataset, info, grid, bands)
    return WarpedReader(dataset, info, grid, bands, resampling)


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

    def __init__(self, dataset: Any, info: RasterInfo, grid: Grid, bands: Sequence[int]) -> None:
        self._native = NativeBands(dataset, info.path, bands)
        to_source = ~info.grid.transform * grid.transform
        rows, cols = np.arange(grid.height) + 0.5, np.arange(grid.width) + 0.5
        self._rows = _nearest(rows * to_source.e + to_source.f, info.grid.height)
        self._cols = _nearest(cols * to_source.a + to_source.c, info.grid.width)

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
        return found.spread(self._native.read(found.native).valid)

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


def _nearest(positions: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    """Indices of the pixels at positions along an axis; -1 outside."""
    indices = np.floor(positions + SNAP_TOLERANCE)
    inside = (indices >= 0) & (indices < size)
    return np.where(inside, indices, -1).astype(np.int64)


class NativeBands:
    """Reads a raster's own pixels: physical values, and where they are valid."""

    def __init__(self, dataset: Any, path: str, bands: Sequence[int]) -> None:
        self._dataset, self._path, self._bands = dataset, path, list(bands)
        self._dtype = working_dtype(dataset, bands)
        self._nodata = [dataset.nodatavals[band - 1] for band in bands]
        self._scaling = Scaling(dataset, bands)
        self._masks = _mask_bands(dataset, self._bands)

    @property
    def count(self) -> int:
        """Number of bands."""
        return len(self._bands)

    def read(self, window: Window) -> Values:
        """The values of a window in the raster's own pixels."""
        data, valid = self.read_raw(window)
        return Values(self._scaling(data), np.logical_and.reduce(valid, axis=0))

    def read_raw(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Values as stored, and `(bands, H, W)` True where a band is valid.

        Raises:
            RasterError: The file cannot be read to its end.
        """
        place = RasterioWindow(window.col, window.row, window.width, window.height)
        try:
            data = self._dataset.read(self._bands, window=place, out_dtype=self._dtype)
            masks = self._dataset.read_masks(self._masks, window=place) if self._masks else None
        except RasterioError as error:
            raise read_error(self._path, error) from error
        valid = plausible(data)
        for band, nodata in enumerate(self._nodata):
            if nodata is not None:
                valid[band] &= data[band] != nodata
        if masks is not None:
            valid &= masks != 0
        return data, valid


def _mask_bands(dataset: Any, bands: Sequence[int]) -> list[int]:
    """The bands whose mask says more than their nodata value: one of them where they share it."""
    flags = [dataset.mask_flag_enums[band - 1] for band in bands]
    if all(MaskFlags.per_dataset in flag for flag in flags):
        return list(bands[:1])
    told = (MaskFlags.all_valid, MaskFlags.nodata)
    return [] if all(any(t in flag for t in told) for flag in flags) else list(bands)


class WarpedReader:
    """Reads through GDAL's warper, which keeps to windows and never holds the whole raster.

    Each band's invalid pixels are left out of the interpolation of that band. What no valid pixel
    reaches comes out as NaN.
    """

    def __init__(
        self, dataset: Any, info: RasterInfo, grid: Grid, bands: Sequence[int], resampling: str
    ) -> None:
        self._path, self._bands = info.path, list(bands)
        self._scaling = Scaling(dataset, bands)
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
        place = RasterioWindow(window.col, window.row, window.width, window.height)
        data = np.empty((len(self._bands), *window.shape), self._dtype)
        try:
            for vrt, places in self._groups:
                data[places] = vrt.read([self._bands[i] for i in places], window=place)
        except RasterioError as error:
            raise read_error(self._path, error) from error
        return Values(self._scaling(data), np.logical_and.reduce(plausible(data), axis=0))

    def read_valid(self, window: Window) -> NDArray[np.bool_]:
        """`(H, W)` True where all bands are valid."""
        return self.read(window).valid


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


class Scaling:
    """Turns stored numbers into physical values: value * scale + offset, band by band."""

    def __init__(self, dataset: Any, bands: Sequence[int]) -> None:
        scales = np.array([dataset.scales[band - 1] for band in bands])
        offsets = np.array([dataset.offsets[band - 1] for band in bands])
        self._identical = bool((scales == 1).all() and (offsets == 0).all())
        self._scales = scales[:, np.newaxis, np.newaxis]
        self._offsets = offsets[:, np.newaxis, np.newaxis]

    def __call__(self, data: NDArray[Any]) -> NDArray[np.float32]:
        """The physical values as float32."""
        if not self._identical:
            data = data * self._scales.astype(data.dtype) + self._offsets.astype(data.dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # fill values, which are invalid anyway
            return data.astype(np.float32, copy=False)


def working_dtype(dataset: Any, bands: Sequence[int]) -> np.dtype[Any]:
    """The float type in which values of these bands can be compared with their nodata value."""
    wide = any(dataset.dtypes[band - 1] in _NEEDS_FLOAT64 for band in bands)
    return np.dtype(np.float64 if wide else np.float32)


def plausible(data: NDArray[Any]) -> NDArray[np.bool_]:
    """True for numbers that can be measurements: neither NaN, nor infinite, nor beyond all use."""
    with np.errstate(invalid="ignore"):
        result: NDArray[np.bool_] = np.abs(data) < LARGEST_VALUE
    return result


def read_error(path: str, error: Exception) -> RasterError:
    """The error for a raster that opens but cannot be read."""
    return RasterError(
        f"cannot be read; it may be truncated or damaged ({first_line(str(error), path)})",
        path=path,
        remedy="compare its size with the original and copy it again",
    )
