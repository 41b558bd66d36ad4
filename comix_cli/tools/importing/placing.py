"""Where the pixels of a dataset lie: as the files say, else on a local grid of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from comix_cli.errors import RasterError
from comix_cli.scene.grid import Grid
from comix_cli.scene.raster import plain_crs
from comix_cli.tools.importing.matlab import read_vector
from comix_cli.tools.importing.pixels import Pixels
from comix_cli.tools.importing.records import Dataset

# Pixels by which centres may miss an even spacing, far above rounding and below what matters.
_EVEN = 0.01


@dataclass(frozen=True)
class Place:
    """Where a raster lies and who says so.

    Attributes:
        grid: Its grid.
        origin: `file`, `documented CRS`, `same ground as FILE`, or `local`.
    """

    grid: Grid
    origin: str

    @property
    def is_local(self) -> bool:
        """Whether it has no place on Earth."""
        return self.origin == "local"


def place_all(dataset: Dataset, rasters: Sequence[Pixels]) -> list[Place]:
    """Where each raster lies; the HSI is the first.

    A raster without a place of its own lies where the HSI lies, if it has as many pixels or a whole
    number of times as many. Where nothing of the HSI's size has a place, all lie on a local grid:
    pixels of the documented size, the lower left corner at 0, 0.

    Raises:
        RasterError: A raster without a place whose size does not fit the HSI's.
    """
    own = [_own_place(dataset, pixels) for pixels in rasters]
    hsi = own[0] or _borrowed(rasters, own) or _local_place(dataset, rasters[0])
    places = [hsi]
    for pixels, place in zip(rasters[1:], own[1:], strict=True):
        places.append(_beside(hsi, rasters[0], pixels) if place is None or hsi.is_local else place)
    return places


def _own_place(dataset: Dataset, pixels: Pixels) -> Place | None:
    if pixels.transform is not None and pixels.crs is not None:
        crs, origin = plain_crs(pixels.crs), "file"
    elif pixels.transform is not None and dataset.crs is not None:
        crs, origin = CRS.from_user_input(dataset.crs), "documented CRS"
    else:
        return _of_axes(dataset, pixels)
    return Place(Grid(crs, pixels.transform, pixels.width, pixels.height), origin)


def _of_axes(dataset: Dataset, pixels: Pixels) -> Place | None:
    """The place that a .mat file spells out: eastings of columns, northings of rows."""
    if dataset.axes is None or dataset.crs is None or not pixels.path.lower().endswith(".mat"):
        return None
    x, y = (read_vector(pixels.path, name) for name in dataset.axes)
    if x is None or y is None or (y.size, x.size) != pixels.shape:
        return None
    left, width = _even(x)
    top, height = _even(y)
    if not width or not height:
        return None
    transform = Affine(width, 0.0, left, 0.0, height, top)
    crs = CRS.from_user_input(dataset.crs)
    return Place(Grid(crs, transform, pixels.width, pixels.height), "file")


def _even(centres: NDArray[np.float64]) -> tuple[float, float]:
    """The outer edge of the first pixel and the step between centres; 0, 0 if it is not even."""
    if centres.size < 2 or not np.isfinite(centres).all():
        return 0.0, 0.0
    step = float(centres[-1] - centres[0]) / (centres.size - 1)
    expected = centres[0] + step * np.arange(centres.size)
    if not np.abs(centres - expected).max() < _EVEN * abs(step):
        return 0.0, 0.0
    return float(centres[0]) - step / 2, step


def _borrowed(rasters: Sequence[Pixels], own: Sequence[Place | None]) -> Place | None:
    """The place of the first raster that has one and as many pixels as the HSI."""
    for pixels, place in zip(rasters[1:], own[1:], strict=True):
        if place is not None and pixels.shape == rasters[0].shape:
            return replace(place, origin=f"same ground as {pixels.path}")
    return None


def _local_place(dataset: Dataset, pixels: Pixels) -> Place:
    # Well-known text of version 1, with the axes that GDAL gives it back with.
    crs = CRS.from_wkt(
        f'LOCAL_CS["{dataset.key} image grid",UNIT["metre",1],'
        'AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
    )
    side = dataset.pixel_m
    transform = Affine(side, 0.0, 0.0, 0.0, -side, pixels.height * side)
    return Place(Grid(crs, transform, pixels.width, pixels.height), "local")


def _beside(hsi: Place, hsi_pixels: Pixels, pixels: Pixels) -> Place:
    """The place of a raster on the ground of the HSI, with pixels as large or a part of them."""
    finer = pixels.width // hsi_pixels.width
    if pixels.shape != (finer * hsi_pixels.height, finer * hsi_pixels.width):
        raise RasterError(
            f"is {pixels.width} x {pixels.height} pixels and has no place of its own, while the "
            f"HSI ({hsi_pixels.path}) is {hsi_pixels.width} x {hsi_pixels.height}",
            path=pixels.path,
            remedy="give the files of one distribution, with their .tfw files beside them",
        )
    transform = hsi.grid.transform * Affine.scale(1 / finer)
    origin = hsi.origin if hsi.is_local else f"same ground as {hsi_pixels.path}"
    return Place(Grid(hsi.grid.crs, transform, pixels.width, pixels.height), origin)
