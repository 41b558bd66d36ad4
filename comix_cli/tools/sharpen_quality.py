"""How good a sharpened image is: against a reference, and without one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from comix_cli.accuracy.image_quality import FullReference
from comix_cli.accuracy.local_statistics import HALO, Block, Floats, Mask, blocks
from comix_cli.accuracy.no_reference import NoReference, Partner
from comix_cli.errors import GridError, RasterError, counted
from comix_cli.progress import Progress, Task
from comix_cli.scene.grid import Grid, crs_label, intersection, north_up, same_crs
from comix_cli.scene.raster import describe, open_raster
from comix_cli.scene.reader import BandReader, band_reader
from comix_cli.scene.stack import usable_bands
from comix_cli.sharpening.cube_file import BLOCK
from comix_cli.sharpening.pair import Pair
from comix_cli.sharpening.study import Study
from comix_cli.sharpening.windows import CoarseAgain

# Side of a block: that of a tile of the sharp file. A dozen arrays of such a band fit into a cache.
_SIDE = BLOCK
# Blocks of whole rows may have so many times as many pixels as square ones.
_WIDER = 4
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
    with open_raster(str(sharp)) as found, open_raster(reference) as truth:
        info = describe(found, str(sharp))
        sharp_reader = _all_bands(found, str(sharp), info.grid, bands)
        truth_reader = _truth(truth, reference, info.grid, bands, src_crs)
        shape, size = info.grid.shape, _block_size(truth, info.grid)
        quality = FullReference(_ranges(truth_reader, blocks(shape, size, halo=0), bands, progress))
        plan = blocks(shape, size)
        with progress.task("comparing with the reference", len(plan)) as task:
            for block in plan:
                _compare(quality, block, truth_reader, sharp_reader)
                task.advance()
    figures = asdict(quality.result(ratio))
    return {key: _finite(value) for key, value in figures.items() if key != "bands"}


def _finite(value: Any) -> Any:
    """JSON knows no infinity: what is exact has no PSNR."""
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _block_size(dataset: Any, grid: Grid) -> tuple[int, int]:
    """Height and width of the blocks to read a file in: squares, or rows where it consists of rows.

    A file in rows (strips, most ENVI files) has to read all of a row for any part of it.
    """
    if dataset.block_shapes[0][1] < dataset.width:
        return _SIDE, _SIDE
    return _few_rows(grid.width)


def _few_rows(width: int) -> tuple[int, int]:
    """Height and width of blocks of whole rows, which have no more rows than memory allows."""
    rows = max(2 * HALO, _WIDER * _SIDE**2 // width)
    return min(rows, _SIDE), max(width, _SIDE)


def _compare(
    quality: FullReference, block: Block, truth_reader: BandReader, sharp_reader: BandReader
) -> None:
    truth = truth_reader.read(block.window)
    if truth.valid[block.core].any():
        sharp = sharp_reader.read(block.window)
        quality.add(truth.data, sharp.data, truth.valid & sharp.valid, block.core)


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


def _ranges(
    reader: BandReader, parts: Sequence[Block], bands: int, progress: Progress
) -> NDArray[np.float64]:
    """Of each band, the largest less the smallest valid value."""
    low, high = np.full(bands, np.inf), np.full(bands, -np.inf)
    with progress.task("looking at the reference", len(parts)) as task:
        for part in parts:
            values = reader.read(part.window)
            if values.valid.any():
                spectra = _spectra(values.data, values.valid)
                low, high = np.minimum(low, spectra.min(1)), np.maximum(high, spectra.max(1))
            task.advance()
    return np.where(np.isfinite(high - low), high - low, 0.0)


def _spectra(cube: NDArray[np.float32], valid: Mask) -> NDArray[np.float32]:
    """The valid pixels of a cube `(bands, h, w)`, `(bands, pixels)`."""
    return cube.reshape(len(cube), -1) if valid.all() else cube[:, valid]


def without_reference(
    sharp: Path, pair: Pair, study: Study, again: CoarseAgain, progress: Progress
) -> dict[str, Any]:
    """The hybrid quality with no reference (HQNR) of a finished file.

    Figures are None where no window tells: where an image is smaller than one, or full of holes.
    """
    shape = pair.coarse.shape
    parts = blocks(shape, _few_rows(shape[1]), halo=0)
    coarse = blocks(shape, _block_size(pair.hsi.dataset, pair.coarse))
    with open_raster(str(sharp)) as found:
        reader = _all_bands(found, str(sharp), pair.fine, len(pair.hsi.bands))
        fine = blocks(pair.fine.shape, _block_size(found, pair.fine))
        with progress.task("judging the result", len(parts) + len(coarse) + len(fine)) as task:
            quality = NoReference(_partners(pair, study, _levels(again, parts, task)))
            for block in coarse:
                _add_coarse(quality, block, pair, again)
                task.advance()
            for block in fine:
                _add_fine(quality, block, pair, study, reader)
                task.advance()
    return asdict(quality.result())


def _add_coarse(quality: NoReference, block: Block, pair: Pair, again: CoarseAgain) -> None:
    place = block.window.slices
    if again.valid[place][block.core].any():
        hsi, valid = pair.read_hsi(block.window)
        usable = valid.numpy() & again.valid[place]
        sharp, x = (cube[:, *place] for cube in (again.sharp, again.x))
        quality.add_coarse(hsi.numpy(), sharp, x, usable, block.core)


def _add_fine(
    quality: NoReference, block: Block, pair: Pair, study: Study, reader: BandReader
) -> None:
    values = reader.read(block.window)
    if values.valid[block.core].any():
        raw, _ = pair.read_x(block.window)
        x = study.calibration.of_x(raw).numpy()
        quality.add_fine(values.data, x, values.valid, block.core)


def _partners(pair: Pair, study: Study, levels: tuple[Floats, Floats]) -> list[Partner]:
    """For each band the channel that sees closest to it, and what brings it into its units.

    Args:
        pair: Both rasters.
        study: What is known of them.
        levels: Of the bands of the sharp image and of the channels of X.
    """
    centres = pair.hsi.centres_nm
    seen = (study.lesson.response.double().numpy() @ np.array(centres)).tolist()
    x_levels = levels[1].tolist()
    partners = []
    for centre, level in zip(centres, levels[0].tolist(), strict=True):
        nearest = min(range(len(seen)), key=lambda i: abs(seen[i] - centre))
        partners.append(Partner(nearest, max(level, 1e-12) / (x_levels[nearest] or 1.0)))
    return partners


def _levels(again: CoarseAgain, parts: Sequence[Block], task: Task) -> tuple[Floats, Floats]:
    """How far from 0 the mean of each band is, of the sharp image and of X on the coarse grid."""
    cubes = (again.sharp, again.x)
    totals = [np.zeros(len(cube)) for cube in cubes]
    for part in parts:
        place = part.window.slices
        valid = again.valid[place]
        for cube, total in zip(cubes, totals, strict=True):
            total += [band[place][valid].sum(dtype=np.float64) for band in cube]
        task.advance()
    pixels = max(1, int(again.valid.sum()))
    return np.abs(totals[0]) / pixels, np.abs(totals[1]) / pixels
