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

from comix_cli.errors import RasterError, UsageError
from comix_cli.scene.empty_bands import empty_bands
from comix_cli.scene.grid import Grid, common_grid
from comix_cli.scene.raster import RasterInfo, describe, inspect_raster, open_raster, parse_crs
from comix_cli.scene.reader import BandReader, band_reader
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
    """

    path: str
    role: Role
    resampling: str | None = None
    src_crs: str | None = None
    bands: tuple[int, ...] | None = None


@dataclass(frozen=True)
class GridOptions:
    """Overrides of the common grid.

    Attributes:
        like: A raster whose grid is taken wholly.
        resolution: Pixel size in units of the target CRS.
        dst_crs: The target CRS.
        bounds: Left, bottom, right, top in the target CRS.
    """

    like: str | None = None
    resolution: float | tuple[float, float] | None = None
    dst_crs: str | None = None
    bounds: tuple[float, ...] | None = None


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

    dataset: Any
    info: RasterInfo
    bands: tuple[int, ...]
    dropped: Mapping[int, str]


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
    """

    def __init__(
        self,
        grid: Grid,
        sources: Sequence[_Source],
        resamplings: Sequence[str],
        resources: ExitStack,
    ) -> None:
        self.grid = grid
        self._resources = resources
        self._readers: list[BandReader] = [
            band_reader(source.dataset, source.info, grid, source.bands, resampling)
            for source, resampling in zip(sources, resamplings, strict=True)
        ]
        for reader in self._readers:
            resources.callback(reader.close)
        hsi, *others = sources
        self.hsi_info: RasterInfo = hsi.info
        self.hsi_bands: tuple[int, ...] = hsi.bands
        self.dropped: dict[int, str] = dict(hsi.dropped)
        self.x_info: tuple[RasterInfo, ...] = tuple(s.info for s in others)
        self.x_bands: tuple[tuple[int, ...], ...] = tuple(s.bands for s in others)
        self.x_dropped: tuple[dict[int, str], ...] = tuple(dict(s.dropped) for s in others)
        self.resamplings: tuple[str, ...] = tuple(resamplings)

    def read(self, window: Window) -> Block:
        """The values of a window, which must lie within the grid.

        Raises:
            RasterError: A raster cannot be read; the message names it.
        """
        self._check(window)
        hsi, *others = [reader.read(window) for reader in self._readers]
        valid = hsi.valid
        for values in others:
            valid = valid & values.valid
        empty = np.zeros((0, *window.shape), np.float32)
        x = np.concatenate([empty, *(values.data for values in others)]) if others else empty
        if not valid.all():
            hsi.data[:, ~valid] = 0
            x[:, ~valid] = 0
        return Block(hsi.data, x, valid)

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
        grid = _agree(sources, grid_options)
        resamplings = [
            _resampling(spec, source.info.grid, grid)
            for spec, source in zip((hsi, *x), sources, strict=True)
        ]
        yield Stack(grid, sources, resamplings, resources)


def _open_source(spec: SourceSpec, resources: ExitStack) -> _Source:
    dataset = resources.enter_context(open_raster(spec.path))
    info = describe(dataset, spec.path, src_crs=spec.src_crs)
    if spec.bands is not None:
        _check_bands(spec.bands, info)
        return _Source(dataset, info, spec.bands, {})
    dropped = {band: BAD_BAND for band in range(1, info.count + 1) if not info.bands.good[band - 1]}
    rest = [b for b in range(1, info.count + 1) if b not in dropped and b not in info.alpha_bands]
    dropped |= dict.fromkeys(empty_bands(dataset, spec.path, rest) if rest else (), ALL_NODATA)
    bands = tuple(band for band in rest if band not in dropped)
    if not bands:
        raise RasterError(
            f"none of its {info.count} bands can be used: they are nodata everywhere or on its "
            "bad-band list",
            path=spec.path,
            remedy="check its nodata value",
        )
    return _Source(dataset, info, bands, dict(sorted(dropped.items())))


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
        like = inspect_raster(options.like).grid
    return common_grid(
        [source.info.grid for source in sources],
        like=like,
        resolution=options.resolution,
        dst_crs=None if options.dst_crs is None else parse_crs(options.dst_crs, "--dst-crs"),
        bounds=None if options.bounds is None else _four(options.bounds),
        names=[source.info.path for source in sources],
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
