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
_MARGIN = 2.0  # pixels around the window that a cut leaves, so that cut edges lie outside
NO_FEATURE = -1


@dataclass(frozen=True)
class Burnt:
    """What a window of ground truth holds.

    Attributes:
        labels: `(H, W)` int32 codes, 0 where unlabelled or disputed.
        overlap: `(H, W)` bool, True where geometries with different codes meet.
        features: `(H, W)` int32, the feature of the file (from 0) that a pixel belongs to, -1 where
            there is none; where several of one code do, the last one of the file.
        rivals: `(H, W)` int32, where codes meet a feature with another code than that of
            `features`, elsewhere as `features`.
    """

    labels: NDArray[np.int32]
    overlap: NDArray[np.bool_]
    features: NDArray[np.int32]
    rivals: NDArray[np.int32]

    @classmethod
    def of(cls, top: Layer, bottom: Layer) -> Burnt:
        """What two layers, one burnt in the opposite order of the other, say together."""
        overlap = top.codes != bottom.codes
        labels = np.where(overlap, np.int32(NO_CLASS), top.codes)
        return cls(labels, overlap, top.features, bottom.features)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """`(H, W)`: True where there is any ground truth, disputed or not."""
        found: NDArray[np.bool_] = (self.labels != NO_CLASS) | self.overlap
        return found

    def part(self, place: tuple[slice, slice]) -> Burnt:
        """A part of the window."""
        return Burnt(
            self.labels[place], self.overlap[place], self.features[place], self.rivals[place]
        )


@dataclass(frozen=True)
class Layer:
    """Codes and features `(H, W)` int32 of the geometries that lie on top of the others."""

    codes: NDArray[np.int32]
    features: NDArray[np.int32]

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> Layer:
        """No ground truth."""
        return cls(np.full(shape, NO_CLASS, np.int32), np.full(shape, NO_FEATURE, np.int32))


@dataclass(frozen=True)
class Candidates:
    """Geometries near a window, in its pixel coordinates, with the code and feature of each."""

    shapes: NDArray[Any]
    codes: NDArray[np.int32]
    features: NDArray[np.int32]


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
    near = _candidates(truth, grid, place, codes)
    if not len(near.shapes):
        nothing = Layer.empty(place.shape)
        return Burnt.of(nothing, nothing)
    if rule.min_coverage is not None:
        # exactextract takes half a second to import, which few runs need.
        from comix_cli.scene.coverage import covered  # noqa: PLC0415

        return Burnt.of(*covered(near, place.shape, rule.min_coverage))
    return _burnt(near, place, rule.all_touched)


def _burnt(near: Candidates, place: Window, all_touched: bool) -> Burnt:
    """Ascending codes leave the highest on top of every pixel, descending ones the lowest.

    They differ exactly where different codes meet, however many there are.
    """
    order = np.lexsort((near.features, near.codes))
    top = _layer(near, order, place, all_touched)
    if near.codes.min() == near.codes.max():
        return Burnt.of(top, top)
    down = np.lexsort((near.features, -near.codes))
    return Burnt.of(top, _layer(near, down, place, all_touched))


def _layer(near: Candidates, order: NDArray[np.int64], place: Window, all_touched: bool) -> Layer:
    numbers = _burn(near.shapes[order], place, all_touched)
    codes = np.append(near.codes[order], np.int32(NO_CLASS))
    features = np.append(near.features[order], np.int32(NO_FEATURE))
    return Layer(codes[numbers], features[numbers])


def _candidates(
    truth: GroundTruth, grid: Grid, window: Window, codes: Mapping[int, int] | None
) -> Candidates:
    near = truth.tree.query(shapely.box(*_padded_bounds(grid, window)))
    values = truth.codes[near]
    if codes is not None:
        values = np.array([codes.get(int(code), NO_CLASS) for code in values], np.int32)
        near, values = near[values != NO_CLASS], values[values != NO_CLASS]
    features = truth.features[near].astype(np.int32)
    shapes = _in_pixels(truth.geometries[near], grid, window)
    filled = ~np.asarray(shapely.is_empty(shapes))
    return Candidates(shapes[filled], values[filled], features[filled])


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
    large = shapely.get_num_coordinates(projected) > _MANY_VERTICES
    if large.any():
        projected[large] = shapely.clip_by_rect(
            projected[large], -_MARGIN, -_MARGIN, window.width + _MARGIN, window.height + _MARGIN
        )
    return projected


def _burn(shapes: NDArray[Any], window: Window, all_touched: bool) -> NDArray[np.int32]:
    """`(H, W)`: the number of the last shape that takes a pixel, -1 where none does."""
    burnt: NDArray[np.int32] = burn_shapes(
        zip(shapes, range(len(shapes)), strict=True),
        out_shape=window.shape,
        fill=-1,
        transform=Affine.identity(),
        all_touched=all_touched,
        dtype="int32",
    )
    return burnt
