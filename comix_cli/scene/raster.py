"""Opening rasters: what a file says about itself, in our words.

Files are opened read-only, by GDAL's own names (`/vsizip/...`, `NETCDF:"file":variable`), and no
statistics are computed, so that nothing is ever written beside an input.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Interleaving
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError

from comix_cli.errors import RasterError, UsageError
from comix_cli.files import MODEL_SUFFIX
from comix_cli.scene.bands import BandTable, read_band_table
from comix_cli.scene.grid import Grid

# GDAL leaves a `.properties` file beside every gzip-compressed one (ENVI allows them) otherwise. It
# looks at the environment when it reads, in whichever thread, so that no `rasterio.Env` reaches far
# enough; who wants the file sets the variable.
os.environ.setdefault("CPL_VSIL_GZIP_WRITE_PROPERTIES", "NO")

# Rasters that are not placed are told of in our own words. For good, and not around each opening:
# what restores filters is not safe among threads, and GDAL opens many a file by itself.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

_LOGGER = logging.getLogger("rasterio._env")
# NETCDF:"file":variable, with or without quotes, HDF4_EOS:EOS_GRID:"file":grid:field
_PART = re.compile(r'[A-Za-z]\w+:(?:\w+:)*?(?:"(?P<quoted>[^"]+)"|(?P<bare>[^":]+)):.+')
# What a sharpened HSI has among its tags.
SHARPENED_TAG = "COMIX_SHARPENED"
_DAMAGED = "compare its size with the original and copy it again"


@dataclass(frozen=True)
class RasterInfo:
    """What a raster is, without its pixels.

    Attributes:
        path: Path or GDAL name.
        grid: Where its pixels lie; may be rotated or south-up.
        count: Number of bands.
        dtype: NumPy name of the first band's type.
        nodata: Nodata value of the first band; NaN is possible; None where there is none.
        bands: Wavelengths, bad-band list and names.
        driver: GDAL's short name of the format.
        alpha_bands: 1-based bands that hold transparency and are never data.
        block_shape: Height and width of the blocks that its values are stored in.
        interleaved: True where a block holds all bands, so that none can be read alone.
        plain_tiles: True for a local, tiled GeoTIFF without compression.
        sharpened: True for what `comix sharpen` has written.
    """

    path: str
    grid: Grid
    count: int
    dtype: str
    nodata: float | None
    bands: BandTable
    driver: str
    alpha_bands: tuple[int, ...] = ()
    block_shape: tuple[int, int] = (1, 1)
    interleaved: bool = False
    plain_tiles: bool = False
    sharpened: bool = False


def open_raster(path: str) -> Any:
    """Open a raster read-only; the caller closes the rasterio dataset.

    Raises:
        RasterError: Missing, not a raster, a container of several rasters, or of complex numbers.
    """
    try:
        dataset = _open(path)
    except RasterioError as error:
        raise _open_error(path, str(error)) from error
    if dataset.count == 0:
        subdatasets = list(dataset.subdatasets)
        dataset.close()
        raise RasterError(
            "holds no raster of its own",
            path=path,
            remedy=_name_one(subdatasets) if subdatasets else "give one that has bands",
        )
    if any(dtype.startswith("complex") for dtype in dataset.dtypes):
        dataset.close()
        raise RasterError(
            "holds complex numbers", path=path, remedy="give amplitude or intensity instead"
        )
    return _past_the_cache(dataset, path)


def _past_the_cache(dataset: Any, path: str) -> Any:
    """The dataset, reopened where windows can be read without decoding whole blocks.

    For windows smaller than a block that is twice as fast, and needs no cache. Only of tiled,
    plain, local TIFFs: GDAL would not notice that another one is truncated.
    """
    if not _has_plain_tiles(dataset, path):
        return dataset
    dataset.close()
    with rasterio.Env(GTIFF_DIRECT_IO="YES"):
        return _open(path)


def _has_plain_tiles(dataset: Any, path: str) -> bool:
    tiled = dataset.block_shapes[0][1] < dataset.width
    plain = dataset.driver == "GTiff" and dataset.compression is None
    return tiled and plain and Path(path).is_file()


def _open(path: str | Path) -> Any:
    return rasterio.open(path)


def inspect_raster(path: str | Path, *, src_crs: CRS | str | None = None) -> RasterInfo:
    """Open a raster, look at it, and close it.

    Args:
        path: Path or GDAL name.
        src_crs: The CRS to assume where the file carries none.

    Raises:
        RasterError: As `open_raster`, or without CRS or geotransform.
    """
    with open_raster(str(path)) as dataset:
        return describe(dataset, str(path), src_crs=src_crs)


def describe(dataset: Any, path: str, *, src_crs: CRS | str | None = None) -> RasterInfo:
    """What an open rasterio dataset says about itself.

    Raises:
        RasterError: No CRS and none assumed, no geotransform, or a truncated header.
    """
    return RasterInfo(
        path=path,
        grid=_grid(dataset, path, src_crs),
        count=dataset.count,
        dtype=dataset.dtypes[0],
        nodata=dataset.nodata,
        bands=read_band_table(dataset),
        driver=dataset.driver,
        alpha_bands=alpha_bands(dataset),
        block_shape=dataset.block_shapes[0],
        interleaved=dataset.interleaving == Interleaving.pixel,
        plain_tiles=_has_plain_tiles(dataset, path),
        sharpened=SHARPENED_TAG in dataset.tags(),
    )


def alpha_bands(dataset: Any) -> tuple[int, ...]:
    """1-based bands of an open rasterio dataset that hold transparency."""
    return tuple(
        band
        for band, meaning in zip(dataset.indexes, dataset.colorinterp, strict=True)
        if meaning == ColorInterp.alpha
    )


def _grid(dataset: Any, path: str, src_crs: CRS | str | None) -> Grid:
    crs = dataset.crs or None
    if (crs is None or dataset.transform.is_identity) and _is_header_cut(path):
        raise RasterError(
            "is truncated or damaged: its header goes on beyond the end of the file",
            path=path,
            remedy=_DAMAGED,
        )
    if crs is None and src_crs is None:
        tied = bool(dataset.gcps[0]) or dataset.rpcs is not None
        raise RasterError(
            "is placed by control points or RPCs only" if tied else "has no CRS",
            path=path,
            remedy="warp it first, with gdalwarp" if tied else "give one with --src-crs EPSG:...",
        )
    if crs is not None and dataset.transform.is_identity:
        raise RasterError(
            "has a CRS but no geotransform", path=path, remedy="warp it first, with gdalwarp"
        )
    return Grid(
        plain_crs(crs) if crs is not None else parse_crs(src_crs, "--src-crs"),
        dataset.transform,
        dataset.width,
        dataset.height,
    )


def parse_crs(text: CRS | str | None, option: str) -> CRS:
    """A CRS from what a user typed: `EPSG:32633`, WKT, a PROJ string.

    Raises:
        UsageError: It names no CRS; the message names the option.
    """
    try:
        return plain_crs(CRS.from_user_input(text))
    except (CRSError, ValueError) as error:
        raise UsageError(
            f"{option} {text}: not a CRS", remedy="give one like EPSG:32633"
        ) from error


def plain_crs(crs: CRS) -> CRS:
    """The horizontal part of a CRS, as an EPSG code where GDAL is sure of one.

    Elevation models often carry a compound CRS; heights play no part in where a pixel lies. ENVI
    headers carry well-known text without codes, which would go into every map.
    """
    if any(mark in crs.wkt for mark in ("COMPD_CS", "COMPOUNDCRS", "ellipsoidal height")):
        crs = _flat(crs)
    code = crs.to_epsg()
    return crs if code is None else CRS.from_epsg(code)


def _flat(crs: CRS) -> CRS:
    """A CRS without its heights.

    Raises:
        CRSError: PROJ knows no such CRS.
    """
    import pyproj  # noqa: PLC0415  # a tenth of a second, for a rare case

    try:
        return CRS.from_wkt(pyproj.CRS.from_wkt(crs.wkt).to_2d().to_wkt())
    except pyproj.exceptions.CRSError as error:
        raise CRSError(str(error)) from error


def raster_files(path: str) -> list[str]:
    """The files that a raster lies in: itself, headers, sidecars, the sources of a VRT."""
    return dataset_files(Path(path)) if Path(path).is_file() else []


def dataset_files(main: Path) -> list[str]:
    """The files that GDAL says a local raster lies in; none where it is no raster."""
    try:
        with _open(main) as dataset:
            return list(dataset.files)
    except RasterioError:
        return []


def _open_error(path: str, message: str) -> RasterError:
    """GDAL has been asked first, since a name need not be a local file; now look for the cause."""
    if looks_missing(path):
        return RasterError("there is no such file", path=path or "''", remedy="check the path")
    if Path(path).is_dir():
        return RasterError("is a folder", path=path, remedy="name a raster in it")
    fault = file_fault(path)
    if fault is not None:
        return RasterError(fault[0], path=path, remedy=fault[1])
    if Path(path).is_file() and "not recognized" in message:
        remedy = _remedy_for_another_kind(path)
        return RasterError("is not a raster that GDAL can read", path=path, remedy=remedy)
    parts = _parts_beside(path)
    if parts:
        return RasterError("the file has no such part", path=path, remedy=_name_one(parts))
    reason = first_line(message, path)
    return RasterError(f"cannot be opened ({reason})", path=path, remedy=_remedy_for(reason))


def looks_missing(path: str) -> bool:
    """Whether a path is empty, or would be a local file and is none; GDAL's names are not."""
    looks_local = not path.startswith("/vsi") and ":" not in path
    return not path or (looks_local and not Path(path).exists())


