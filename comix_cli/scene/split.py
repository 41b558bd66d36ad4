"""Ground truth cut into spatially disjoint sets: to train on, to validate with, to test with.

Neighbouring pixels are alike, so that a test on pixels beside those that were learnt from says
little about the rest of the scene. Here whole blocks or whole features go to one set, balanced over
the classes, and a buffer is kept between the sets (Roberts et al. 2017, Ecography 40:913-929).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import shapely
from numpy.typing import NDArray

from comix_cli.errors import LabelError
from comix_cli.scene.apart import keep_apart, stakes
from comix_cli.scene.assign import assign, badness
from comix_cli.scene.labels import GroundTruth
from comix_cli.scene.metric import metric_crs, reprojected
from comix_cli.scene.pieces import Pieces, Strata, cut_to_blocks, group_features

Method = Literal["blocks", "polygons"]

# So many blocks along each side of a square extent, where the buffer leaves room for them.
BLOCKS_ALONG = 10
# A default block is so many buffers wide: a third of a block between two others is then left.
BUFFERS_PER_BLOCK = 4
# Below, a block between two others would be taken wholly.
LEAST_BUFFERS_PER_BLOCK = 2
# Different assignments are tried, as many as this number of pieces allows.
_PIECES_TO_TRY = 20_000
_TRIES = (3, 12)


@dataclass(frozen=True)
class Split:
    """Ground truth in sets.

    Attributes:
        sets: What each set holds, in the order of the shares; a group is in one set only.
        lost: How much of each stratum the buffer has taken, `(s,)`.
        strata: The classes, and how much of each there was.
    """

    sets: tuple[Pieces, ...]
    lost: NDArray[np.float64]
    strata: Strata

    def held(self) -> NDArray[np.float64]:
        """How much of each stratum each set holds, `(sets, s)`."""
        return _held(self.strata, self.sets)


def split_truth(
    truth: GroundTruth,
    shares: Sequence[float],
    *,
    method: Method = "blocks",
    buffer: float = 0.0,
    block: float | None = None,
    seed: int = 0,
) -> tuple[GroundTruth, ...]:
    """Cut ground truth into disjoint sets; distances are metres, whatever its CRS.

    Args:
        truth: The ground truth; `clipped` leaves out what no raster covers.
        shares: The share of each set, above 0, the most protected last: where the buffer does not
            fit, the ground of earlier sets is taken away. Train, validation, test.
        method: Whole blocks of a grid, or whole features.
        buffer: The least distance between sets.
        block: Side of the blocks; None for `default_block`.
        seed: Fixes the grid and all choices.

    Returns:
        The ground truth of each set, in the CRS of `truth`.

    Raises:
        LabelError: There is too little ground for so many sets, or for that buffer.
        UsageError: Blocks that are far too small.
    """
    left, bottom, right, top = shapely.total_bounds(truth.geometries).tolist()
    placed = reprojected(truth, metric_crs(truth.crs, (left, bottom, right, top)))
    rng = np.random.default_rng(seed)
    pieces = pieces_of(placed, method, block or default_block(placed, buffer), rng)
    found = divide(pieces, shares, buffer, rng)
    return tuple(reprojected(each.truth, truth.crs) for each in found.sets)


def default_block(truth: GroundTruth, buffer: float) -> float:
    """A side for blocks in the unit of the CRS: a tenth of the extent, or more for the buffer."""
    return max(extent_side(truth) / BLOCKS_ALONG, BUFFERS_PER_BLOCK * buffer)


def extent_side(truth: GroundTruth) -> float:
    """Side of a square with the area of the box around the ground truth, above 0."""
    left, bottom, right, top = shapely.total_bounds(truth.geometries).tolist()
    width, height = right - left, top - bottom
    longer = max(width, height)
    # Points along a line enclose no area, and one point not even a length.
    side = float(np.sqrt(longer * max(min(width, height), longer / 100)))
    return side or 1.0


def pieces_of(
    truth: GroundTruth, method: Method, block: float, rng: np.random.Generator
) -> Pieces:
    """What is going to be shared out: blocks of a grid that begins anywhere, or features.

    Args:
        truth: In a CRS whose unit is the metre.
        method: Whole blocks or whole features.
        block: Side of the blocks.
        rng: Places the grid.

    Raises:
        UsageError: Blocks that are far too small.
    """
    if method == "polygons":
        return group_features(truth)
    left, bottom, _, _ = shapely.total_bounds(truth.geometries).tolist()
    east, north = rng.uniform(0, block, 2).tolist()
    return cut_to_blocks(truth, block, (left - east, bottom - north))


def divide(
    pieces: Pieces, shares: Sequence[float], buffer: float, rng: np.random.Generator
) -> Split:
    """Share groups out to sets with a buffer between them: the best of several ways.

    Raises:
        LabelError: There are fewer groups than sets, or the buffer leaves nothing of a set.
    """
    strata = Strata.of(pieces.truth)

    def apart(sets: NDArray[np.int64]) -> tuple[Pieces, ...]:
        kept, kept_sets = keep_apart(pieces, sets[pieces.groups], buffer)
        return tuple(kept.select(kept_sets == number) for number in range(len(shares)))

    def rank(sets: Sequence[Pieces]) -> tuple[int, float]:
        return badness(_held(strata, sets), strata.totals, shares)

    ways = _assignments(pieces, strata, shares, buffer, rng)
    best = min((apart(sets) for sets in ways), key=rank)
    if not all(len(each) for each in best):
        raise LabelError(
            f"a buffer of {buffer:.4g} m leaves nothing of a set",
            path=pieces.truth.path,
            remedy="give a smaller --buffer, other blocks (--block) or fewer sets",
        )
    return Split(best, strata.totals - _held(strata, best).sum(axis=0), strata)


def divide_folds(
    pieces: Pieces, folds: int, buffer: float, rng: np.random.Generator
) -> tuple[Split, ...]:
    """Share groups out to folds; each in turn is the test, and the rest, less a buffer, trains.

    Returns:
        For each fold what is left to train on, and the test.

    Raises:
        LabelError: There are fewer groups than folds, or the buffer leaves nothing to train on.
    """
    strata = Strata.of(pieces.truth)
    shares = (1 / folds,) * folds

    def rank(sets: NDArray[np.int64]) -> tuple[int, float]:
        held = strata.amounts(pieces.truth, sets[pieces.groups], folds)
        return badness(held, strata.totals, shares)

    best = min(_assignments(pieces, strata, shares, buffer, rng), key=rank)
    return tuple(_fold(pieces, best == number, buffer, strata) for number in range(folds))


def _fold(pieces: Pieces, is_test: NDArray[np.bool_], buffer: float, strata: Strata) -> Split:
    kept, sets = keep_apart(pieces, is_test[pieces.groups].astype(np.int64), buffer)
    found = kept.select(sets == 0), kept.select(sets == 1)
    if not len(found[0]):
        raise LabelError(
            f"a buffer of {buffer:.4g} m leaves nothing to train on in a fold",
            path=pieces.truth.path,
            remedy="give a smaller --buffer, or fewer folds",
        )
    return Split(found, strata.totals - _held(strata, found).sum(axis=0), strata)


def _assignments(
    pieces: Pieces,
    strata: Strata,
    shares: Sequence[float],
    buffer: float,
    rng: np.random.Generator,
) -> Iterator[NDArray[np.int64]]:
    """Different good ways to share the groups out, each as the set of every group.

    Raises:
        LabelError: There are fewer groups than sets.
    """
    if pieces.group_count < len(shares):
        raise LabelError(
            f"the ground truth makes {pieces.group_count} groups that cannot be divided, and "
            f"{len(shares)} sets are wanted",
            path=pieces.truth.path,
            remedy="choose smaller blocks, or blocks where features touch each other",
        )
    weights = strata.amounts(pieces.truth, pieces.groups, pieces.group_count)
    by_group = (weights / np.where(strata.totals > 0, strata.totals, 1.0)).mean(axis=1)
    near = stakes(pieces, by_group, buffer)
    tries = int(np.clip(_PIECES_TO_TRY // len(pieces), *_TRIES))
    for _ in range(tries):
        yield assign(weights, shares, near, rng)


def _held(strata: Strata, sets: Sequence[Pieces]) -> NDArray[np.float64]:
    rows = [strata.amounts(s.truth, np.zeros(len(s), np.int64), 1)[0] for s in sets]
    return np.array(rows)
