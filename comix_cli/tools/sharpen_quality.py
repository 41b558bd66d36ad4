"""How good a sharpened image is: against a reference, and without one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from comix_cli.accuracy.image_quality import FullReference
from comix_cli.accuracy.local_statistics import row_strips
from comix_cli.accuracy.no_reference import NoReference, Partner
from comix_cli.errors import GridError, RasterError, counted
from comix_cli.progress import Progress
from comix_cli.scene.grid import Grid, crs_label, intersection, north_up, same_crs
from comix_cli.scene.raster import describe, open_raster
from comix_cli.scene.reader import BandReader, band_reader
from comix_cli.scene.stack import usable_bands
from comix_cli.scene.windows import Window
from comix_cli.sharpening.pair import Pair
from comix_cli.sharpening.study import Study
from comix_cli.sharpening.windows import CoarseAgain

# Numbers of one image that a strip holds.
_STRIP_NUMBERS = 32_000_000
# How much pixels of one lattice may differ, as a share of their size, in size and in place.
_SAME_SIZE, _SAME_PLACE = 1e-3, 0.05


def check_reference(reference: str, grid: Grid, bands: int, src_crs: str | None) -> None:
    """Refuse a reference that a sharpened image could not be compared with, before long work.

    Args:
        reference: The true image.
        grid: The grid of the sharpened image.
        bands: How many it will have.
        src_crs: The CRS to assume where the reference carries none.

    Raises:
        GridError: The reference lies on another grid, or elsewhere.
        RasterError: It has other bands, or cannot be read.
    """
    with open_raster(reference) as truth:
        _truth(truth, reference, grid, bands, src_crs).close()


def against_reference(
    sharp: Path, reference: str, bands: int, ratio: float, src_crs: str | None, progress: Progress
) -> dict[str, Any]:
    """PSNR, SSIM, SAM, ERGAS and UIQI of a finished file.

    Args:
        sharp: The file.
        reference: The true image, on the same grid, with the same bands.
        bands: How many.
        ratio: Fine pixels along a coarse one, of which ERGAS has the inverse.
        src_crs: The CRS to assume where the reference carries none.
        progress: Who watches.

    Raises:
        GridError: The reference lies on another grid.
        RasterError: It has other bands, or cannot be read.
    """
    with rasterio.open(sharp) as found, open_raster(reference) as truth:
        info = describe(found, str(sharp))
        readers = [_all_bands(found, str(sharp), info.grid, bands)]
        readers.append(_truth(truth, reference, info.grid, bands, src_crs))
        ranges = _ranges(readers[1], info.grid, bands)
        quality = FullReference(ranges)
        with progress.task("comparing with the reference", info.grid.height) as task:
            for window, core in _strips(info.grid, bands):
                one, other = (reader.read(window) for reader in readers)
                quality.add(other.data, one.data, one.valid & other.valid, core)
                task.advance(core.stop - core.start)
    figures = asdict(quality.result(ratio))
    return {key: _finite(value) for key, value in figures.items() if key != "bands"}


def _finite(value: Any) -> Any:
    """JSON knows no infinity: what is exact has no PSNR."""
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _strips(grid: Grid, bands: int) -> Iterator[tuple[Window, slice]]:
    """Windows of whole rows, and which of their rows count."""
    most = max(1, min(grid.height, _STRIP_NUMBERS // (grid.width * bands)))
    for strip in row_strips(grid.height, most):
        yield (
            Window(strip.rows.start, 0, strip.rows.stop - strip.rows.start, grid.width),
            strip.core,
        )


def _all_bands(dataset: Any, path: str, grid: Grid, bands: int) -> BandReader:
    info = describe(dataset, path)
    return band_reader(dataset, info, grid, tuple(range(1, bands + 1)), "nearest")


def _truth(dataset: Any, path: str, grid: Grid, bands: int, src_crs: str | None) -> BandReader:
    info = describe(dataset, path, src_crs=src_crs)
    usable, _ = usable_bands(dataset, info)
    if len(usable) != bands:
        raise RasterError(
            f"has {counted(len(usable), 'usable band')}, and the sharpened image {bands}",
            path=path,
            remedy="give the same bands on the grid of X",
        )
    fault = _misfit(info.grid, grid)
    if fault is not None:
        raise GridError(fault, path=path, remedy="give a reference on the grid of X")
    return band_reader(dataset, info, grid, usable, "nearest")


def _misfit(reference: Grid, grid: Grid) -> str | None:
    """Why pixels of a reference are not those of a grid; None where they are."""
    if not same_crs(reference.crs, grid.crs):
        return f"is in {crs_label(reference.crs)}, and the sharpened image in {crs_label(grid.crs)}"
    if abs(reference.gsd_m / grid.gsd_m - 1) > _SAME_SIZE:
        return (
            f"has pixels of {reference.gsd_m:.4g} m, and the sharpened image of {grid.gsd_m:.4g} m"
        )
    if intersection([reference.bounds, grid.bounds]) is None:
        return "shares no ground with the sharpened image"
    off = ~north_up(reference).transform * grid.transform
    beside = max(abs(start - round(start)) for start in (off.c, off.f))
    return (
        f"has pixels {beside:.2f} of their size beside those of the sharpened image"
        if beside > _SAME_PLACE
        else None
    )


def _ranges(reader: BandReader, grid: Grid, bands: int) -> NDArray[np.float64]:
    """Of each band, the largest less the smallest valid value."""
    low, high = np.full(bands, np.inf), np.full(bands, -np.inf)
    for window, _ in _strips(grid, bands):
        values = reader.read(window)
        if values.valid.any():
            data = values.data[:, values.valid]
            low, high = np.minimum(low, data.min(1)), np.maximum(high, data.max(1))
    return np.where(np.isfinite(high - low), high - low, 0.0)


def without_reference(
    sharp: Path, pair: Pair, study: Study, again: CoarseAgain, progress: Progress
) -> dict[str, Any]:
    """The hybrid quality with no reference (HQNR) of a finished file."""
    bands = len(pair.hsi.bands)
    quality = NoReference(_partners(pair, study, again))
    with progress.task("judging the result", pair.coarse.height + pair.fine.height) as task:
        for window, core in _strips(pair.coarse, bands):
            rows = window.slices[0]
            hsi, valid = pair.read_hsi(window)
            usable = valid.numpy() & again.valid[rows]
            quality.add_coarse(hsi.numpy(), again.sharp[:, rows], again.x[:, rows], usable, core)
            task.advance(core.stop - core.start)
        with rasterio.open(sharp) as found:
            reader = _all_bands(found, str(sharp), pair.fine, bands)
            for window, core in _strips(pair.fine, bands):
                raw, _ = pair.read_x(window)
                values = reader.read(window)
                x = study.calibration.of_x(raw).numpy()
                quality.add_fine(values.data, x, values.valid, core)
                task.advance(core.stop - core.start)
    return asdict(quality.result())


def _partners(pair: Pair, study: Study, again: CoarseAgain) -> list[Partner]:
    """For each band the channel that sees closest to it, and what brings it into its units."""
    centres = [pair.hsi.info.bands.wavelengths_nm[band - 1] or 0.0 for band in pair.hsi.bands]
    seen = (study.lesson.response.double().numpy() @ np.array(centres)).tolist()
    usable = again.valid
    x_means = [float(np.abs(band[usable].mean())) or 1.0 for band in again.x]
    partners = []
    for centre, band in zip(centres, again.sharp, strict=True):
        nearest = min(range(len(seen)), key=lambda i: abs(seen[i] - centre))
        mean = float(np.abs(band[usable].mean())) if usable.any() else 1.0
        partners.append(Partner(nearest, max(mean, 1e-12) / x_means[nearest]))
    return partners
