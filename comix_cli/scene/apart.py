"""A distance kept between sets of geometries, and the distance that there really is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from comix_cli.scene.assign import Stakes
from comix_cli.scene.pieces import Pieces, dimensions, same_kind

_ARC_STEPS = 8
# Outlines are simplified by so much of the distance: buffers of all their vertices take minutes.
_SIMPLER = 0.004
# Besides, the chords of a buffer's arcs lie up to 0.5 % inside the circle, and GEOS itself
# simplifies by up to 1 %: so much farther out, all stay beyond the distance asked for.
_MARGIN = 1.016 + _SIMPLER


@dataclass(frozen=True)
class Distance:
    """How far apart two sets are, in the unit of their CRS.

    Attributes:
        minimum: The shortest distance between any ground of the two.
        median: Half of the geometries of the second set are at least as far from the first.
    """

    minimum: float
    median: float


def distance(one: NDArray[Any], other: NDArray[Any]) -> Distance | None:
    """How far apart two sets of geometries are; None where one is empty."""
    if not len(one) or not len(other):
        return None
    _, found = shapely.STRtree(one).query_nearest(other, return_distance=True, all_matches=False)
    return Distance(float(found.min()), float(np.median(found)))


@dataclass(frozen=True)
class Surroundings:
    """The ground around each group that other sets may not have, and what reaches into it.

    Attributes:
        zones: All within the buffer of each group, `(groups,)`.
        group: The group of each pair of a zone and a piece of another group in it, `(p,)`.
        piece: The piece of each pair, `(p,)`, ascending.
    """

    zones: NDArray[Any]
    group: NDArray[np.int64]
    piece: NDArray[np.int64]

    @classmethod
    def of(cls, pieces: Pieces, buffer: float) -> Surroundings:
        """What lies within `buffer` of each group; nothing where that is 0."""
        nobody = np.zeros(0, np.int64)
        if buffer <= 0:
            return cls(np.zeros(0, object), nobody, nobody)
        order = np.argsort(pieces.groups, kind="stable")
        starts = np.searchsorted(pieces.groups[order], np.arange(1, pieces.group_count))
        held = np.split(pieces.truth.geometries[order], starts)
        zones = np.array([_zone(each, buffer) for each in held], object)
        group, piece = pieces.truth.tree.query(zones, predicate="intersects")
        foreign = group != pieces.groups[piece]
        group, piece = group[foreign], piece[foreign]
        order = np.argsort(piece, kind="stable")
        return cls(zones, group[order], piece[order])


def _zone(shapes: NDArray[Any], buffer: float) -> Any:
    """All ground within a distance of some geometries, and a little more."""
    # Edges between neighbours vanish in a union. Buffers of its parts one by one, then united, take
    # a hundredth of the time of one buffer where they overlap much.
    parts = shapely.get_parts(shapely.union_all(shapes))
    simple = shapely.simplify(parts, buffer * _SIMPLER)
    return shapely.union_all(shapely.buffer(simple, buffer * _MARGIN, quad_segs=_ARC_STEPS))


def keep_apart(
    pieces: Pieces, sets: NDArray[np.int64], around: Surroundings
) -> tuple[Pieces, NDArray[np.int64]]:
    """Take away the ground of each set that lies in the surroundings of one with a higher number.

    The highest set keeps all its ground. Polygons and lines are cut, points are dropped.

    Args:
        pieces: All pieces.
        sets: The set of each group, `(groups,)`.
        around: The surroundings of the groups.

    Returns:
        The pieces that are left, and the set of each.
    """
    of_piece = sets[pieces.groups]
    yields = sets[around.group] > of_piece[around.piece]
    piece, zone = around.piece[yields], around.zones[around.group[yields]]
    shapes = pieces.truth.geometries.copy()
    cut, starts = np.unique(piece, return_index=True)
    turn = np.arange(len(piece)) - np.repeat(starts, np.diff(starts, append=len(piece)))
    for number in range(int(turn.max(initial=-1)) + 1):
        now = turn == number
        shapes[piece[now]] = shapely.difference(shapes[piece[now]], zone[now])
    parts, part_of = same_kind(shapes[cut], dimensions(pieces.truth.geometries[cut]))
    free = np.setdiff1d(np.arange(len(pieces)), cut, assume_unique=True)
    kept = np.concatenate([free, cut[part_of]])
    order = np.argsort(kept, kind="stable")
    geometries = np.concatenate([shapes[free], parts])[order]
    return pieces.select(kept[order], geometries), of_piece[kept[order]]


def stakes(pieces: Pieces, weights: NDArray[np.float64], buffer: float) -> Stakes:
    """Roughly what the buffer takes between any two groups, by the boxes around them.

    Args:
        pieces: The pieces.
        weights: How much of all ground each group holds, `(groups,)`; their sum is 1.
        buffer: The distance to be kept.
    """
    if buffer <= 0:
        return Stakes.none(len(weights))
    boxes = _group_boxes(pieces)
    shapes = np.asarray(shapely.box(*boxes.T), object)
    one, other = shapely.STRtree(shapes).query(shapes, predicate="dwithin", distance=buffer)
    one, other = one[one < other], other[one < other]
    lost = weights[one] * _share_within(boxes[one], boxes[other], buffer)
    lost += weights[other] * _share_within(boxes[other], boxes[one], buffer)
    # Only the set that yields loses; which one that is going to be is not known yet.
    return Stakes.of_pairs(len(weights), one, other, lost / 2)


def _group_boxes(pieces: Pieces) -> NDArray[np.float64]:
    """Left, bottom, right, top of each group, `(groups, 4)`."""
    bounds = shapely.bounds(pieces.truth.geometries)
    boxes = np.full((pieces.group_count, 4), np.inf)
    boxes[:, 2:] = -np.inf
    np.minimum.at(boxes[:, :2], pieces.groups, bounds[:, :2])
    np.maximum.at(boxes[:, 2:], pieces.groups, bounds[:, 2:])
    return boxes


def _share_within(
    boxes: NDArray[np.float64], others: NDArray[np.float64], buffer: float
) -> NDArray[np.float64]:
    """The share of each box that lies within `buffer` of the other one's sides."""
    low = np.maximum(boxes[:, :2], others[:, :2] - buffer)
    high = np.minimum(boxes[:, 2:], others[:, 2:] + buffer)
    sides = boxes[:, 2:] - boxes[:, :2]
    parts = np.clip(high - low, 0, None) / np.where(sides > 0, sides, 1.0)
    shared: NDArray[np.float64] = np.where(sides > 0, parts, 1.0).prod(axis=1)
    return shared
