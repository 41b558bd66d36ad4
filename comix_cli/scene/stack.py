"""An HSI and the rasters of other sensors on one grid, read window by window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling

from comix_cli.errors import GridError, RasterError, UsageError
from comix_cli.scene.difference import DifferenceReader
from comix_cli.scene.empty_bands import empty_bands
from comix_cli.scene.grid import (
    Grid,
    bounds_in,
    common_grid,
    crs_label,
    extent_label,
    intersection,
)
from comix_cli.scene.raster import RasterInfo, describe, inspect_raster, open_raster, parse_crs
from comix_cli.scene.reader import BandReader, NativeReader, band_reader
from comix_cli.scene.spectral import BandMix
from comix_cli.scene.windows import Window

Role = Literal["hsi", "continuous", "categorical"]

# A grid this much coarser than a raster makes interpolation between single pixels lose the rest.
COARSER = 1.05
BAD_BAND = "bad-band list"
ALL_NODATA = "all nodata"


@dataclass(frozen=True)
class SourceSpec:
    """One raster and how it comes onto the common grid.

    Attributes:
        path: Path or GDAL name.
        role: What its numbers are; it decides on the resampling.
        resampling: Name of a rasterio `Resampling`; None by role: HSI and categorical rasters
            nearest, continuous ones bilinear, or average where the grid is coarser.
        src_crs: The CRS to assume where the file carries none.
        bands: 1-based bands to use, in this order; None for all that are good.
        mix: Sums of those bands to deliver in their place, such as the bands of another sensor.
        minus: A raster whose first band is subtracted from every band, each brought onto the common
            grid by itself; the common grid does not depend on it.
    """

    path: str
    role: Role
    resampling: str | None = None
    src_crs: str | None = None
    bands: tuple[int, ...] | None = None
    mix: BandMix | None = None
    minus: SourceSpec | None = None


@dataclass(frozen=True)
class GridOptions:
    """Overrides of the common grid.

    Attributes:
        like: A raster whose grid is taken wholly.
        resolution: Pixel size in units of the target CRS.
        dst_crs: The target CRS.
        bounds: Left, bottom, right, top in the target CRS.
        like_crs: The CRS to assume where the raster of `like` carries none.
    """

    like: str | None = None
    resolution: float | tuple[float, float] | None = None
    dst_crs: str | None = None
    bounds: tuple[float, ...] | None = None
    like_crs: str | None = None


@dataclass(frozen=True)
class Block:
    """The values of one window.

    Attributes:
        hsi: `(bands, H, W)` float32 in the physical units of the file; 0 where invalid.
        x: `(channels, H, W)` float32, likewise; all X rasters one after the other, no channel
            where there is no X.
        valid: `(H, W)`; True where every used band of every raster is valid.
    """

    hsi: NDArray[np.float32]
    x: NDArray[np.float32]
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class _Source:
    """One open raster of a stack."""

    spec: SourceSpec
    dataset: Any
    info: RasterInfo
    bands: tuple[int, ...]
    dropped: Mapping[int, str]
    minus: _Source | None = None

    @property
    def channels(self) -> int:
        """How many bands it delivers."""
        return len(self.bands if self.spec.mix is None else self.spec.mix.rows)

    def reader(self, grid: Grid) -> BandReader:
        """What delivers its bands on the grid."""
        method = _resampling(self.spec, self.info.grid, grid)
        reader = band_reader(self.dataset, self.info, grid, self.bands, method, self.spec.mix)
        if self.minus is None:
            return reader
        return DifferenceReader(reader, self.minus.reader(grid))


class BlockReader(Protocol):
    """What windows are read from: a `Stack`, or anything that answers like one."""

    @property
    def grid(self) -> Grid:
        """The common grid."""

    def read(self, window: Window) -> Block:
        """The window's values."""

    def read_valid(self, window: Window) -> NDArray[np.bool_]:
        """`(H, W)`: True where every used band of every raster is valid."""


