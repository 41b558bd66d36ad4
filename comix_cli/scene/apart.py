"""A distance kept between sets of geometries, and the distance that there really is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from comix_cli.scene.assign import Stakes
from comix_cli.scene.pieces import Pieces, dimensions, same_kind

_ARC_STEPS = 8
# The chords of a buffer's arcs lie inside the circle; so much farther out they touch it.
_CHORD = 1 / math.cos(math.pi / (4 * _ARC_STEPS))
# What rounding may take of a distance.
_SLACK = 1e-9


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
    _, found = shapely.STRtree(one).query_nearest(
        other, return_distance=True, all_matches=False
    )
    return Distance(float(found.min()), float(np.median(found)))


def keep_apart(
    pieces: Pieces, sets: NDArray[np.int64], buffer: float
) -> tuple[Pieces, NDArray[np.int64]]:
    """Take away the ground of each set that lies within `buffer` of a set with a higher number.

    The highest set keeps all its ground; each set in turn, what is left of it, then pushes the
    lower ones back. Polygons and lines are cut, points are dropped.

    Returns:
        The pieces that are left, and the set of each.
    """
    if buffer <= 0:
        return pieces, sets
    for number in range(int(sets.max(initial=0)), 0, -1):
        lower, blocking = np.flatnonzero(sets < number), np.flatnonzero(sets == number)
        geometries, part_of = _outside(
            pieces.truth.geometries[lower], pieces.truth.geometries[blocking], buffer
        )
        others = np.flatnonzero(sets >= number)
        kept = np.concatenate([lower[part_of], others])
        rest = np.concatenate([geometries, pieces.truth.geometries[others]])
        pieces, sets = pieces.select(kept, rest), sets[kept]
    return pieces, sets


def _outside(
    shapes: NDArray[Any], blocking: NDArray[Any], buffer: float
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The parts of shapes at least `buffer` from all that blocks, and what each is a part of."""
    tree = shapely.STRtree(shapes)
    blockers, near = tree.query(blocking, predicate="dwithin", distance=buffer * (1 + _SLACK))
    free = np.ones(len(shapes), np.bool_)
    free[near] = False
    cut = np.unique(near)
    cut = cut[dimensions(shapes[cut]) > 0]  # no point within the buffer has a part beyond it
    left = shapely.difference(shapes[cut], _zones(blocking, blockers, near, cut, buffer))
    parts, part_of = same_kind(left, dimensions(shapes[cut]))
    numbers = np.concatenate([np.flatnonzero(free), cut[part_of]])
    order = np.argsort(numbers, kind="stable")
    return np.concatenate([shapes[free], parts])[order], numbers[order]


def _zones(
    blocking: NDArray[Any],
    blockers: NDArray[np.int64],
    near: NDArray[np.int64],
    cut: NDArray[np.int64],
    buffer: float,
) -> NDArray[Any]:
    """For each shape that is to be cut, the ground within `buffer` of what blocks it."""
    used, number = np.unique(blockers, return_inverse=True)
    buffered = shapely.buffer(blocking[used], buffer * _CHORD, quad_segs=_ARC_STEPS)
    order = np.argsort(near, kind="stable")
    starts = np.searchsorted(near[order], cut)
    ends = np.searchsorted(near[order], cut, side="right")
    zones = np.empty(len(cut), object)
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        around = buffered[number[order[start:end]]]
        zones[i] = around[0] if len(around) == 1 else shapely.union_all(around)
    return zones


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
    shapes = shapely.box(*boxes.T)
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