def file_fault(path: str) -> tuple[str, str] | None:
    """Cause and remedy where a local file is no data of any kind; None where it may be some."""
    file = Path(path)
    if not path or not file.exists() or file.is_dir():
        return None
    if not file.is_file():
        return "is not a regular file", "name a file"
    if file.stat().st_size == 0:
        return "is empty (0 bytes)", "copy it again, or write it anew"
    if file.suffix.lower() == MODEL_SUFFIX:
        return "is called like a model", "models are given to 'comix classify' with -m"
    return None


def _remedy_for_another_kind(path: str) -> str:
    import pyogrio  # noqa: PLC0415  # takes long, for a rare case

    try:
        layers = pyogrio.list_layers(path)
    except pyogrio.errors.DataSourceError:
        layers = []
    if any(kind is not None for _, kind in layers):
        return "this is a vector file: give it with --gt or --mask"
    return "give a GeoTIFF, an ENVI image or the like"


def _remedy_for(reason: str) -> str | None:
    """What helps against what GDAL says, where it does not say so itself."""
    if any(mark in reason for mark in ("TIFFRead", "TIFFFetch", "Cannot read TIFF")):
        return f"it may be truncated: {_DAMAGED}"
    return "check the path" if "No such file" in reason else None


def _parts_beside(path: str) -> list[str]:
    """The parts of the file that GDAL's name of a part speaks of, unless that is one of them."""
    found = _PART.fullmatch(path)
    file = (found["quoted"] or found["bare"]) if found else ""
    if not Path(file).is_file():
        return []
    try:
        with _open(file) as dataset:
            parts = list(dataset.subdatasets) or [file]
    except RasterioError:
        return []
    named = path.replace('"', "").lower()
    return [] if named in (part.replace('"', "").lower() for part in parts) else parts


def _name_one(parts: list[str]) -> str:
    return f"name one of its parts: {', '.join(parts)}" if parts[1:] else f"name {parts[0]}"


def _is_header_cut(path: str) -> bool:
    """Whether GDAL goes on without parts of a header that lie beyond the end of the file."""
    try:
        with gdal_warnings() as messages, _open(path):
            return any("IO error" in message for message in messages)
    except RasterioError:
        return True


@contextmanager
def gdal_warnings() -> Iterator[list[str]]:
    """Collects what GDAL warns of, instead of logging it."""
    messages: list[str] = []

    def collect(record: logging.LogRecord) -> bool:
        messages.append(record.getMessage())
        return False

    _LOGGER.addFilter(collect)
    try:
        yield messages
    finally:
        _LOGGER.removeFilter(collect)


def first_line(message: str, path: str) -> str:
    """The first line of a GDAL message, without the path that our own message names already."""
    lines = message.replace(f"'{path}'", "it").replace(f"{path}: ", "").strip().splitlines()
    return lines[0].rstrip(".") if lines else "no reason given"
