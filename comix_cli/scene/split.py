"""Ground truth cut into spatially disjoint sets: to train on, to validate with, to test with.

Neighbouring pixels are alike, so that a test on pixels beside those that were learnt from says
little about the rest of the scene. Here whole blocks or whole features go to one set, balanced over
the classes, and a buffer is kept between the sets (Roberts et al. 2017, Ecography 40:913-929).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Literal

import numpy as np
import shapely
from numpy.typing import NDArray

from comix_cli.errors import LabelError, counted, metres
from comix_cli.scene.apart import Surroundings, keep_apart, stakes
from comix_cli.scene.assign import assign, badness
from comix_cli.scene.labels import GroundTruth
from comix_cli.scene.metric import metric_crs, reprojected
from comix_cli.scene.pieces import Pieces, Strata, cut_to_blocks, group_features
from comix_cli.scene.variogram import Variogram

Method = Literal["blocks", "polygons"]

# So many blocks along each side of a square extent, where the buffer leaves room for them.
BLOCKS_ALONG = 10
# A default block is so many buffers wide: a third of a block between two others is then left.
BUFFERS_PER_BLOCK = 4
# A default buffer beyond this share of the extent would leave too few blocks.
MOST_BUFFER = 1 / 20
# Below, a block between two others would be taken wholly.
LEAST_BUFFERS_PER_BLOCK = 2
# Different assignments are tried, as many as this number of vertices allows.
_VERTICES_TO_TRY = 2_000_000
_TRIES = (3, 24)
# Sets that hang together lose less to the buffer, scattered ones are balanced better. The tries
# weigh lost ground and lacking classes in these ways by turns; what is left in the end decides.
_WEIGHTS = ((0.5, 1.0), (0.5, 0.0), (0.25, 1.0), (1.0, 0.0))


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
    if method == "polygons":
        block = None
    elif block is None:
        block = default_block(placed, buffer)
    pieces = pieces_of(placed, block, rng)
    found = divide(pieces, shares, buffer, rng)
    return tuple(reprojected(each.truth, truth.crs) for each in found.sets)


def default_block(truth: GroundTruth, buffer: float) -> float:
    """A side for blocks in the unit of the CRS: a tenth of the extent, or more for the buffer."""
    return tidy(max(extent_side(truth) / BLOCKS_ALONG, BUFFERS_PER_BLOCK * buffer))


def default_buffer(
    truth: GroundTruth, variograms: Iterable[Variogram], block: float | None = None
) -> tuple[float, str]:
    """The longest autocorrelation range that is known, but not more than fits, and why that.

    Args:
        truth: In a CRS whose unit is the metre.
        variograms: What is known of the autocorrelation.
        block: Side of the blocks, where that is fixed.
    """
    known = [found.range or found.longer_than for found in variograms]
    longest = max((length for length in known if length is not None), default=None)
    if longest is None:
        return 0.0, "none: the autocorrelation range is not known"
    most = extent_side(truth) * MOST_BUFFER
    if block is not None:
        most = min(most, block / BUFFERS_PER_BLOCK)
    if longest <= most:
        return tidy(longest), "the autocorrelation range"
    return tidy(most, up=False), f"what fits; the autocorrelation reaches {metres(longest)}"


def tidy(length: float, *, up: bool = True) -> float:
    """A length above 0, rounded to two digits, up or down: the next one that is easily said."""
    step = 10.0 ** (math.floor(math.log10(length)) - 1)
    steps = math.ceil(length / step - 1e-9) if up else math.floor(length / step + 1e-9)
    return float(f"{steps * step:.2g}")


def extent_side(truth: GroundTruth) -> float:
    """Side of a square with the area of the box around the ground truth, above 0."""
    left, bottom, right, top = shapely.total_bounds(truth.geometries).tolist()
    width, height = right - left, top - bottom
    longer = max(width, height)
    # Points along a line enclose no area, and one point not even a length.
    side = float(np.sqrt(longer * max(min(width, height), longer / 100)))
    return side or 1.0


def pieces_of(truth: GroundTruth, block: float | None, rng: np.random.Generator) -> Pieces:
    """What is going to be shared out: blocks of a grid that begins anywhere, or features.

    Args:
        truth: In a CRS whose unit is the metre.
        block: Side of the blocks; None for whole features.
        rng: Places the grid.

    Raises:
        UsageError: Blocks that are far too small.
    """
    if block is None:
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
    around = Surroundings.of(pieces, buffer)

    def apart(sets: NDArray[np.int64]) -> tuple[Pieces, ...]:
        kept, kept_sets = keep_apart(pieces, sets, around)
        return tuple(kept.select(kept_sets == number) for number in range(len(shares)))

    def rank(sets: Sequence[Pieces]) -> tuple[int, float]:
        return badness(_held(strata, sets), strata.totals, shares)

    ways = _assignments(pieces, strata, shares, buffer, rng)
    best = min((apart(sets) for sets in ways), key=rank)
    return _as_split(best, strata, buffer)


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
    around = Surroundings.of(pieces, buffer)

    def fold(number: int) -> Split:
        kept, sets = keep_apart(pieces, (best == number).astype(np.int64), around)
        return _as_split(tuple(kept.select(sets == i) for i in (0, 1)), strata, buffer)

    return tuple(fold(number) for number in range(folds))


def _as_split(sets: tuple[Pieces, ...], strata: Strata, buffer: float) -> Split:
    if not all(len(each) for each in sets):
        raise LabelError(
            f"a buffer of {metres(buffer)} leaves nothing of a set",
            path=sets[0].truth.path,
            remedy="give a smaller --buffer, other blocks (--block) or fewer sets",
        )
    return Split(sets, strata.totals - _held(strata, sets).sum(axis=0), strata)


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
            f"the ground truth makes {counted(pieces.group_count, 'group')} that cannot be "
            f"divided, and {len(shares)} sets are wanted",
            path=pieces.truth.path,
            remedy="choose smaller blocks, or --method blocks where features touch each other",
        )
    weights = strata.amounts(pieces.truth, pieces.groups, pieces.group_count)
    by_group = (weights / np.where(strata.totals > 0, strata.totals, 1.0)).mean(axis=1)
    near = stakes(pieces, by_group, buffer)
    vertices = int(shapely.get_num_coordinates(pieces.truth.geometries).sum())
    tries = int(np.clip(_VERTICES_TO_TRY // vertices, *_TRIES))
    for stake, lack in islice(cycle(_WEIGHTS), tries):
        yield assign(weights, shares, near, rng, stake_weight=stake, lack_weight=lack)


def _held(strata: Strata, sets: Sequence[Pieces]) -> NDArray[np.float64]:
    rows = [strata.amounts(s.truth, np.zeros(len(s), np.int64), 1)[0] for s in sets]
    return np.array(rows)