class Stack:
    """Rasters on one grid; open it with `open_stack`.

    GDAL datasets must not be shared between threads: give every thread a stack of its own.

    Attributes:
        grid: The common grid, north-up.
        hsi_info: The HSI as it lies in its file.
        x_info: The X rasters, likewise.
        hsi_bands: 1-based bands of the HSI that are read.
        x_bands: The same for every X.
        dropped: Why the other bands of the HSI are not: 'bad-band list' or 'all nodata'.
        x_dropped: The same for every X.
        resamplings: Names of the resampling methods, the HSI's first.
        bands_read: How many bands are read of all rasters together.
        warped: Which rasters go through GDAL's warper, the HSI first.
        channels: How many bands each raster delivers, the HSI's first; differs from the number that
            is read where bands are mixed.
    """

    def __init__(self, grid: Grid, sources: Sequence[_Source], resources: ExitStack) -> None:
        self.grid = grid
        self._resources = resources
        self._readers: list[BandReader] = []
        for source in sources:
            self._readers.append(source.reader(grid))
            resources.callback(self._readers[-1].close)
        hsi, *others = sources
        self.hsi_info: RasterInfo = hsi.info
        self.hsi_bands: tuple[int, ...] = hsi.bands
        self.dropped: dict[int, str] = dict(hsi.dropped)
        self.x_info: tuple[RasterInfo, ...] = tuple(s.info for s in others)
        self.x_bands: tuple[tuple[int, ...], ...] = tuple(s.bands for s in others)
        self.x_dropped: tuple[dict[int, str], ...] = tuple(dict(s.dropped) for s in others)
        self.resamplings: tuple[str, ...] = tuple(
            _resampling(source.spec, source.info.grid, grid) for source in sources
        )
        self.channels: tuple[int, ...] = tuple(source.channels for source in sources)
        self.warped: tuple[bool, ...] = tuple(
            not isinstance(reader, NativeReader) for reader in self._readers
        )
        self.bands_read: int = sum(len(source.bands) for source in sources)

    def read(self, window: Window) -> Block:
        """The values of a window, which must lie within the grid.

        A raster is read only where those before it have left a valid pixel.

        Raises:
            RasterError: A raster cannot be read; the message names it.
        """
        self._check(window)
        parts: list[NDArray[np.float32]] = []
        valid = np.ones(window.shape, np.bool_)
        for reader in self._readers:
            values = reader.read(window)
            valid &= values.valid
            if not valid.any():
                return self._nothing(window)
            parts.append(values.data)
        hsi, *others = parts
        x = np.concatenate(others) if others else np.zeros((0, *window.shape), np.float32)
        if not valid.all():
            hsi[:, ~valid] = 0
            x[:, ~valid] = 0
        return Block(hsi, x, valid)

    def _nothing(self, window: Window) -> Block:
        hsi, x = self.channels[0], sum(self.channels[1:])
        return Block(
            np.zeros((hsi, *window.shape), np.float32),
            np.zeros((x, *window.shape), np.float32),
            np.zeros(window.shape, np.bool_),
        )

    def read_valid(self, window: Window) -> NDArray[np.bool_]:
        """`(H, W)`: True where every used band of every raster is valid."""
        self._check(window)
        valid = np.ones(window.shape, np.bool_)
        for reader in self._readers[::-1]:  # an X is cheaper to read than the HSI
            if valid.any():
                valid &= reader.read_valid(window)
        return valid

    def _check(self, window: Window) -> None:
        if window.row + window.height > self.grid.height or (
            window.col + window.width > self.grid.width
        ):
            raise ValueError(f"{window} leaves the grid of shape {self.grid.shape}")

    def close(self) -> None:
        """Close all rasters."""
        self._resources.close()

    def __enter__(self) -> Stack:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


@contextmanager
def open_stack(
    hsi: SourceSpec, x: Sequence[SourceSpec], grid_options: GridOptions = GridOptions()
) -> Iterator[Stack]:
    """Open the rasters of a scene and bring them onto one grid.

    Where a source names no bands, bands on the file's bad-band list and bands without any valid
    pixel are dropped; an alpha band is never data.

    Raises:
        RasterError: A raster cannot be used; the message names it.
        GridError: The rasters share no ground.
        UsageError: Grid options or a resampling method that cannot be meant.
    """
    with ExitStack() as resources:
        sources = [_open_source(spec, resources) for spec in (hsi, *x)]
        yield Stack(_agree(sources, grid_options), sources, resources)


