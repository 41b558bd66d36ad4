"""A sharpened image on disk: blocks go into a tiled GeoTIFF."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from comix_cli.files import write_failure
from comix_cli.scene.grid import Grid
from comix_cli.scene.raster import RasterInfo
from comix_cli.scene.windows import Window

BLOCK = 256
# What programs look for, ENVI's names first; GDAL's own are in the IMAGERY domain.
_WAVELENGTH, _FWHM, _UNITS = "wavelength", "fwhm", "wavelength_units"


@dataclass(frozen=True)
class CubeFormat:
    """How values are stored: as in the HSI that they come from.

    Attributes:
        dtype: NumPy name.
        nodata: Marks what is not valid.
        scales, offsets: For each band: physical value = stored * scale + offset.
        tags: For each band: wavelength, width.
        names: For each band.
    """

    dtype: str
    nodata: float
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    tags: tuple[Mapping[str, str], ...]
    names: tuple[str, ...]

    @classmethod
    def like(cls, dataset: Any, info: RasterInfo, bands: tuple[int, ...]) -> CubeFormat:
        """The format of some bands of an open rasterio dataset.

        Numbers without nodata get a value that nothing is rounded to; floats get NaN.
        """
        dtype = np.result_type(*(dataset.dtypes[band - 1] for band in bands))
        nodata = info.nodata
        if nodata is None:
            nodata = float("nan") if dtype.kind == "f" else float(_unused(dtype))
        return cls(
            dtype.name,
            nodata,
            tuple(float(dataset.scales[band - 1]) for band in bands),
            tuple(float(dataset.offsets[band - 1]) for band in bands),
            tuple(_band_tags(info, band) for band in bands),
            tuple(info.bands.names[band - 1] for band in bands),
        )

    def stored(self, data: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[Any]:
        """Physical values `(bands, H, W)` as they go into the file; none of them is nodata."""
        scale = np.array(self.scales, np.float64)[:, None, None]
        offset = np.array(self.offsets, np.float64)[:, None, None]
        values = (data - offset) / scale
        valid = valid & np.isfinite(values)
        values = np.where(valid, values, 0)
        dtype = np.dtype(self.dtype)
        found = values.astype(dtype) if dtype.kind == "f" else _whole(values, dtype)
        taken = found == self.nodata
        if taken.any():
            found = np.where(taken, _beside(dtype, self.nodata), found)
        return np.where(valid, found, np.array(self.nodata).astype(dtype))


def _whole(values: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The nearest whole numbers that a type has."""
    limits = np.iinfo(dtype)
    highest = float(limits.max)
    if int(highest) > limits.max:  # 64 bits: the largest numbers are no doubles
        highest = float(np.nextafter(highest, 0))
    return np.clip(np.rint(values), limits.min, highest).astype(dtype)


def _beside(dtype: np.dtype[Any], value: float) -> Any:
    """The number next to one."""
    if dtype.kind == "f":
        return np.nextafter(np.array(value).astype(dtype), dtype.type(0 if value else 1))
    return int(value) + (1 if value < np.iinfo(dtype).max else -1)


def _unused(dtype: np.dtype[Any]) -> int:
    limits = np.iinfo(dtype)
    return int(limits.min if limits.min < 0 else limits.max)


def _band_tags(info: RasterInfo, band: int) -> dict[str, str]:
    centre, width = info.bands.wavelengths_nm[band - 1], info.bands.fwhm_nm[band - 1]
    tags = {}
    if centre is not None:
        tags = {_WAVELENGTH: f"{centre:.10g}", _UNITS: "Nanometers"}
        if width is not None:
            tags[_FWHM] = f"{width:.10g}"
    return tags


class CubeFile:
    """Takes blocks in any order."""

    def __init__(self, dataset: Any, form: CubeFormat, target: Path) -> None:
        self._dataset, self._form, self._target = dataset, form, target

    def write(self, window: Window, data: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        """Write a block.

        Raises:
            OutputError: The disk is full, or fails.
        """
        place = RasterioWindow(window.col, window.row, window.width, window.height)
        try:
            self._dataset.write(self._form.stored(data, valid), window=place)
        except RasterioError as error:
            raise write_failure(error, self._target) from error

    def tag(self, tags: Mapping[str, str]) -> None:
        """Write metadata of the whole file."""
        self._dataset.update_tags(**tags)


@contextmanager
def open_cube(path: Path, grid: Grid, form: CubeFormat, target: Path) -> Iterator[CubeFile]:
    """A new tiled GeoTIFF, not compressed, to be turned into the final file.

    Args:
        path: Where it goes.
        grid: Its grid.
        form: How values are stored.
        target: What an error calls the file.
    """
    bands = len(form.names)
    profile = {
        "driver": "GTiff", "width": grid.width, "height": grid.height, "count": bands,
        "dtype": form.dtype, "crs": grid.crs, "transform": grid.transform, "nodata": form.nodata,
        "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "interleave": "band",
        "bigtiff": "IF_SAFER", "sparse_ok": True,
    }  # fmt: skip
    try:
        with rasterio.open(path, "w", **profile) as dataset:
            dataset.scales, dataset.offsets = form.scales, form.offsets
            for index, (name, tags) in enumerate(zip(form.names, form.tags, strict=True), 1):
                dataset.set_band_description(index, name)
                dataset.update_tags(index, **tags)
            yield CubeFile(dataset, form, target)
    except RasterioError as error:  # what was still to be written at the end
        raise write_failure(error, target) from error
