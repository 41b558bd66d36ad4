"""A raster of classes as ground truth."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.features import geometry_mask

from comix_cli.errors import GridError, LabelError
from comix_cli.mapping.map_file import MapFile
from comix_cli.progress import Progress
from comix_cli.scene.grid import Grid, bounds_in, crs_label, extent_label
from comix_cli.scene.labels import RASTER
from comix_cli.scene.legend import NO_CLASS
from comix_cli.scene.pixel_rule import CENTRES, PixelRule
from comix_cli.scene.rasterize import Burnt, Sources
from comix_cli.scene.vector import reproject
from comix_cli.scene.windows import Window, tile_windows

# Pixels of a label raster that are read at once, on a side.
_TILE = 2048
# Pixels around the ground of a grid that its nearest neighbours may lie in.
_MARGIN = 2
# Parts of an outline's edge and of a window's side at which another CRS is asked for.
_EDGE_PARTS, _SIDE_PARTS = 50, 4


@dataclass(frozen=True)
class LabelRaster:
    """A raster of classes as ground truth, brought onto other grids by nearest neighbour.

    Attributes:
        path: The file.
        classes: `(code, name)` of every class on the ground of the grid that it was opened for,
            ascending by code.
        integer_field: True where the raster has no names, so that its codes are what is compared.
        raster: The open raster.
        place: The part of it on that ground.
        field: Empty; a raster has but one.
        kind: `raster`.
    """

    path: str
    classes: tuple[tuple[int, str], ...]
    integer_field: bool
    raster: MapFile
    place: Window
    field: str = ""
    kind: str = RASTER

    def burn(
        self,
        grid: Grid,
        window: Window | None = None,
        *,
        rule: PixelRule = CENTRES,  # noqa: ARG002 - a raster has pixels of its own
        codes: Mapping[int, int] | None = None,
    ) -> Burnt:
        """The raster's classes on a window of a grid; all of it is feature 0."""
        place = grid if window is None else grid.part(window)
        known, numbers = np.unique(self.raster.read_onto(place), return_inverse=True)
        found = known if codes is None else _replaced(known, codes)
        top = np.where(found == NO_CLASS, -1, np.arange(len(found)))[numbers].astype(np.int32)
        top = top.reshape(place.shape)
        whole = np.zeros(len(found), np.int32)
        return Burnt(top, top, Sources(found, whole, whole))

    @property
    def source_crs(self) -> CRS:
        """The CRS of the raster, or the one assumed for it."""
        return self.raster.grid.crs

    def boxes(self, grid: Grid) -> NDArray[np.float64]:
        """The extent of what lies on the grid, in its CRS, `(1, 4)`."""
        try:
            return np.array([bounds_in(self.raster.grid.part(self.place), grid.crs)])
        except GridError:  # such as of a raster of the whole earth
            return np.array([grid.bounds])

    def described(self) -> dict[str, Any]:
        """A raster has no features."""
        return dict.fromkeys(
            ("features", "repaired", "features_outside", "features_without_class"), 0
        )

    def class_of_feature(self) -> dict[int, str]:
        """A raster has no features."""
        return {}

    def overlaps(
        self,
        grid: Grid,  # noqa: ARG002 - nothing lies on each other in a raster
        window: Window,  # noqa: ARG002
        disputed: NDArray[np.bool_],  # noqa: ARG002
        *,
        rule: PixelRule,  # noqa: ARG002
        codes: Mapping[int, int],  # noqa: ARG002
    ) -> Mapping[tuple[int, int], int]:
        """A raster has no features."""
        return {}

    def without_pixel(
        self,
        grid: Grid,  # noqa: ARG002 - as in `overlaps`
        seen: Collection[int],  # noqa: ARG002
        rule: PixelRule,  # noqa: ARG002
    ) -> int:
        """A raster has no features."""
        return 0

    def pixels_beyond(self, grid: Grid, progress: Progress) -> tuple[int, bool]:
        """How many pixels of a grid its labelled pixels beyond it would cover.

        They are counted in the raster and weighted by their size, so the number is exact where the
        grid has the raster's own pixels, and where there are none.
        """
        outline, pixels = self._outline(grid), 0.0
        windows = tile_windows(self.raster.grid.shape, _TILE)
        with progress.task("counting labels beyond the map", len(windows)) as task:
            for window in windows:
                count = self._labelled_beyond(window, outline)
                if count:
                    pixels += count * self._pixel_size(window, grid)
                task.advance()
        return round(pixels), pixels == 0 or self.raster.shares_pixels(grid)

    def _outline(self, grid: Grid) -> Any:
        """The outline of a grid, in pixels of the raster."""
        outline = shapely.segmentize(
            shapely.box(0, 0, grid.width, grid.height), max(grid.shape) / _EDGE_PARTS
        )
        there = reproject(_placed(np.array([outline]), grid.transform), grid.crs, self.source_crs)
        return _placed(there, ~self.raster.grid.transform)[0]

    def _labelled_beyond(self, window: Window, outline: Any) -> int:
        """Labelled pixels of a window whose centres lie outside an outline."""
        rows, columns = window.slices
        part = shapely.box(columns.start, rows.start, columns.stop, rows.stop)
        if shapely.contains(outline, part):
            return 0
        if not shapely.intersects(outline, part):
            return sum(self.raster.count(window).values())
        corner = Affine.translation(window.col, window.row)
        beyond = geometry_mask([outline], window.shape, corner)
        return int(np.count_nonzero(self.raster.read(window)[beyond] != NO_CLASS))

    def _pixel_size(self, window: Window, grid: Grid) -> float:
        """Mean size of the pixels of a window, in pixels of a grid.

        Those that the grid's CRS has no place for have no size, as geometries there are no part of
        ground truth either.
        """
        rows, columns = (
            start + length * (np.arange(_SIDE_PARTS) + 0.5) / _SIDE_PARTS
            for start, length in zip((window.row, window.col), window.shape, strict=True)
        )
        x, y = (places.ravel() for places in np.meshgrid(columns, rows))
        pixels = shapely.box(x - 0.5, y - 0.5, x + 0.5, y + 0.5)
        there = reproject(_placed(pixels, self.raster.grid.transform), self.source_crs, grid.crs)
        areas = shapely.area(there) / abs(grid.transform.determinant)
        return float(np.where(np.isfinite(areas), areas, 0).mean())