def _open_source(spec: SourceSpec, resources: ExitStack) -> _Source:
    dataset = resources.enter_context(open_raster(spec.path))
    info = describe(dataset, spec.path, src_crs=spec.src_crs)
    minus = None if spec.minus is None else _open_source(spec.minus, resources)
    if minus is not None and minus.info.count - len(minus.info.alpha_bands) > 1:
        raise RasterError(
            f"has {minus.info.count} bands, and a terrain model has one",
            path=minus.info.path,
            remedy="give the heights of the bare ground as a raster of one band",
        )
    if spec.bands is not None:
        _check_bands(spec.bands, info)
        return _Source(spec, dataset, info, spec.bands, {}, minus)
    bands, dropped = usable_bands(dataset, info)
    if not bands:
        raise RasterError(
            f"none of its {info.count} bands can be used: they are nodata everywhere or on its "
            "bad-band list",
            path=info.path,
            remedy="check its nodata value",
        )
    return _Source(spec, dataset, info, bands, dropped, minus)


def usable_bands(dataset: Any, info: RasterInfo) -> tuple[tuple[int, ...], dict[int, str]]:
    """The 1-based bands of an open rasterio dataset that hold data, and why others do not.

    Bands on the bad-band list and bands without any valid pixel hold none; an alpha band is neither
    used nor told of.

    Raises:
        RasterError: The raster cannot be read.
    """
    dropped = {band: BAD_BAND for band in range(1, info.count + 1) if not info.bands.good[band - 1]}
    rest = [b for b in range(1, info.count + 1) if b not in dropped and b not in info.alpha_bands]
    dropped |= dict.fromkeys(empty_bands(dataset, info.path, rest) if rest else (), ALL_NODATA)
    bands = tuple(band for band in rest if band not in dropped)
    return bands, dict(sorted(dropped.items()))


def _check_bands(bands: Sequence[int], info: RasterInfo) -> None:
    missing = [band for band in bands if not 1 <= band <= info.count]
    if missing or not bands:
        raise RasterError(
            f"has bands 1 to {info.count}, not {', '.join(map(str, missing)) or 'none at all'}",
            path=info.path,
            remedy="give the raster of the same sensor",
        )


def _agree(sources: Sequence[_Source], options: GridOptions) -> Grid:
    like = None
    if options.like is not None:
        like = inspect_raster(options.like, src_crs=options.like_crs).grid
    grid = common_grid(
        [source.info.grid for source in sources],
        like=like,
        resolution=options.resolution,
        dst_crs=None if options.dst_crs is None else parse_crs(options.dst_crs, "--dst-crs"),
        bounds=None if options.bounds is None else _four(options.bounds),
        names=[source.info.path for source in sources],
    )
    for source in sources:
        if source.minus is not None:
            _require_ground(source.minus.info, grid)
    return grid


def _require_ground(info: RasterInfo, grid: Grid) -> None:
    """Refuse a raster that shares no ground with a grid on which it has no say.

    Raises:
        GridError: It lies elsewhere; both extents are printed.
    """
    own = bounds_in(info.grid, grid.crs)
    if intersection([own, grid.bounds]) is None:
        raise GridError(
            f"shares no ground with the other inputs in {crs_label(grid.crs)}: it covers "
            f"{extent_label(own)}, they cover {extent_label(grid.bounds)}",
            path=info.path,
            remedy="check that it shows the same place and that its CRS is right",
        )


def _four(bounds: tuple[float, ...]) -> tuple[float, float, float, float]:
    if len(bounds) != 4:
        raise UsageError(f"--bounds takes left bottom right top, not {len(bounds)} numbers")
    left, bottom, right, top = bounds
    return left, bottom, right, top


def _resampling(spec: SourceSpec, source: Grid, grid: Grid) -> str:
    if spec.resampling is not None:
        if spec.resampling not in _USABLE:
            raise UsageError(
                f"resampling '{spec.resampling}' is not known",
                remedy=f"choose one of {', '.join(sorted(_USABLE))}",
            )
        return spec.resampling
    if spec.role != "continuous":
        return "nearest"
    return "average" if grid.gsd_m > source.gsd_m * COARSER else "bilinear"


# GDAL's warper has no Gaussian kernel.
_USABLE = frozenset(method.name for method in Resampling) - {"gauss"}
