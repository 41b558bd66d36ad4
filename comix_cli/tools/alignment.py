"""Whether the HSI and an X lie on each other: a few patches of few bands, compared."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from comix_cli.scene.grid import Grid, ground_size_m, same_crs
from comix_cli.scene.raster import RasterInfo
from comix_cli.scene.shift import Shift, estimate_shift
from comix_cli.scene.stack import Block, GridOptions, SourceSpec, Stack, open_stack
from comix_cli.scene.windows import Window

# Patches have pixels of half the coarser raster's, so that shifts are found to a fraction of it.
PER_COARSE = 2
# Sides of a patch in coarse pixels: smaller ones say too little, larger ones nothing more.
LEAST_PATCH, MOST_PATCH = 20, 96
PATCHES = 5
# Values to read from the files in all, which takes half a second where they are compressed.
MOST_VALUES = 25_000_000
# What a value costs that GDAL's warper makes, in values that are read.
WARPING = 8
# The largest shift that is looked for, in coarse pixels.
REACH = 8
# Where edges of different causes blur the answer, 'no shift' keeps much of the correlation.
MOST_UNMOVED = 0.7
# Bands in which most scenes show edges, in nanometres: green, red, near infrared.
TELLING_NM = (560.0, 665.0, 865.0)


@dataclass(frozen=True)
class Offset:
    """How far an X lies from the HSI.

    Attributes:
        east_m: Metres to the east.
        north_m: Metres to the north.
        coarse_pixels: The distance in pixels of the coarser of the two rasters.
        coarse_m: Metres per pixel of the coarser raster.
        unmoved: The likeness of the two as they lie, as a share of that without this offset.
    """

    east_m: float
    north_m: float
    coarse_pixels: float
    coarse_m: float
    unmoved: float

    @property
    def misplaced(self) -> bool:
        """Whether the two are clearly more than one coarse pixel apart."""
        return self.coarse_pixels > 1 and self.unmoved <= MOST_UNMOVED

    @property
    def label(self) -> str:
        """For messages: `88 m east and 3 m north`."""
        digits = max(0, math.ceil(1 - math.log10(self.coarse_m)))
        east = f"{abs(self.east_m):.{digits}f} m {'east' if self.east_m > 0 else 'west'}"
        north = f"{abs(self.north_m):.{digits}f} m {'north' if self.north_m > 0 else 'south'}"
        return f"{east} and {north}"


def offset(stack: Stack, position: int, src_crs: str | None) -> Offset | None:
    """How far X `position` (0 is the first) lies from the HSI; None where that cannot be told.

    Costs at most about a second: few bands of at most `PATCHES` patches are read, and nothing where
    one raster is so much finer than the other that patches would be too large.
    """
    infos = (stack.hsi_info, stack.x_info[position])
    coarse = max(stack.grid.gsd_m, *(info.grid.gsd_m for info in infos))
    lattice = max((info.grid for info in infos), key=lambda grid: grid.gsd_m)
    aligned = _on_lattice(stack.grid, lattice)
    options = aligned or _coarse_grid(stack.grid, coarse)
    native = [aligned is not None and info.grid is lattice for info in infos]
    side = min(MOST_PATCH, max(-(-size * stack.grid.gsd_m // coarse) for size in stack.grid.shape))
    side, patches = _affordable(infos, native, int(side), coarse)
    if not patches:
        return None
    bands = (_telling(stack), stack.x_bands[position][:3])
    sources = [
        SourceSpec(info.path, "hsi" if own else "continuous", src_crs=src_crs, bands=chosen)
        for info, own, chosen in zip(infos, native, bands, strict=True)
    ]
    with open_stack(sources[0], sources[1:], options) as small:
        blocks = list(islice(_patches(small, side * PER_COARSE), patches))
        found = estimate_shift(blocks, REACH * PER_COARSE)
        return None if found is None else _on_the_ground(found, small.grid, coarse)


def _affordable(
    infos: Sequence[RasterInfo], native: Sequence[bool], side: int, coarse: float
) -> tuple[int, int]:
    """The side of patches in coarse pixels, at most `side`, and how many of them may be read.

    The most ground for the price; no patch where even the smallest one is too much.
    """
    choices = []
    for each in {side, *range(LEAST_PATCH, side, 4)}:
        cost = sum(_values_read(info, each * coarse) for info in infos)
        # The warper makes all bands of a raster, whichever are wanted.
        warped = sum(info.count for info, own in zip(infos, native, strict=True) if not own)
        cost += WARPING * warped * (each * PER_COARSE) ** 2
        choices.append((min(PATCHES, int(MOST_VALUES / cost)) * each**2, each))
    area, best = max(choices)
    return best, area // best**2


def _values_read(info: RasterInfo, metres: float) -> float:
    """Values that come out of a file for a square patch: whole blocks, and interleaved bands."""
    pixels = metres / info.grid.gsd_m
    height, width = info.block_shape
    rows = min(info.grid.height, pixels + height - 1)
    cols = min(info.grid.width, pixels + width - 1)
    return rows * cols * (info.count if info.interleaved else min(3, info.count))


def _telling(stack: Stack) -> tuple[int, ...]:
    """Up to three bands of the HSI: the ones closest to `TELLING_NM`, else spread over them all."""
    bands, known = stack.hsi_bands, stack.hsi_info.bands.wavelengths_nm
    centres = {band: nm for band in bands if (nm := known[band - 1]) is not None}
    if centres:
        chosen = {min(centres, key=lambda b: abs(centres[b] - nm)) for nm in TELLING_NM}
    else:
        chosen = {bands[int(share * len(bands))] for share in (0.1, 0.3, 0.5)}
    return tuple(sorted(chosen))


def _on_lattice(grid: Grid, coarser: Grid) -> GridOptions | None:
    """The same ground in halves of the coarser raster's own pixels, which then need no warping.

    None where they lie otherwise than the grid's, or are smaller.
    """
    if not (same_crs(grid.crs, coarser.crs) and coarser.is_north_up) or coarser.gsd_m < grid.gsd_m:
        return None
    left, bottom, right, top = grid.bounds
    (first_col, first_row), (end_col, end_row) = (
        ~coarser.transform * corner for corner in ((left, top), (right, bottom))
    )
    west, north = coarser.transform * (math.ceil(first_col - 1e-6), math.ceil(first_row - 1e-6))
    east, south = coarser.transform * (math.floor(end_col + 1e-6), math.floor(end_row + 1e-6))
    if west >= east or south >= north:
        return None
    xres, yres = coarser.resolution
    return GridOptions(
        resolution=(xres / PER_COARSE, yres / PER_COARSE),
        dst_crs=grid.crs.to_wkt(),
        bounds=(west, south, east, north),
    )


def _coarse_grid(grid: Grid, coarse: float) -> GridOptions:
    """The same ground in pixels of `coarse / PER_COARSE` metres."""
    factor = coarse / PER_COARSE / grid.gsd_m
    xres, yres = grid.resolution
    return GridOptions(
        resolution=(xres * factor, yres * factor), dst_crs=grid.crs.to_wkt(), bounds=grid.bounds
    )


def _patches(stack: Stack, side: int) -> Iterator[Block]:
    """Square patches that hold enough valid pixels: in the middle, then around it."""
    for row, col in _corners(stack.grid.shape, side):
        height, width = (min(side, size) for size in stack.grid.shape)
        block = stack.read(Window(row, col, height, width))
        if block.valid.mean() > 0.25:
            yield block


def _corners(shape: tuple[int, int], side: int) -> Iterator[tuple[int, int]]:
    """First rows and columns of up to nine patches that do not overlap, from the middle outwards.

    One patch where there is no room for two side by side.
    """
    axes: list[Sequence[int]] = []
    for size in shape:
        spare = max(0, size - side)
        axes.append((spare // 2, 0, spare) if size >= 3 * side else (spare // 2,))
    rows, cols = axes
    every = [(row, col) for row in rows for col in cols]
    yield from sorted(every, key=lambda c: abs(c[0] - rows[0]) + abs(c[1] - cols[0]))


def _on_the_ground(shift: Shift, grid: Grid, coarse: float) -> Offset:
    width, height = ground_size_m(grid)
    east, north = shift.cols * width / grid.width, -shift.rows * height / grid.height
    return Offset(east, north, math.hypot(east, north) / coarse, coarse, shift.unmoved)
