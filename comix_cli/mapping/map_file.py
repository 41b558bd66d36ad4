"""Reading class maps, whichever program wrote them."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4
from xml.etree import ElementTree as ET

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT

from comix_cli.errors import RasterError
from comix_cli.mapping.cog import GDAL_ERRORS
from comix_cli.mapping.draw import count_codes
from comix_cli.mapping.gis_metadata import read_legend
from comix_cli.mapping.score_file import CONTENT_TAG
from comix_cli.mapping.writer import LEGEND_TAG, VERSION_TAG
from comix_cli.scene.grid import Grid, same_crs
from comix_cli.scene.legend import NO_CLASS, Legend
from comix_cli.scene.raster import describe, open_raster
from comix_cli.scene.reader import WARP_TOLERANCE
from comix_cli.scene.windows import Window

_MAX_INT32 = np.iinfo(np.int32).max
_TIFF_SUFFIXES = (".tif", ".tiff")
# Pixels; what lies closer is the same place, and nearest neighbours are the same.
_SAME_PLACE = 1e-3
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class MapFile:
    """A class map: what it says of itself and, while it is open, its codes.

    Attributes:
        path: Path or GDAL name.
        grid: Where its pixels lie.
        legend: Classes with names and colours; None where the file gives no names.
        tags: The metadata of the file, ours (`COMIX_...`) among them.
        nodata: The nodata value of the file.
        dtype: NumPy name of the type of its pixels.
        dataset: The open rasterio dataset.
    """

    path: str
    grid: Grid
    legend: Legend | None
    tags: Mapping[str, str]
    nodata: float | None
    dtype: str
    dataset: Any

    @property
    def names_known(self) -> bool:
        """Whether the file names its classes."""
        return self.legend is not None

    def read(self, window: Window | None = None) -> NDArray[np.int32]:
        """Class codes `(H, W)` of a window, or of the whole map.

        Nodata, masked pixels, NaN and negative values become 0, which is no class. Floating-point
        maps are fine as long as they hold whole numbers.

        Raises:
            RasterError: Pixels cannot be read, or hold values that are no class codes.
        """
        window = window or Window(0, 0, *self.grid.shape)
        extent = tuple((s.start, s.stop) for s in window.slices)
        if self._holds_plain_codes:
            return self._values(window=extent).astype(np.int32)
        return self._read(window=extent)

    def count(self, window: Window) -> dict[int, int]:
        """How often each class occurs in a window.

        Raises:
            RasterError: As `read`.
        """
        extent = tuple((s.start, s.stop) for s in window.slices)
        if self._holds_plain_codes and self.dtype == "uint8":
            counts = _count_bytes(self._values(window=extent))
            return {code: n for code, n in enumerate(counts.tolist()) if n and code != NO_CLASS}
        return dict(count_codes(self.read(window)))

    def read_onto(self, grid: Grid) -> NDArray[np.int32]:
        """Class codes `(H, W)` on another grid, by nearest neighbour; 0 beyond the map.

        Raises:
            RasterError: As `read`.
        """
        place = _place_in(grid, self.grid)
        if place is None:
            return self._warped(grid)
        codes = np.full(grid.shape, NO_CLASS, np.int32)
        top, left = max(place[0], 0), max(place[1], 0)
        bottom = min(place[0] + grid.height, self.grid.height)
        right = min(place[1] + grid.width, self.grid.width)
        if top < bottom and left < right:
            rows = slice(top - place[0], bottom - place[0])
            columns = slice(left - place[1], right - place[1])
            codes[rows, columns] = self.read(Window(top, left, bottom - top, right - left))
        return codes

    def shares_pixels(self, grid: Grid) -> bool:
        """Whether a grid has the map's own pixels, inside the map and beyond it."""
        return _place_in(grid, self.grid) is not None

    def _warped(self, grid: Grid) -> NDArray[np.int32]:
        with WarpedVRT(
            self.dataset,
            src_crs=self.grid.crs,
            crs=grid.crs,
            transform=grid.transform,
            width=grid.width,
            height=grid.height,
            resampling=Resampling.nearest,
            tolerance=WARP_TOLERANCE,
        ) as vrt:
            return replace(self, grid=grid, dataset=vrt).read()

    def read_small(self, max_pixels: int) -> NDArray[np.int32]:
        """Class codes `(h, w)` of the whole map, made coarser by majority to `max_pixels` at most.

        Raises:
            RasterError: As `read`.
        """
        height, width = self.grid.shape
        factor = max(1.0, math.sqrt(height * width / max_pixels))
        shape = (max(1, int(height / factor)), max(1, int(width / factor)))
        return self._read(out_shape=shape, resampling=Resampling.mode)

    def _read(self, **options: Any) -> NDArray[np.int32]:
        values = self._values(**options)
        valid = np.isfinite(values) & (values > 0)
        if not self._is_maskless:
            valid &= self._of_file(self.dataset.read_masks, **options) > 0
        return self._codes(values, valid)

    def _values(self, **options: Any) -> NDArray[Any]:
        return self._of_file(self.dataset.read, **options)

    def _of_file(self, read: Callable[..., NDArray[Any]], **options: Any) -> NDArray[Any]:
        try:
            return read(1, **options)
        except RasterioError as error:
            raise RasterError(
                f"cannot be read ({error})", path=self.path, remedy="check that the file is whole"
            ) from error

    @property
    def _is_maskless(self) -> bool:
        return bool(self.dataset.mask_flag_enums[0] == [MaskFlags.all_valid])

    @property
    def _holds_plain_codes(self) -> bool:
        """Whether every value is a code as it stands, 0 for no class: most maps, read at once."""
        zero_is_nodata = self.dataset.mask_flag_enums[0] == [MaskFlags.nodata] and self.nodata == 0
        return self.dtype in ("uint8", "uint16") and (self._is_maskless or zero_is_nodata)

    def _codes(self, values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.int32]:
        kept = values[valid]
        odd = kept[(kept > _MAX_INT32) | (kept != np.trunc(kept))]
        if odd.size:
            raise RasterError(
                f"holds values that are no class codes, such as {odd[0]}",
                path=self.path,
                remedy="give a classified map of whole numbers",
            )
        codes = np.full(values.shape, NO_CLASS, np.int32)
        codes[valid] = kept
        return codes


