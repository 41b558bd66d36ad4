"""What single features take of a window's pixels, whatever else lies on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from comix_cli.scene.grid import Grid
from comix_cli.scene.pixel_rule import PixelRule
from comix_cli.scene.rasterize import Candidates, burn_numbers, candidates
from comix_cli.scene.windows import Window, tile_windows

if TYPE_CHECKING:
    from comix_cli.scene.labels import GroundTruth

_TILE = 1024
# Pairs of feature and pixel that are held at once, about.
_AT_ONCE = 1 << 22

Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]


def overlaps(
    truth: GroundTruth,
    grid: Grid,
    window: Window,
    disputed: Flags,
    *,
    rule: PixelRule,
    codes: Mapping[int, int] | None = None,
) -> Counter[tuple[int, int]]:
    """How many of some pixels each pair of features of different codes shares.

    Args:
        truth: Geometries in the CRS of the grid.
        grid: A grid.
        window: A part of it.
        disputed: `(H, W)` which pixels of the window to look at.
        rule: Which pixels a geometry takes. Of the geometries of a class that together cover enough
            of a pixel, it is the one that covers most of it.
        codes: The code to take for each class code; geometries of other classes are left out.
    """
    found = Counter[tuple[int, int]]()
    near = candidates(truth, grid, window, codes)
    pairs = int(_Extents.of(near.shapes, window.shape).count(disputed).sum())
    step = max(1, window.height * _AT_ONCE // max(pairs, _AT_ONCE))
    for first in range(0, window.height, step):
        strip = disputed[first : first + step]
        if strip.any():
            moved = _moved(near.shapes, first, 0)
            found.update(_pairs(replace(near, shapes=moved), strip, rule))
    return found


def without_pixel(truth: GroundTruth, grid: Grid, seen: Collection[int], rule: PixelRule) -> int:
    """How many features that touch a grid take none of its pixels, not even by themselves.

    Args:
        truth: Geometries in the CRS of the grid.
        grid: The grid.
        seen: Features that are known to take one.
        rule: Which pixels a geometry takes.
    """
    touching = truth.tree.query(shapely.box(*grid.bounds), predicate="intersects")
    doubtful = touching[~np.isin(truth.features[touching], list(seen))]
    rest = replace(
        truth,
        geometries=truth.geometries[doubtful],
        codes=truth.codes[doubtful],
        features=truth.features[doubtful],
    )
    left = set(rest.features.tolist())
    for window in _windows_near(rest, grid):
        near = candidates(rest, grid, window, None)
        still = np.isin(near.features, list(left))
        left -= set(near.features[still][_takes(near.shapes[still], window.shape, rule)].tolist())
    return len(left)


def _windows_near(truth: GroundTruth, grid: Grid) -> list[Window]:
    windows = tile_windows(grid.shape, _TILE)
    boxes = shapely.box(*np.array([grid.window_bounds(window) for window in windows]).T)
    return [windows[i] for i in np.unique(truth.tree.query(boxes)[0])]


def _takes(shapes: NDArray[Any], shape: tuple[int, int], rule: PixelRule) -> Flags:
    """Which shapes take at least one pixel."""
    if rule.min_coverage is not None:
        # exactextract takes half a second to import, which few runs need.
        from comix_cli.scene.coverage import reaches  # noqa: PLC0415

        return reaches(shapes, shape, rule.min_coverage)
    extents = _Extents.of(shapes, shape)
    worth = extents.meet_window
    if not rule.all_touched:
        # Most of what is doubtful is too small to come near any pixel's centre.
        worth &= extents.hold_centres | (shapely.get_dimensions(shapes) < 2)
    for i in np.flatnonzero(worth).tolist():
        worth[i] = extents.burn(i, rule.all_touched).any()
    return worth


def _pairs(near: Candidates, disputed: Flags, rule: PixelRule) -> dict[tuple[int, int], int]:
    """The pixels that each pair of features of different codes shares, among some."""
    # It takes a while to import, and little ground truth is disputed.
    from scipy.sparse import coo_array  # noqa: PLC0415

    sources, stacks, pixels = _stacks(near, disputed, rule)
    features, rows = np.unique(near.features[sources], return_inverse=True)
    codes = np.zeros(len(features), np.int32)
    codes[rows] = near.codes[sources]
    ones = np.ones(len(rows), np.int64)
    takes = coo_array((ones, (rows.reshape(-1), stacks)), (len(features), len(pixels))).tocsr()
    takes.data[:] = 1  # parts of one feature may lie on each other
    shared = (takes * pixels @ takes.T).tocoo()
    one, other = shared.coords
    apart = (one < other) & (codes[one] != codes[other])
    pairs = features[one[apart]].tolist(), features[other[apart]].tolist()
    return dict(zip(zip(*pairs, strict=True), shared.data[apart].tolist(), strict=True))


def _stacks(
    near: Candidates, disputed: Flags, rule: PixelRule
) -> tuple[NDArray[np.int32], Ints, Ints]:
    """Which geometries lie on each other on the disputed pixels.

    Returns:
        Numbers of geometries `(m,)`; for each of them a stack that it is in `(m,)`, from 0; and how
        many pixels have each stack.
    """
    numbers = (np.cumsum(disputed, dtype=np.int32) - 1).reshape(disputed.shape)
    # The sum of random numbers of the geometries tells stacks apart, and needs no sorting of them.
    names = np.random.default_rng(0).integers(1 << 63, size=len(near.codes), dtype=np.uint64)
    sums = np.zeros(int(numbers[-1, -1]) + 1, np.uint64)
    who = [np.zeros(0, np.int32)]
    where = [np.zeros(0, np.int32)]
    for sources, pixels in _taken(near, disputed, numbers, rule):
        sums[pixels] += names[sources]
        who.append(sources)
        where.append(pixels)
    _, first, counts = np.unique(sums, return_index=True, return_counts=True)
    stack_of = np.full(len(sums), -1)
    stack_of[first] = np.arange(len(first))
    found = stack_of[np.concatenate(where)]
    return np.concatenate(who)[found >= 0], found[found >= 0], counts


def _taken(
    near: Candidates, disputed: Flags, numbers: NDArray[np.int32], rule: PixelRule
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32]]]:
    """Geometries, and the disputed pixels that they take, by the numbers of both."""
    if rule.min_coverage is not None:
        from comix_cli.scene.coverage import layers  # noqa: PLC0415 - as in `_takes`

        for taken, owners in layers(near, disputed.shape, rule.min_coverage):
            mine = taken & disputed
            yield owners[mine], numbers[mine]
    else:
        extents = _Extents.of(near.shapes, disputed.shape)
        for i in np.flatnonzero(extents.count(disputed)).tolist():
            place = extents.place(i)
            pixels = numbers[place][disputed[place] & extents.burn(i, rule.all_touched)]
            yield np.full(len(pixels), i, np.int32), pixels


@dataclass(frozen=True)
class _Extents:
    """The pixels of a window around each of some shapes.

    Attributes:
        shapes: The shapes, in pixels of the window.
        rows: First row of each, and the one after its last, `(2, n)`.
        columns: The same of columns.
        hold_centres: Whether the centre of any pixel lies in the box around it, `(n,)`.
    """

    shapes: NDArray[Any]
    rows: Ints
    columns: Ints
    hold_centres: Flags

    @classmethod
    def of(cls, shapes: NDArray[Any], shape: tuple[int, int]) -> _Extents:
        """The extents of shapes in a window of that shape."""
        left, top, right, bottom = shapely.bounds(shapes).reshape(-1, 4).T
        axes = zip(((top, bottom), (left, right)), shape, strict=True)
        (rows, tall), (columns, wide) = (_extent(*ends, size) for ends, size in axes)
        return cls(shapes, rows, columns, tall & wide)

    @property
    def meet_window(self) -> Flags:
        """Whether any pixel of the window lies around each shape, `(n,)`."""
        meet: Flags = (self.rows[0] < self.rows[1]) & (self.columns[0] < self.columns[1])
        return meet

    def place(self, i: int) -> tuple[slice, slice]:
        """The pixels around a shape."""
        return slice(*self.rows[:, i]), slice(*self.columns[:, i])

    def count(self, flags: Flags) -> Ints:
        """How many of the window's flagged pixels lie around each shape, `(n,)`."""
        sums = np.zeros((flags.shape[0] + 1, flags.shape[1] + 1), np.int64)
        flags.cumsum(axis=0).cumsum(axis=1, out=sums[1:, 1:])
        (first, stop), (left, right) = self.rows, self.columns
        counts: Ints = sums[stop, right] - sums[first, right] - sums[stop, left] + sums[first, left]
        return counts

    def burn(self, i: int, all_touched: bool) -> Flags:
        """The pixels that a shape takes, of those around it."""
        (first, stop), (left, right) = self.rows[:, i], self.columns[:, i]
        moved = _moved(self.shapes[i : i + 1], first, left)
        taken: Flags = burn_numbers(moved, (int(stop - first), int(right - left)), all_touched) >= 0
        return taken


def _moved(shapes: NDArray[Any], row: int, col: int) -> NDArray[Any]:
    """Shapes in pixels counted from another one."""
    moved: NDArray[Any] = shapely.transform(shapes, lambda points: points - (col, row))
    return moved


def _extent(least: NDArray[np.float64], most: NDArray[np.float64], size: int) -> tuple[Ints, Flags]:
    """Pixels between two places of an axis and one beside them, and whether a centre lies there."""
    ends = np.stack([np.floor(least) - 1, np.floor(most) + 2]).clip(0, size).astype(np.int64)
    first, last = np.maximum(np.ceil(least - 0.5), 0), np.minimum(np.floor(most - 0.5), size - 1)
    holds: Flags = first <= last
    return ends, holds
