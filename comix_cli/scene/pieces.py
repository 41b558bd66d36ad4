"""Ground truth cut into pieces, and the groups of pieces that stay together in a split.

Polygons weigh by their area, lines by their length, points by their number. Nothing here knows
files: geometries in, geometries out, in a CRS whose unit is the metre.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from comix_cli.errors import UsageError
from comix_cli.scene.labels import GroundTruth

# A mistyped block size would take hours and all memory.
MOST_PIECES = 2_000_000


@dataclass(frozen=True)
class Pieces:
    """Ground truth in pieces.

    Attributes:
        truth: One geometry for each piece.
        groups: Which group each piece belongs to, `(n,)` int64 from 0; a group is never split.
    """

    truth: GroundTruth
    groups: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.groups)

    @property
    def group_count(self) -> int:
        """How many groups there are."""
        return int(self.groups.max(initial=-1)) + 1

    def select(self, kept: NDArray[Any], geometries: NDArray[Any] | None = None) -> Pieces:
        """Some of the pieces, by number or by mask; their geometries may be others."""
        return Pieces(selected(self.truth, kept, geometries), self.groups[kept])


def selected(
    truth: GroundTruth, kept: NDArray[Any], geometries: NDArray[Any] | None = None
) -> GroundTruth:
    """Some of the geometries, by number or by mask, or what has become of these."""
    return replace(
        truth,
        geometries=truth.geometries[kept] if geometries is None else geometries,
        codes=truth.codes[kept],
        features=truth.features[kept],
    )


def dimensions(geometries: NDArray[Any]) -> NDArray[np.int64]:
    """0 for points, 1 for lines, 2 for polygons, `(n,)`."""
    return np.asarray(shapely.get_dimensions(geometries), np.int64)


def measures(geometries: NDArray[Any]) -> NDArray[np.float64]:
    """Area of polygons, length of lines, 1 for points, `(n,)`."""
    kinds = dimensions(geometries)
    return np.select(
        [kinds == 2, kinds == 1], [shapely.area(geometries), shapely.length(geometries)], 1.0
    )


def clipped(truth: GroundTruth, area: Any) -> GroundTruth:
    """The part of the ground truth that lies in a polygon."""
    shapely.prepare(area)
    inside = np.asarray(shapely.covers(area, truth.geometries))
    crossing = np.flatnonzero(~inside & shapely.intersects(area, truth.geometries))
    cut = shapely.intersection(truth.geometries[crossing], area)
    parts, part_of = same_kind(cut, dimensions(truth.geometries[crossing]))
    numbers = np.concatenate([np.flatnonzero(inside), crossing[part_of]])
    order = np.argsort(numbers, kind="stable")
    geometries = np.concatenate([truth.geometries[inside], parts])
    return selected(truth, numbers[order], geometries[order])


def same_kind(
    shapes: NDArray[Any], kinds: NDArray[np.int64]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Single parts of what a cut has left, and which shape each is a part of.

    Args:
        shapes: Results of cuts, `(n,)`.
        kinds: Dimensions of what was cut; the lines and points in which a polygon touches the
            cut are dropped.
    """
    parts, part_of = shapely.get_parts(shapes, return_index=True)
    while (np.asarray(shapely.get_type_id(parts)) >= shapely.GeometryType.MULTIPOINT).any():
        parts, index = shapely.get_parts(parts, return_index=True)
        part_of = part_of[index]
    kept = (dimensions(parts) == kinds[part_of]) & ~np.asarray(shapely.is_empty(parts))
    return parts[kept], part_of[kept]


def cut_to_blocks(truth: GroundTruth, block: float, origin: tuple[float, float]) -> Pieces:
    """Cut geometries at the edges of a regular grid of squares; each square is a group.

    Args:
        truth: What to cut.
        block: Side of the squares.
        origin: A corner of one of them.

    Raises:
        UsageError: So small blocks would make far too many pieces.
    """
    _check_number(truth, block)
    columns = _cut_along(truth.geometries, 0, block, origin[0])
    rows = _cut_along(columns.geometries, 1, block, origin[1])
    numbers = columns.numbers[rows.numbers]
    cells = np.stack([columns.cells[rows.numbers], rows.cells], axis=1)
    groups = np.unique(cells, axis=0, return_inverse=True)[1].reshape(-1)
    return Pieces(selected(truth, numbers, rows.geometries), groups.astype(np.int64))


@dataclass(frozen=True)
class _Strips:
    """Geometries cut along one axis: which one each comes from, and which strip it lies in."""

    geometries: NDArray[Any]
    numbers: NDArray[np.int64]
    cells: NDArray[np.int64]


