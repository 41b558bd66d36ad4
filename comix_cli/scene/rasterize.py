"""Ground truth on pixels, window by window, with the pixels that classes dispute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize as burn_shapes

from comix_cli.scene.grid import Grid
from comix_cli.scene.legend import NO_CLASS
from comix_cli.scene.pixel_rule import CENTRES, PixelRule
from comix_cli.scene.windows import Window

if TYPE_CHECKING:
    from comix_cli.scene.labels import GroundTruth

# Pixel coordinates are rounded to multiples of this power of two, about a millionth of a pixel.
# Whether an edge runs through a pixel's centre then no longer depends on the window's origin.
_STEPS_PER_PIXEL = float(1 << 20)
# Geometries with more vertices are cut to the window first; below, cutting costs more than it
# saves.
_MANY_VERTICES = 2000
# So are those that reach farther, in pixels: GDAL counts pixels in 32 bits.
_FAR = float(1 << 28)
_MARGIN = 2.0  # pixels around the window that a cut leaves, so that cut edges lie outside


@dataclass(frozen=True)
class Sources:
    """What may lie on the pixels of a window: geometries, or the classes of a raster.

    Attributes:
        codes: The code of each, `(n,)` int32.
        features: The feature of the file that each is a part of, from 0, `(n,)` int32.
        clusters: What of it belongs together: single polygons, all points of a feature, ...;
            `(n,)` int32.
    """

    codes: NDArray[np.int32]
    features: NDArray[np.int32]
    clusters: NDArray[np.int32]


@dataclass(frozen=True)
class Burnt:
    """What a window of ground truth holds.

    Attributes:
        top: `(H, W)` int32, number of the source that a pixel belongs to, -1 where there is none.
            Where several of one code lie, the last one of the file.
        bottom: `(H, W)` int32, where different codes meet a source of another code than `top`'s,
            elsewhere one of the same code.
        sources: What the numbers stand for.
    """

    top: NDArray[np.int32]
    bottom: NDArray[np.int32]
    sources: Sources

    @property
    def labels(self) -> NDArray[np.int32]:
        """`(H, W)` codes, 0 where unlabelled or disputed."""
        top = self._codes(self.top)
        if self.bottom is self.top:
            return top
        return np.where(top != self._codes(self.bottom), np.int32(NO_CLASS), top)

    @property
    def features(self) -> NDArray[np.int32]:
        """`(H, W)` the feature of the file that each pixel belongs to, -1 where there is none."""
        return np.append(self.sources.features, np.int32(-1))[self.top]

    @property
    def clusters(self) -> NDArray[np.int32]:
        """`(H, W)` the cluster that each pixel belongs to, -1 where there is none."""
        return np.append(self.sources.clusters, np.int32(-1))[self.top]

    @property
    def overlap(self) -> NDArray[np.bool_]:
        """`(H, W)`: True where sources with different codes meet."""
        if self.bottom is self.top:
            return np.zeros(self.top.shape, np.bool_)
        met: NDArray[np.bool_] = self._codes(self.top) != self._codes(self.bottom)
        return met

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """`(H, W)`: True where there is any ground truth, disputed or not."""
        return self.top >= 0

    def _codes(self, numbers: NDArray[np.int32]) -> NDArray[np.int32]:
        # Number -1 takes the last entry.
        return np.append(self.sources.codes, np.int32(NO_CLASS))[numbers]

    def part(self, place: tuple[slice, slice]) -> Burnt:
        """A part of the window."""
        top = self.top[place]
        return Burnt(top, top if self.bottom is self.top else self.bottom[place], self.sources)


@dataclass(frozen=True)
class Candidates:
    """Geometries near a window in its pixel coordinates, by ascending code; see `Sources`."""

    shapes: NDArray[Any]
    codes: NDArray[np.int32]
    features: NDArray[np.int32]
    clusters: NDArray[np.int32]


def burn(
    truth: GroundTruth,
    grid: Grid,
    window: Window | None = None,
    *,
    rule: PixelRule = CENTRES,
    codes: Mapping[int, int] | None = None,
) -> Burnt:
    """Burn the geometries of a window.

    The result of a window is the same as that part of the whole grid's. With `all_touched` one
    exception remains: an edge that runs exactly through the corner of a pixel may or may not touch
    it, as GDAL's rounding falls.

    Args:
        truth: Geometries in the CRS of the grid.
        grid: A grid; it need not be the one that the ground truth was read for.
        window: The part of the grid wanted; None for all of it.
        rule: Which pixels a geometry takes.
        codes: What to burn for each class code, above 0; geometries of other classes are left out.
    """
    place = window or Window(0, 0, grid.height, grid.width)
    near = candidates(truth, grid, place, codes)
    if not len(near.shapes):
        top = bottom = np.full(place.shape, -1, np.int32)
    elif rule.min_coverage is not None:
        # exactextract takes half a second to import, which few runs need.
        from comix_cli.scene.coverage import covered  # noqa: PLC0415

        top, bottom = covered(near, place.shape, rule.min_coverage)
    else:
        top, bottom = _burnt(near, place.shape, rule.all_touched)
    return Burnt(top, bottom, Sources(near.codes, near.features, near.clusters))


def _burnt(
    near: Candidates, shape: tuple[int, int], all_touched: bool
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Ascending codes leave the highest on top of every pixel, descending ones the lowest.

    They differ exactly where different codes meet, however many there are.
    """
    top = burn_numbers(near.shapes, shape, all_touched)
    if not _may_dispute(near):
        return top, top
    down = np.lexsort((near.features, -near.codes))
    burnt = burn_numbers(near.shapes[down], shape, all_touched)
    return top, np.append(down.astype(np.int32), np.int32(-1))[burnt]