def read_label_raster(path: str, raster: MapFile, grid: Grid, progress: Progress) -> LabelRaster:
    """What of an open raster of classes lies on the ground of a grid.

    Raises:
        LabelError: It lies elsewhere, or is without any class there.
        RasterError: It holds no classes.
    """
    place = _place_of(raster, grid)
    classes = _classes_of(raster, place, progress)
    return LabelRaster(path, classes, raster.legend is None, raster, place)


def _placed(shapes: NDArray[Any], transform: Affine) -> NDArray[Any]:
    """Shapes through an affine transform."""
    matrix = np.array([[transform.a, transform.b], [transform.d, transform.e]])
    placed: NDArray[Any] = shapely.transform(
        shapes, lambda points: points @ matrix.T + (transform.c, transform.f)
    )
    return placed


def _place_of(raster: MapFile, grid: Grid) -> Window:
    """The part of a raster on the ground of a grid; all of it where that cannot be told."""
    try:
        left, bottom, right, top = there = bounds_in(grid, raster.grid.crs)
    except GridError:  # such as across the end of the degrees
        return Window(0, 0, *raster.grid.shape)
    corners = [~raster.grid.transform * (x, y) for x in (left, right) for y in (bottom, top)]
    (col, width), (row, height) = (
        _span(axis, size)
        for axis, size in zip(zip(*corners, strict=True), raster.grid.shape[::-1], strict=True)
    )
    if not width or not height:
        raise LabelError(
            f"the ground truth misses the raster in {crs_label(raster.grid.crs)}: it covers "
            f"{extent_label(raster.grid.bounds)}; the raster covers {extent_label(there)}",
            path=raster.path,
            remedy="check its CRS (--gt-crs)",
        )
    return Window(row, col, height, width)


def _span(places: Sequence[float], size: int) -> tuple[int, int]:
    """First pixel and number of pixels between some places, and a margin; 0 where none lie."""
    first, stop = math.floor(min(places)), math.ceil(max(places))
    if first >= size or stop <= 0:
        return 0, 0
    first = max(0, first - _MARGIN)
    return first, min(size, stop + _MARGIN) - first


def _classes_of(raster: MapFile, place: Window, progress: Progress) -> tuple[tuple[int, str], ...]:
    """Code and name of every class that occurs in a part of a raster."""
    found: set[int] = set()
    windows = tile_windows(place.shape, _TILE)
    with progress.task("reading labels", len(windows)) as task:
        for part in windows:
            here = replace(part, row=place.row + part.row, col=place.col + part.col)
            found |= raster.count(here).keys()
            task.advance()
    if not found:
        where = "" if place.shape == raster.grid.shape else " within the raster's extent"
        raise LabelError(
            f"holds no class{where}: every pixel is 0 or nodata",
            path=raster.path,
            remedy="give a raster of class codes above 0",
        )
    names = {entry.code: entry.name for entry in raster.legend or ()}
    return tuple((code, names.get(code, str(code))) for code in sorted(found))


def _replaced(known: NDArray[np.int32], codes: Mapping[int, int]) -> NDArray[np.int32]:
    """Other codes for some, no class for the rest."""
    return np.array([codes.get(int(code), NO_CLASS) for code in known], np.int32)
