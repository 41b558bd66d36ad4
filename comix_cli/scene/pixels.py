"""A raster's own pixels: physical values, and where each band is valid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from comix_cli.errors import RasterError
from comix_cli.scene.raster import alpha_bands, first_line
from comix_cli.scene.spectral import BandMix
from comix_cli.scene.windows import Window

# Beyond it lie only fill values, such as the lowest float32 in the various ways of rounding it.
LARGEST_VALUE = 1e30
# Types whose values float32 cannot all tell apart, nodata values among them.
_NEEDS_FLOAT64 = frozenset(("int32", "uint32", "int64", "uint64", "float64"))


@dataclass(frozen=True)
class Values:
    """A window of one raster: `(bands, H, W)` float32, and `(H, W)` True where all are valid.

    Invalid pixels hold anything.
    """

    data: NDArray[np.float32]
    valid: NDArray[np.bool_]


class NativeBands:
    """Reads a raster's own pixels: physical values, and where they are valid.

    Args:
        dataset: The open rasterio dataset.
        path: What to call it in messages.
        bands: 1-based bands, in the order wanted.
        mix: Sums of those bands that are wanted in their place.
    """

    def __init__(
        self, dataset: Any, path: str, bands: Sequence[int], mix: BandMix | None = None
    ) -> None:
        self._dataset, self._path, self._bands = dataset, path, list(bands)
        self._mix = mix
        self._dtype = working_dtype(dataset, bands)
        self._nodata = [dataset.nodatavals[band - 1] for band in bands]
        self._scaling = Scaling(dataset, path, bands)
        self._masks = _mask_bands(dataset, self._bands)
        # GDAL takes an alpha band for a mask in images of two or four bands only.
        self._alpha = list(alpha_bands(dataset))

    @property
    def count(self) -> int:
        """Number of bands that reading yields."""
        return len(self._bands if self._mix is None else self._mix.rows)

    def read(self, window: Window) -> Values:
        """The values of a window in the raster's own pixels."""
        data, valid = self.read_raw(window)
        scaled = self._scaling(data, valid, window)
        return Values(mixed(scaled, self._mix), np.logical_and.reduce(valid, axis=0))

    def read_valid(self, window: Window) -> NDArray[np.bool_]:
        """`(H, W)` True where all bands are valid."""
        valid: NDArray[np.bool_] = np.logical_and.reduce(self.read_raw(window)[1], axis=0)
        return valid

    def read_raw(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Values as stored, and `(bands, H, W)` True where a band is valid.

        Raises:
            RasterError: The file cannot be read to its end.
        """
        place = RasterioWindow(window.col, window.row, window.width, window.height)
        try:
            data = self._dataset.read(self._bands, window=place, out_dtype=self._dtype)
            masks = self._dataset.read_masks(self._masks, window=place) if self._masks else None
            alpha = self._dataset.read(self._alpha, window=place) if self._alpha else None
        except RasterioError as error:
            raise read_error(self._path, error) from error
        valid = plausible(data)
        for band, nodata in enumerate(self._nodata):
            if nodata is not None:
                valid[band] &= data[band] != nodata
        if masks is not None:
            valid &= masks != 0
        if alpha is not None:
            valid &= (alpha != 0).all(axis=0)
        return data, valid


def mixed(data: NDArray[np.float32], mix: BandMix | None) -> NDArray[np.float32]:
    """The bands that are wanted, made of those that were read."""
    return data if mix is None else mix.apply(data)


def _mask_bands(dataset: Any, bands: Sequence[int]) -> list[int]:
    """The bands whose mask says more than their nodata value: one of them where they share it."""
    flags = [dataset.mask_flag_enums[band - 1] for band in bands]
    if all(MaskFlags.per_dataset in flag for flag in flags):
        return list(bands[:1])
    told = (MaskFlags.all_valid, MaskFlags.nodata)
    return [] if all(any(t in flag for t in told) for flag in flags) else list(bands)


class Scaling:
    """Turns stored numbers into physical values: value * scale + offset, band by band."""

    def __init__(self, dataset: Any, path: str, bands: Sequence[int]) -> None:
        self._path, self._bands = path, list(bands)
        scales = np.array([dataset.scales[band - 1] for band in bands])
        offsets = np.array([dataset.offsets[band - 1] for band in bands])
        self._identical = bool((scales == 1).all() and (offsets == 0).all())
        self._scales = scales[:, np.newaxis, np.newaxis]
        self._offsets = offsets[:, np.newaxis, np.newaxis]

    def __call__(
        self, data: NDArray[Any], valid: NDArray[np.bool_], window: Window
    ) -> NDArray[np.float32]:
        """The physical values as float32.

        Raises:
            RasterError: A valid number becomes NaN, infinite or beyond all use.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # fill values, which are invalid anyway
            if self._identical:
                return data.astype(np.float32, copy=False)
            data = data * self._scales.astype(data.dtype) + self._offsets.astype(data.dtype)
            scaled: NDArray[np.float32] = data.astype(np.float32, copy=False)
        spoilt = (valid & ~plausible(scaled)).any(axis=(1, 2))
        if spoilt.any():
            raise self._error(int(spoilt.argmax()), window)
        return scaled

    def _error(self, place: int, window: Window) -> RasterError:
        scale, offset = (each[place].item() for each in (self._scales, self._offsets))
        return RasterError(
            f"band {self._bands[place]} has numbers that its scale of {scale:g} and its offset of "
            f"{offset:g} make NaN, infinite or larger than {LARGEST_VALUE:g}, in the window of "
            f"{window.height} x {window.width} pixels at row {window.row}, column {window.col}",
            path=self._path,
            remedy="correct them in the file, for instance with gdal_edit.py -scale and -offset",
        )


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
