"""Polygons of a class map's patches, traced strip by strip.

A patch is what hangs together over pixel edges. Patches that end inside a strip are finished with
it; the parts of others wait until the patch has left the frontier, and are united then. All of it
is done in pixel coordinates, whole numbers, so that the result does not depend on the strips.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, islice
from typing import Any

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.features import shapes

from comix_cli.scene.legend import NO_CLASS

_POLYGON = shapely.GeometryType.POLYGON
_PIECE = 10_000


@dataclass(frozen=True)
class Patches:
    """Finished patches.

    Attributes:
        codes: Class codes, `(n,)`.
        polygons: Shapely polygons, `(n,)`, with whole pixel coordinates (column, row) of the map
            and a vertex at every corner and nowhere else.
    """

    codes: NDArray[np.int64]
    polygons: NDArray[Any]


def trace_patches(strips: Iterable[tuple[int, NDArray[np.integer]]]) -> Iterator[Patches]:
    """The patches of a map, each exactly once.

    Memory holds one strip's patches, and the parts of those that reach beyond it.

    Args:
        strips: From top to bottom without gaps: the first row, and codes `(rows, W)`; 0 is nothing.
    """
    frontier = _Frontier()
    for row, codes in strips:
        parts = _trace(row, codes)
        bounds = shapely.bounds(parts.polygons).reshape(-1, 4)
        inside = (bounds[:, 1] > row) & (bounds[:, 3] < row + len(codes))
        yield Patches(parts.codes[inside], parts.polygons[inside])
        yield frontier.join(row, codes, Patches(parts.codes[~inside], parts.polygons[~inside]))
    yield frontier.close()


class _Frontier:
    """Patches that reach the last row seen, each under the number of one of its parts."""

    def __init__(self) -> None:
        self._open: dict[int, list[Any]] = {}
        self._code_of: dict[int, int] = {}
        self._codes: NDArray[np.integer] | None = None  # of the last row, (W,)
        self._numbers = np.empty(0, np.int64)  # of the patches there, (W,)
        self._next = 0
        self._seams: list[int] = []

    def join(self, row: int, codes: NDArray[np.integer], parts: Patches) -> Patches:
        """Put the next strip's parts to the patches that they belong to; finished patches."""
        self._seams.append(row)
        numbers = np.arange(self._next, self._next + len(parts.codes))
        self._next += len(numbers)
        first, last = (
            _patch_at_edge(y, codes.shape[1], parts.polygons, numbers)
            for y in (row, row + len(codes))
        )
        for number, code, part in zip(numbers, parts.codes, parts.polygons, strict=True):
            self._open[int(number)] = [part]
            self._code_of[int(number)] = int(code)
        home = self._merge(codes[0], first)
        still = np.array([home.get(n, n) for n in last.tolist()], np.int64)
        self._codes, self._numbers = codes[-1], still
        return self._finish(set(self._open) - set(still.tolist()))

    def close(self) -> Patches:
        """All that is left."""
        return self._finish(set(self._open))

    def _merge(self, codes: NDArray[np.integer], first: NDArray[np.int64]) -> dict[int, int]:
        """Merge patches that meet across the seam; where the parts of each have gone."""
        home: dict[int, int] = {}
        if self._codes is None:
            return home

        def find(number: int) -> int:
            while number in home:
                home[number] = number = home.get(home[number], home[number])
            return number

        meeting = (self._codes == codes) & (codes != NO_CLASS)
        pairs = np.unique(np.stack([self._numbers[meeting], first[meeting]]), axis=1)
        for above, below in pairs.T.tolist():
            ends = {find(above), find(below)}
            if len(ends) == 2:
                large, small = sorted(ends, key=lambda n: -len(self._open[n]))
                self._open[large] += self._open.pop(small)
                home[small] = large
        return {number: find(number) for number in home}

    def _finish(self, numbers: Iterable[int]) -> Patches:
        ordered = sorted(numbers)
        codes = np.array([self._code_of[n] for n in ordered], np.int64)
        seams = np.array(self._seams)
        united = [_unite(self._open.pop(n), seams) for n in ordered]
        self._code_of = {n: self._code_of[n] for n in self._open}
        return Patches(codes, np.array(united, object))


def _trace(row: int, codes: NDArray[np.integer]) -> Patches:
    """The patches of one strip, as if nothing was above and below."""
    with rasterio.Env():
        found = shapes(codes, mask=codes != NO_CLASS)
        # rasterio's lists of tuples take ten times the memory of polygons.
        pieces = [_packed(row, piece) for piece in iter(lambda: list(islice(found, _PIECE)), [])]
    return Patches(
        np.concatenate([np.empty(0, np.int64), *(piece.codes for piece in pieces)]),
        np.concatenate([np.empty(0, object), *(piece.polygons for piece in pieces)]),
    )