def _may_dispute(near: Candidates) -> bool:
    """Whether geometries of different codes come within a pixel of each other."""
    left, top, right, bottom = shapely.bounds(near.shapes).T
    boxes = shapely.box(left - 1, top - 1, right + 1, bottom + 1)
    one, other = shapely.STRtree(boxes).query(boxes)
    return bool((near.codes[one] != near.codes[other]).any())


def candidates(
    truth: GroundTruth, grid: Grid, window: Window, codes: Mapping[int, int] | None
) -> Candidates:
    """The geometries near a window that may take pixels of it; arguments as of `burn`."""
    near = truth.tree.query(shapely.box(*_padded_bounds(grid, window)))
    values = truth.codes[near]
    if codes is not None:
        values = np.array([codes.get(int(code), NO_CLASS) for code in values], np.int32)
        near, values = near[values != NO_CLASS], values[values != NO_CLASS]
    features = truth.features[near].astype(np.int32)
    # Parts of a multipolygon lie apart like any polygons; points and lines stay together.
    clusters = near.astype(np.int32) if truth.kind == "polygons" else features
    shapes = _in_pixels(truth.geometries[near], grid, window)
    kept = np.flatnonzero(~np.asarray(shapely.is_empty(shapes)))
    # The highest code is burnt last, and so lies on top.
    order = kept[np.lexsort((features[kept], values[kept]))]
    return Candidates(shapes[order], values[order], features[order], clusters[order])


def _padded_bounds(grid: Grid, window: Window) -> tuple[float, float, float, float]:
    left, bottom, right, top = grid.window_bounds(window)
    xres, yres = grid.resolution
    return left - xres, bottom - yres, right + xres, top + yres


def _in_pixels(shapes: NDArray[Any], grid: Grid, window: Window) -> NDArray[Any]:
    to_pixels = ~grid.transform
    matrix = np.array([[to_pixels.a, to_pixels.b], [to_pixels.d, to_pixels.e]])
    origin = np.array([to_pixels.c, to_pixels.f])
    corner = np.array([window.col, window.row], np.float64)

    def project(points: NDArray[np.float64]) -> NDArray[np.float64]:
        pixels = points @ matrix.T + origin
        # Multiples of a power of two minus whole numbers: the subtraction is exact.
        rounded: NDArray[np.float64] = np.round(pixels * _STEPS_PER_PIXEL) / _STEPS_PER_PIXEL
        return rounded - corner

    projected = shapely.transform(shapes, project)
    far = np.abs(shapely.bounds(projected)).max(axis=1, initial=0) > _FAR
    large = far | (shapely.get_num_coordinates(projected) > _MANY_VERTICES)
    if large.any():
        projected[large] = shapely.clip_by_rect(
            projected[large], -_MARGIN, -_MARGIN, window.width + _MARGIN, window.height + _MARGIN
        )
    return projected


def burn_numbers(
    shapes: NDArray[Any], shape: tuple[int, int], all_touched: bool
) -> NDArray[np.int32]:
    """`(H, W)`: the number of the last shape that takes a pixel, -1 where none does.

    Args:
        shapes: Geometries in pixels of the window, rows downwards.
        shape: Rows and columns of the window.
        all_touched: Whether a polygon takes every pixel that it touches.
    """
    burnt: NDArray[np.int32] = burn_shapes(
        zip(shapes, range(len(shapes)), strict=True),
        out_shape=shape,
        fill=-1,
        transform=Affine.identity(),
        all_touched=all_touched,
        dtype="int32",
    )
    return burnt