@contextmanager
def open_map(path: Path | str, *, src_crs: str | None = None) -> Iterator[MapFile]:
    """Open a class map of any program.

    Class names come from our own tag, else from a raster attribute table, else from GDAL's category
    names (sidecar `.aux.xml`, ENVI class names, ERDAS class names, ...). Colours come along.

    Args:
        path: Path or GDAL name.
        src_crs: The CRS to assume where the file carries none.

    Raises:
        RasterError: Missing, not a raster, without CRS, or with several bands.
    """
    with open_raster(str(path)) as dataset:
        yield _described(dataset, str(path), src_crs)


def read_map(path: Path | str, *, src_crs: str | None = None) -> MapFile:
    """What a class map says of itself; its pixels can no longer be read.

    Raises:
        RasterError: As `open_map`.
    """
    with open_map(path, src_crs=src_crs) as map_file:
        return map_file


def read_classes(path: Path | str) -> tuple[Legend | None, dict[str, str]]:
    """The classes that a raster names, if it names any, and its tags; it may lack a CRS.

    Raises:
        RasterError: Missing, or not a raster.
    """
    with open_raster(str(path)) as dataset:
        return _classes(dataset, str(path))


def newest_map(folder: Path | str) -> Path | None:
    """The map in a folder that comix wrote last, or None; subfolders are not looked into."""
    candidates = [
        path
        for path in Path(folder).iterdir()
        if path.suffix.lower() in _TIFF_SUFFIXES
        and not path.name.startswith(".")
        and path.is_file()
    ]
    newest_first = sorted(candidates, key=lambda path: (-path.stat().st_mtime_ns, path.name))
    return next((path for path in newest_first if _is_ours(path)), None)


def _count_bytes(values: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How often each of the 256 values occurs, counted two pixels at a time: four times as fast."""
    flat = values.ravel()
    even = flat[: flat.size // 2 * 2]
    pairs = np.bincount(even.view(np.uint16), minlength=1 << 16).reshape(256, 256)
    rest = np.bincount(flat[even.size :], minlength=256)
    counts: NDArray[np.int64] = pairs.sum(axis=0) + pairs.sum(axis=1) + rest
    return counts


def _place_in(grid: Grid, other: Grid) -> tuple[int, int] | None:
    """Row and column of a grid's first pixel in another, where their pixels are the same."""
    if not same_crs(grid.crs, other.crs):
        return None
    to_pixels = ~other.transform * grid.transform
    col, row = (round(part) for part in (to_pixels.c, to_pixels.f))
    for x, y in ((0, 0), (grid.width, 0), (0, grid.height)):
        there = to_pixels * (x, y)
        if max(abs(there[0] - x - col), abs(there[1] - y - row)) > _SAME_PLACE:
            return None
    return row, col


def _is_ours(path: Path) -> bool:
    try:
        with open_raster(str(path)) as dataset:
            tags = dataset.tags()
    except RasterError:
        return False
    return (VERSION_TAG in tags or LEGEND_TAG in tags) and CONTENT_TAG not in tags


def _described(dataset: Any, path: str, src_crs: str | None) -> MapFile:
    info = describe(dataset, path, src_crs=src_crs)
    data_bands = [i for i in dataset.colorinterp if i != ColorInterp.alpha]
    if len(data_bands) != 1:
        raise RasterError(
            f"has {len(data_bands)} bands, but a class map has one",
            path=path,
            remedy="give the classified map, not the image that it was made from",
        )
    legend, tags = _classes(dataset, path)
    return MapFile(path, info.grid, legend, tags, info.nodata, info.dtype, dataset)


def _classes(dataset: Any, path: str) -> tuple[Legend | None, dict[str, str]]:
    tags = dict(dataset.tags())
    return _legend_of_tag(tags.get(LEGEND_TAG), path) or _legend_of_gdal(dataset), tags


def _legend_of_tag(text: str | None, path: str) -> Legend | None:
    if text is None:
        return None
    try:
        return Legend.from_json(json.loads(text)) or None
    except (ValueError, KeyError, TypeError):
        _LOGGER.warning("%s: the tag %s cannot be read and is ignored", path, LEGEND_TAG)
        return None


def _legend_of_gdal(dataset: Any) -> Legend | None:
    """Names that GDAL knows, by way of a VRT, the one format that spells all of them out."""
    name = f"/vsimem/{uuid4()}.vrt"
    try:
        rasterio.shutil.copy(dataset, name, driver="VRT")
        try:
            with rasterio.open(name) as vrt:
                text = vrt.tags(ns="xml:VRT")["xml:VRT"]
        finally:
            rasterio.shutil.delete(name)
        band = ET.fromstring(text).find("VRTRasterBand")
    except (ET.ParseError, *GDAL_ERRORS) as error:
        _LOGGER.warning("%s: class names cannot be read (%s)", dataset.name, error)
        return None
    return None if band is None else read_legend(band, dataset.nodata)