def _packed(row: int, found: Sequence[tuple[dict[str, Any], float]]) -> Patches:
    """Patches as rasterio gives them, moved down to a row."""
    outlines = [shape["coordinates"] for shape, _ in found]
    rings = list(chain.from_iterable(outlines))
    points = np.array(list(chain.from_iterable(rings)), np.float64)
    ring_starts = np.array([0, *accumulate(map(len, rings))])
    polygon_starts = np.array([0, *accumulate(map(len, outlines))])
    polygons = shapely.from_ragged_array(
        _POLYGON, points + np.array([0, row]), (ring_starts, polygon_starts)
    )
    return Patches(np.array([value for _, value in found], np.int64), polygons)


def _patch_at_edge(
    y: int, width: int, polygons: NDArray[Any], numbers: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The number of the polygon at each column of a strip's first or last row, `(W,)`; -1 none.

    There every pixel has an edge on the strip's own: the polygon's edges tell of all columns.
    """
    found = np.full(width, -1, np.int64)
    if not len(polygons):
        return found
    _, points, (ring_starts, polygon_starts) = shapely.to_ragged_array(polygons)
    polygon_of = np.repeat(np.repeat(numbers, np.diff(polygon_starts)), np.diff(ring_starts))
    along = (points[:-1, 1] == y) & (points[1:, 1] == y)
    # An edge from the end of one ring to the start of the next is none.
    along[np.asarray(ring_starts[1:-1], np.int64) - 1] = False
    starts, stops = np.sort(np.stack([points[:-1, 0], points[1:, 0]])[:, along], axis=0)
    for start, stop, number in zip(starts, stops, polygon_of[:-1][along], strict=True):
        found[int(start) : int(stop)] = number
    return found


def _unite(parts: list[Any], seams: NDArray[np.int64]) -> Any:
    """One polygon of the parts of a patch, without the vertices that seams leave."""
    if len(parts) == 1:
        return parts[0]
    rings, part_of = shapely.get_rings(parts, return_index=True)
    # Most holes meet no seam: they are the patch's own, and joining would cost the most for them.
    ends = shapely.bounds(rings)[:, 1::2]
    joined = np.isin(ends, seams).any(axis=1) | (np.diff(part_of, prepend=-1) > 0)
    pieces = _polygons(rings[joined], part_of[joined])
    union = shapely.coverage_union_all(_with_all_vertices(pieces, seams))
    whole = _corners_only(shapely.get_geometry(union, 0))
    all_rings = np.concatenate([shapely.get_rings(whole), rings[~joined]])
    return _polygons(all_rings, np.zeros(len(all_rings), np.int64))[0]


def _polygons(rings: NDArray[Any], polygon_of: NDArray[np.int64]) -> NDArray[Any]:
    """Polygons of rings, the first of each its outline and the others its holes."""
    return np.asarray(shapely.polygons(rings, indices=polygon_of), object)


def _with_all_vertices(parts: NDArray[Any], seams: NDArray[np.int64]) -> NDArray[Any]:
    """The polygons with a vertex at every pixel along seams: edges on both sides are the same."""
    _, points, (ring_starts, polygon_starts) = shapely.to_ragged_array(parts)
    steps = np.diff(points, axis=0, append=points[:1])
    on_seam = (steps[:, 1] == 0) & np.isin(points[:, 1], seams)
    pixels = np.where(on_seam, np.abs(steps[:, 0]), 1).astype(np.int64)
    pixels[np.asarray(ring_starts[1:], np.int64) - 1] = 1  # from one ring to the next
    ends = np.cumsum(pixels)
    along = np.arange(ends[-1]) - np.repeat(ends - pixels, pixels)
    dense = np.repeat(points, pixels, axis=0)
    dense[:, 0] += along * np.repeat(np.sign(steps[:, 0]), pixels)
    starts = np.concatenate([[0], ends])[np.asarray(ring_starts, np.int64)]
    polygons: NDArray[Any] = shapely.from_ragged_array(_POLYGON, dense, (starts, polygon_starts))
    return polygons


def _corners_only(polygon: Any) -> Any:
    """The polygon without vertices in the middle of a straight line."""
    _, points, (ring_starts, polygon_starts) = shapely.to_ragged_array([polygon])
    opening = np.asarray(ring_starts[:-1], np.int64)
    closing = np.asarray(ring_starts[1:], np.int64) - 1
    before, after = np.roll(points, 1, axis=0), np.roll(points, -1, axis=0)
    # The last vertex of a ring is its first again.
    before[opening] = points[closing - 1]
    into, out = points - before, after - points
    corner = into[:, 0] * out[:, 1] != into[:, 1] * out[:, 0]
    corner[closing] = False
    ends = np.cumsum(np.add.reduceat(corner, opening, dtype=np.int64))
    kept = points[corner]
    starts = np.concatenate([[0], ends + np.arange(1, len(ends) + 1)])
    closed = np.insert(kept, ends, kept[np.concatenate([[0], ends[:-1]])], axis=0)
    return shapely.from_ragged_array(_POLYGON, closed, (starts, polygon_starts))[0]
