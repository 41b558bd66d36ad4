"""One grid: a CRS, an affine transform and a size. And the grid that several rasters share.

Pure arithmetic on coordinates: nothing here opens a file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import calculate_default_transform, transform_bounds

from comix_cli.errors import GridError, UsageError
from comix_cli.scene.windows import Window

Bounds = tuple[float, float, float, float]

# Pixels by which an edge may miss the lattice and still count as on it: far above the noise of
# float64 coordinates, far below anything that matters on the ground.
SNAP_TOLERANCE = 1e-6
EARTH_RADIUS_M = 6371008.8
# Counted from the origin of a CRS, rounding in coordinates amounts to some millionths of a pixel.
LATTICE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Grid:
    """Pixels on the ground.

    Attributes:
        crs: Coordinate reference system.
        transform: From (column, row) of a pixel's corner to coordinates of the CRS. Rasters may be
            rotated or south-up; a common grid never is.
        width: Columns.
        height: Rows.

    Raises:
        GridError: No CRS, no pixel, or a transform that cannot be inverted.
    """

    crs: CRS
    transform: Affine
    width: int
    height: int

    def __post_init__(self) -> None:
        if not self.crs:
            raise GridError("a grid needs a CRS")
        if self.width < 1 or self.height < 1:
            raise GridError(f"a grid of {self.width} x {self.height} pixels is empty")
        numbers = tuple(self.transform)[:6]
        if not all(map(math.isfinite, numbers)) or self.transform.is_degenerate:
            raise GridError(f"the transform {numbers} does not place pixels on the ground")

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width

    @property
    def resolution(self) -> tuple[float, float]:
        """Width and height of a pixel in units of the CRS, positive."""
        t = self.transform
        return math.hypot(t.a, t.d), math.hypot(t.b, t.e)

    @property
    def bounds(self) -> Bounds:
        """Left, bottom, right, top: the box around all pixels."""
        return self.window_bounds(Window(0, 0, self.height, self.width))

    @property
    def is_north_up(self) -> bool:
        """True where columns run east and rows run south."""
        t = self.transform
        return bool(t.b == 0 and t.d == 0 and t.a > 0 and t.e < 0)

    @property
    def lattice_position(self) -> tuple[int, int]:
        """Row and column of the first pixel, counted from the origin of the CRS.

        Grids that are pieces of one larger grid count the same pixels alike. Of a north-up grid.
        """
        t = self.transform
        return (
            math.floor(t.f / t.e + LATTICE_TOLERANCE),
            math.floor(t.c / t.a + LATTICE_TOLERANCE),
        )

    @property
    def gsd_m(self) -> float:
        """Side of a square with a pixel's area, in metres.

        Degrees are converted on a sphere at the latitude of the centre.
        """
        return math.sqrt(abs(self.transform.determinant)) * self._metres_per_unit()

    def _metres_per_unit(self) -> float:
        if self.crs.is_geographic:
            radians = float(self.crs.units_factor[1])
            _, bottom, _, top = self.bounds
            latitude = (bottom + top) / 2 * radians
            return radians * EARTH_RADIUS_M * math.sqrt(max(math.cos(latitude), 1e-6))
        try:
            return float(self.crs.linear_units_factor[1])
        except CRSError:  # a local CRS of unknown unit
            return 1.0

    def window_transform(self, window: Window) -> Affine:
        """The transform of a window's own pixels."""
        return self.transform * Affine.translation(window.col, window.row)

    def part(self, window: Window) -> Grid:
        """The grid of a window's own pixels."""
        return replace(
            self,
            transform=self.window_transform(window),
            width=window.width,
            height=window.height,
        )

    def window_bounds(self, window: Window) -> Bounds:
        """Left, bottom, right, top of the box around a window."""
        rows = (window.row, window.row + window.height)
        cols = (window.col, window.col + window.width)
        corners = [self.transform * (col, row) for row in rows for col in cols]
        xs, ys = zip(*corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    def same_as(self, other: Grid, tol: float = 1e-3) -> bool:
        """True where both place the same pixels within `tol` pixels at every corner."""
        if self.shape != other.shape or not same_crs(self.crs, other.crs):
            return False
        to_self = ~self.transform * other.transform
        corners = [(c, r) for c in (0, self.width) for r in (0, self.height)]
        return all(math.dist(to_self * corner, corner) <= tol for corner in corners)


def ground_size_m(grid: Grid) -> tuple[float, float]:
    """Length of the grid's rows and of its columns in metres; degrees as on a sphere."""
    width, height = (n * r for n, r in zip((grid.width, grid.height), grid.resolution, strict=True))
    if not grid.crs.is_geographic:
        metres = grid.gsd_m / math.sqrt(abs(grid.transform.determinant))
        return width * metres, height * metres
    radians = float(grid.crs.units_factor[1])
    _, bottom, _, top = grid.bounds
    parallel = max(math.cos((bottom + top) / 2 * radians), 1e-3)
    metres = radians * EARTH_RADIUS_M
    return width * metres * parallel, height * metres


def same_crs(one: CRS, other: CRS) -> bool:
    """True where two CRSs are the same, however each of them is written."""
    if one == other:
        return True
    code = one.to_epsg()
    return code is not None and code == other.to_epsg()


def crs_label(crs: CRS) -> str:
    """A short name for messages: `EPSG:32633` where there is a code."""
    code = crs.to_epsg()
    return f"EPSG:{code}" if code is not None else str(crs.to_wkt()).split(",", maxsplit=1)[0]


def bounds_in(grid: Grid, crs: CRS) -> Bounds:
    """The box around a grid in another CRS; it holds every pixel, since edges are densified.

    Raises:
        GridError: The grid has no place in that CRS.
    """
    if same_crs(grid.crs, crs):
        return grid.bounds
    try:
        box = transform_bounds(grid.crs, crs, *grid.bounds, densify_pts=51)
    except RasterioError as error:
        raise GridError(
            f"the extent {extent_label(grid.bounds)} in {crs_label(grid.crs)} cannot be "
            f"transformed to {crs_label(crs)} ({error})"
        ) from error
    if not all(map(math.isfinite, box)) or box[0] >= box[2]:
        raise GridError(
            f"the extent {extent_label(grid.bounds)} in {crs_label(grid.crs)} does not fit into "
            f"{crs_label(crs)}",
            remedy="choose another CRS with --dst-crs",
        )
    left, bottom, right, top = map(float, box)
    return left, bottom, right, top


def extent_label(bounds: Bounds) -> str:
    """An extent for messages: `x 370000..380000, y 5810000..5820000`."""
    left, bottom, right, top = (f"{value:.10g}" for value in bounds)
    return f"x {left}..{right}, y {bottom}..{top}"


def intersection(boxes: Sequence[Bounds]) -> Bounds | None:
    """The box that all boxes share; None where they share no area."""
    lefts, bottoms, rights, tops = zip(*boxes, strict=True)
    shared = (max(lefts), max(bottoms), min(rights), min(tops))
    return shared if shared[0] < shared[2] and shared[1] < shared[3] else None


def north_up(grid: Grid) -> Grid:
    """A north-up grid with pixels of the same size that covers the same ground.

    A south-up grid keeps its pixels in reversed order; a rotated one gets the box around it.
    """
    if grid.is_north_up:
        return grid
    xres, yres = grid.resolution
    left, bottom, right, top = grid.bounds
    return Grid(
        grid.crs,
        Affine(xres, 0.0, left, 0.0, -yres, top),
        math.ceil((right - left) / xres - SNAP_TOLERANCE),
        math.ceil((top - bottom) / yres - SNAP_TOLERANCE),
    )


def finest(grids: Sequence[Grid]) -> Grid:
    """The grid with the smallest pixels in metres; of equals the last (an X before the HSI)."""
    smallest = min(grid.gsd_m for grid in grids)
    return next(g for g in reversed(grids) if g.gsd_m <= smallest * (1 + SNAP_TOLERANCE))


def common_grid(
    grids: Sequence[Grid],
    *,
    like: Grid | None = None,
    resolution: float | tuple[float, float] | None = None,
    dst_crs: CRS | None = None,
    bounds: Bounds | None = None,
    names: Sequence[str] | None = None,
) -> Grid:
    """The north-up grid on which several rasters meet.

    By default it has the resolution, the CRS and the pixel edges of the finest raster, and the
    whole pixels of it that lie inside every raster's extent.

    Args:
        grids: One grid per raster.
        like: Take this grid as it is.
        resolution: Pixel size in units of the target CRS, instead of the finest raster's.
        dst_crs: Target CRS, instead of the finest raster's.
        bounds: Extent in the target CRS. It is widened to the finest raster's own pixel edges, so
            that pieces of a scene fit together; with `resolution` or `dst_crs` its upper left
            corner is exact, and the size is rounded to whole pixels.
        names: What to call the rasters in messages.

    Raises:
        GridError: The rasters share no ground, or lie outside the target; all extents are printed.
        UsageError: Options that contradict each other.
    """
    titles = list(names) if names else [f"raster {i + 1}" for i in range(len(grids))]
    if like is not None:
        if resolution is not None or dst_crs is not None or bounds is not None:
            raise UsageError("--like gives the whole grid; drop --res, --dst-crs and --bounds")
        target = north_up(like)
        _require_shared(grids, titles, target.crs, target.bounds, "the grid of --like")
        return target
    lattice = _lattice(finest(grids), resolution, dst_crs)
    if bounds is not None:
        own_pixels = resolution is None and dst_crs is None
        target = _grid_of_bounds(lattice, bounds, own_pixels=own_pixels)
        _require_shared(grids, titles, target.crs, bounds, "--bounds")
        return target
    return _snapped_inward(lattice, _require_shared(grids, titles, lattice.crs), grids, titles)


def _lattice(
    grid: Grid, resolution: float | tuple[float, float] | None, dst_crs: CRS | None
) -> Grid:
    """Where pixel edges may lie: a grid whose origin and resolution matter, and its size not."""
    size = None if resolution is None else _positive_pair(resolution)
    if dst_crs is None or same_crs(grid.crs, dst_crs):
        base = north_up(grid)
        xres, yres = size or base.resolution
        edges = Affine(xres, 0.0, base.transform.c, 0.0, -yres, base.transform.f)
        return Grid(base.crs, edges, base.width, base.height)
    bounds_in(grid, dst_crs)  # says in our words what GDAL would say in its own
    transform, width, height = calculate_default_transform(
        grid.crs, dst_crs, grid.width, grid.height, *grid.bounds, resolution=size
    )
    return Grid(dst_crs, transform, width, height)


def _positive_pair(resolution: float | tuple[float, float]) -> tuple[float, float]:
    pair = resolution if isinstance(resolution, tuple) else (resolution, resolution)
    if not all(math.isfinite(side) and side > 0 for side in pair):
        raise UsageError(f"--res {resolution}: a resolution must be positive")
    return float(pair[0]), float(pair[1])


def _grid_of_bounds(lattice: Grid, bounds: Bounds, *, own_pixels: bool) -> Grid:
    left, bottom, right, top = bounds
    if not all(map(math.isfinite, bounds)) or left >= right or bottom >= top:
        raise UsageError(
            f"--bounds {' '.join(f'{v:.10g}' for v in bounds)} enclose nothing",
            remedy="give left bottom right top",
        )
    xres, yres = lattice.resolution
    if not own_pixels:
        corner = Affine(xres, 0.0, left, 0.0, -yres, top)
        columns, rows = ((right - left) / xres, (top - bottom) / yres)
        return Grid(lattice.crs, corner, max(1, round(columns)), max(1, round(rows)))
    x0, y0 = lattice.transform.c, lattice.transform.f
    return _whole_pixels(
        lattice,
        math.floor((left - x0) / xres + SNAP_TOLERANCE),
        math.ceil((right - x0) / xres - SNAP_TOLERANCE),
        math.floor((y0 - top) / yres + SNAP_TOLERANCE),
        math.ceil((y0 - bottom) / yres - SNAP_TOLERANCE),
    )


def _whole_pixels(
    lattice: Grid, first_col: int, end_col: int, first_row: int, end_row: int
) -> Grid:
    """Some columns and rows of a lattice."""
    xres, yres = lattice.resolution
    x0, y0 = lattice.transform.c, lattice.transform.f
    transform = Affine(xres, 0.0, x0 + first_col * xres, 0.0, -yres, y0 - first_row * yres)
    return Grid(lattice.crs, transform, end_col - first_col, end_row - first_row)


def _require_shared(
    grids: Sequence[Grid],
    titles: Sequence[str],
    crs: CRS,
    target: Bounds | None = None,
    target_title: str = "",
) -> Bounds:
    boxes = [bounds_in(grid, crs) for grid in grids]
    named = [*titles]
    if target is not None:
        boxes.append(target)
        named.append(target_title)
    shared = intersection(boxes)
    if shared is None:
        raise _no_overlap(boxes, named, crs)
    return shared


def _snapped_inward(
    lattice: Grid, shared: Bounds, grids: Sequence[Grid], titles: Sequence[str]
) -> Grid:
    """The whole pixels of the lattice inside `shared`; edges on the lattice stay where they are."""
    left, bottom, right, top = shared
    xres, yres = lattice.resolution
    x0, y0 = lattice.transform.c, lattice.transform.f
    first_col = math.ceil((left - x0) / xres - SNAP_TOLERANCE)
    end_col = math.floor((right - x0) / xres + SNAP_TOLERANCE)
    first_row = math.ceil((y0 - top) / yres - SNAP_TOLERANCE)
    end_row = math.floor((y0 - bottom) / yres + SNAP_TOLERANCE)
    if end_col <= first_col or end_row <= first_row:
        raise _no_overlap([bounds_in(g, lattice.crs) for g in grids], titles, lattice.crs)
    return _whole_pixels(lattice, first_col, end_col, first_row, end_row)


def _no_overlap(boxes: Sequence[Bounds], titles: Sequence[str], crs: CRS) -> GridError:
    extents = "; ".join(
        f"{title} covers {extent_label(box)}" for title, box in zip(titles, boxes, strict=True)
    )
    return GridError(
        f"the inputs share no whole pixel of ground in {crs_label(crs)}: {extents}",
        remedy="check that they show the same place and that their CRSs are right",
    )