def _cut_along(shapes: NDArray[Any], axis: int, block: float, origin: float) -> _Strips:
    """Cut into strips across an axis (0 for x); first columns, then rows is faster than boxes."""
    bounds = shapely.bounds(shapes)
    first = np.floor((bounds[:, axis] - origin) / block).astype(np.int64)
    # A geometry that ends on an edge does not reach into the next strip.
    end = np.ceil((bounds[:, axis + 2] - origin) / block).astype(np.int64)
    strips = np.maximum(end - first, 1)
    numbers = np.repeat(np.arange(len(shapes)), strips)
    cells = first[numbers] + np.arange(len(numbers)) - np.repeat(np.cumsum(strips) - strips, strips)
    whole = strips[numbers] == 1
    crossing = np.flatnonzero(~whole)
    # Wider than the geometry: around a line along the axis the box would have no area.
    edges = bounds[numbers[crossing]] + np.array([-block, -block, block, block])
    edges[:, axis] = origin + cells[crossing] * block
    edges[:, axis + 2] = edges[:, axis] + block
    cut = shapely.intersection(shapes[numbers[crossing]], shapely.box(*edges.T))
    parts, part_of = same_kind(cut, dimensions(shapes[numbers[crossing]]))
    chosen = np.concatenate([np.flatnonzero(whole), crossing[part_of]])
    order = np.argsort(chosen, kind="stable")
    geometries = np.concatenate([shapes[numbers[whole]], parts])
    return _Strips(geometries[order], numbers[chosen[order]], cells[chosen[order]])


def _check_number(truth: GroundTruth, block: float) -> None:
    left, bottom, right, top = shapely.bounds(truth.geometries).T
    pieces = np.sum((np.ceil((right - left) / block) + 1) * (np.ceil((top - bottom) / block) + 1))
    if pieces > MOST_PIECES + 4 * len(left):
        raise UsageError(
            f"blocks of {block:g} m would cut the ground truth into up to {pieces:.0f} pieces",
            remedy="choose larger blocks",
        )


def group_features(truth: GroundTruth) -> Pieces:
    """Each feature with all features that it touches, directly or through others, is a group."""
    features = np.unique(truth.features, return_inverse=True)[1].reshape(-1)
    one, other = truth.tree.query(truth.geometries, predicate="intersects")
    size = int(features.max(initial=-1)) + 1
    touching = coo_array(
        (np.ones(len(one), np.bool_), (features[one], features[other])), (size,) * 2
    )
    group_of = connected_components(touching, directed=False)[1]
    return Pieces(truth, group_of[features].astype(np.int64))


@dataclass(frozen=True)
class Strata:
    """What a split balances: the ground of each class, kinds of geometry apart.

    Attributes:
        codes: Class code of each stratum, `(s,)`.
        kinds: Its dimension: 0 points, 1 lines, 2 polygons, `(s,)`.
        totals: Points, metres or square metres of it, `(s,)`.
    """

    codes: NDArray[np.int32]
    kinds: NDArray[np.int64]
    totals: NDArray[np.float64]

    @classmethod
    def of(cls, truth: GroundTruth) -> Strata:
        """The strata that occur."""
        kinds = dimensions(truth.geometries)
        pairs = np.unique(np.stack([truth.codes, kinds], axis=1), axis=0)
        found = cls(pairs[:, 0].astype(np.int32), pairs[:, 1], np.ones(len(pairs)))
        everything = np.zeros(len(kinds), np.int64)
        return replace(found, totals=found.amounts(truth, everything, 1)[0])

    def __len__(self) -> int:
        return len(self.codes)

    def amounts(
        self, truth: GroundTruth, owners: NDArray[np.int64], count: int
    ) -> NDArray[np.float64]:
        """How much of each stratum each of `count` owners has, `(count, s)`.

        Args:
            truth: Geometries of these strata.
            owners: Who owns each, `(n,)`; nobody where below 0.
            count: How many owners there are.
        """
        found = np.zeros((count, len(self)))
        held = owners >= 0
        stratum = self._of_each(truth.codes[held], dimensions(truth.geometries[held]))
        np.add.at(found, (owners[held], stratum), measures(truth.geometries[held]))
        return found

    def _of_each(self, codes: NDArray[np.int32], kinds: NDArray[np.int64]) -> NDArray[np.int64]:
        keys = self.codes.astype(np.int64) * 3 + self.kinds  # ascending, as pairs are
        return np.searchsorted(keys, codes.astype(np.int64) * 3 + kinds)


def merged(parts: Sequence[GroundTruth]) -> GroundTruth:
    """The geometries of several pieces of one ground truth, one after the other."""
    return replace(
        parts[0],
        geometries=np.concatenate([part.geometries for part in parts]),
        codes=np.concatenate([part.codes for part in parts]),
        features=np.concatenate([part.features for part in parts]),
    )
