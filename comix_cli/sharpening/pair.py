"""A coarse HSI and a fine raster of another sensor, read window by window on their own grids."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from comix_cli.errors import GridError, RasterError
from comix_cli.scene.grid import Grid, common_grid, crs_label, north_up, same_crs
from comix_cli.scene.pixels import Values
from comix_cli.scene.raster import RasterInfo, describe, open_raster
from comix_cli.scene.reader import BandReader, band_reader, nearest_pixels
from comix_cli.scene.stack import usable_bands
from comix_cli.scene.windows import Window
from comix_cli.sharpening.pair_window import PairWindow
from comix_models.placement import Placement

# Below it there is next to nothing to gain, and grids that should be equal differ by this much.
LEAST_RATIO = 1.05
# Coarse pixels beyond a window that are read with it: two that bicubic interpolation looks at, and
# one more where the images are a pixel off each other.
_AROUND = 3


@dataclass(frozen=True)
class Side:
    """One of the two rasters.

    Attributes:
        info: What the file says.
        bands: 1-based bands that are read.
        dropped: Why the others are not.
        dataset: The open rasterio dataset.
    """

    info: RasterInfo
    bands: tuple[int, ...]
    dropped: dict[int, str]
    dataset: Any

    @property
    def centres_nm(self) -> tuple[float, ...]:
        """Of the bands that are read, 0 where the file does not say it."""
        known = self.info.bands.wavelengths_nm
        return tuple(known[band - 1] or 0.0 for band in self.bands)


class Pair:
    """Both rasters; open it with `open_pair`.

    Attributes:
        hsi, x: The two files.
        fine: The grid of the other sensor where both have pixels.
        coarse: The HSI's own grid, or, where that is rotated or in another CRS, one like it.
        placement: Where the pixels of `coarse` lie among those of `fine`.
    """

    def __init__(self, hsi: Side, x: Side, resources: ExitStack) -> None:
        self.hsi, self.x = hsi, x
        names = [hsi.info.path, x.info.path]
        self.fine = common_grid([hsi.info.grid, x.info.grid], like=None, names=names)
        self.coarse, resampling = _own_grid(hsi.info.grid, self.fine)
        _require_finer(hsi.info, x.info, self.coarse, self.fine)
        self.placement = _placement(self.coarse, self.fine)
        self._hsi = _reader(hsi, self.coarse, resampling, resources)
        self._x = _reader(x, self.fine, "bilinear", resources)

    def covering(self, window: Window) -> Window | None:
        """The coarse pixels that a window of the fine grid touches, and a few around them.

        Returns:
            None where it touches none.
        """
        spans = []
        for axis, (start, size) in enumerate(
            ((window.row, window.height), (window.col, window.width))
        ):
            first, last = (
                (edge - self.placement.offset[axis]) / self.placement.ratio[axis]
                for edge in (start, start + size)
            )
            low = max(0, math.floor(first + 1e-6))
            high = min(self.coarse.shape[axis], math.ceil(last - 1e-6))
            if low >= high:
                return None
            low, high = max(0, low - _AROUND), min(self.coarse.shape[axis], high + _AROUND)
            spans.append((low, high - low))
        (row, height), (col, width) = spans
        return Window(row, col, height, width)

    def read(self, window: Window) -> PairWindow | None:
        """Both images under a window of the fine grid, X in its own units.

        Returns:
            None where one of the two has no valid pixel.

        Raises:
            RasterError: A raster cannot be read.
        """
        coarse = self.covering(window)
        if coarse is None:
            return None
        x, hsi = self._x.read(window), self._hsi.read(coarse)
        if not x.valid.any() or not hsi.valid.any():
            return None
        return PairWindow(
            torch.from_numpy(_filled(hsi)),
            torch.from_numpy(_filled(x)),
            self.placement.part((window.row, window.col), (coarse.row, coarse.col)),
            torch.from_numpy(hsi.valid),
            torch.from_numpy(x.valid),
        )

    def read_x(self, window: Window) -> tuple[torch.Tensor, torch.Tensor]:
        """X alone under a window of the fine grid, `(channels, H, W)`, and where it is valid."""
        values = self._x.read(window)
        return torch.from_numpy(values.data), torch.from_numpy(values.valid)

    def read_hsi(self, window: Window) -> tuple[torch.Tensor, torch.Tensor]:
        """The HSI alone in a window of the coarse grid, `(bands, h, w)`, and where it is valid."""
        values = self._hsi.read(window)
        return torch.from_numpy(values.data), torch.from_numpy(values.valid)

    def hsi_valid(
        self, window: Window, shift: tuple[float, float] = (0.0, 0.0)
    ) -> NDArray[np.bool_]:
        """`(H, W)`: where the centres of fine pixels lie in valid pixels of the HSI.

        Args:
            window: Of the fine grid.
            shift: How far the HSI lies off its place, in fine pixels, (down, across).
        """
        rows = self._coarse_pixels(0, window.row - shift[0], window.height)
        cols = self._coarse_pixels(1, window.col - shift[1], window.width)
        inside = (rows >= 0)[:, np.newaxis] & (cols >= 0)  # beyond the coarse grid is -1
        if not inside.any():
            return inside
        top, left = (int(each[each >= 0].min()) for each in (rows, cols))
        part = Window(top, left, int(rows.max()) - top + 1, int(cols.max()) - left + 1)
        valid = self._hsi.read_valid(part)
        return valid[np.maximum(rows - top, 0)][:, np.maximum(cols - left, 0)] & inside

    def _coarse_pixels(self, axis: int, start: float, size: int) -> NDArray[np.int64]:
        """The rows (or columns) of the HSI in which fine ones have their centres."""
        centres = start + np.arange(size, dtype=np.float64) + 0.5
        positions: NDArray[np.float64] = (
            centres - self.placement.offset[axis]
        ) / self.placement.ratio[axis]
        return nearest_pixels(positions, self.coarse.shape[axis])


def _as_it_says(info: RasterInfo) -> RasterInfo:
    return info


@contextmanager
def open_pair(
    hsi: str,
    x: str,
    *,
    src_crs: str | None = None,
    hsi_told: Callable[[RasterInfo], RasterInfo] = _as_it_says,
    x_told: Callable[[RasterInfo], RasterInfo] = _as_it_says,
) -> Iterator[Pair]:
    """Open both rasters; bad and empty bands are left out.

    Args:
        hsi: Path or GDAL name of the coarse image.
        x: Path or GDAL name of the fine one.
        src_crs: The CRS of rasters that carry none.
        hsi_told: Adds to what the first file says of itself.
        x_told: The same of the second.

    Raises:
        RasterError: A raster cannot be used.
        GridError: They share no ground, or the second is not the finer one.
    """
    with ExitStack() as resources:
        first = _open_side(hsi, src_crs, hsi_told, resources)
        yield Pair(first, _open_side(x, src_crs, x_told, resources), resources)


def _open_side(
    path: str,
    src_crs: str | None,
    told: Callable[[RasterInfo], RasterInfo],
    resources: ExitStack,
) -> Side:
    dataset = resources.enter_context(open_raster(path))
    info = told(describe(dataset, path, src_crs=src_crs))
    bands, dropped = usable_bands(dataset, info)
    if not bands:
        raise RasterError(
            "none of its bands holds data", path=path, remedy="check its nodata value"
        )
    return Side(info, bands, dropped, dataset)


def _own_grid(source: Grid, fine: Grid) -> tuple[Grid, str]:
    """The grid that the HSI is read on, and how; its own wherever that lies like the fine one."""
    t = source.transform
    if same_crs(source.crs, fine.crs) and t.b == 0 and t.d == 0:
        return north_up(source), "nearest"
    return common_grid([source], dst_crs=fine.crs), "bilinear"


def _require_finer(hsi: RasterInfo, x: RasterInfo, coarse: Grid, fine: Grid) -> None:
    ratios = [c / f for c, f in zip(coarse.resolution, fine.resolution, strict=True)]
    if min(ratios) < LEAST_RATIO or x.grid.gsd_m * LEAST_RATIO > hsi.grid.gsd_m:
        raise GridError(
            f"its pixels ({x.grid.gsd_m:.4g} m) are not finer than those of {hsi.path} "
            f"({hsi.grid.gsd_m:.4g} m in {crs_label(hsi.grid.crs)}), so nothing can be sharpened",
            path=x.path,
            remedy="give the coarse HSI first and the fine multispectral image second",
        )


def _placement(coarse: Grid, fine: Grid) -> Placement:
    to_fine = ~fine.transform * coarse.transform
    return Placement((to_fine.e, to_fine.a), (to_fine.f, to_fine.c))


def _reader(side: Side, grid: Grid, resampling: str, resources: ExitStack) -> BandReader:
    reader = band_reader(side.dataset, side.info, grid, side.bands, resampling)
    resources.callback(reader.close)
    return reader


def _filled(values: Values) -> NDArray[np.float32]:
    """Values whose holes hold the nearest valid ones."""
    if values.valid.all():
        return np.ascontiguousarray(values.data)
    from scipy.ndimage import distance_transform_edt  # noqa: PLC0415  # slow to import

    rows, cols = distance_transform_edt(~values.valid, return_distances=False, return_indices=True)
    return np.ascontiguousarray(values.data[:, rows, cols])
