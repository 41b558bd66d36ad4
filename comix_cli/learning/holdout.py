"""Blocks of a scene whose labels do not train but judge, and a strip around them that does neither.

Neighbouring pixels are alike, so a validation pixel beside a training pixel flatters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from comix_cli.learning.samples import IGNORE_INDEX, TILE, LabelIndex, Labels, tile_columns
from comix_cli.scene.assign import Stakes, assign
from comix_cli.scene.grid import Grid
from comix_cli.scene.windows import Window

# Of the labels that are asked to judge.
SHARE = 0.15
# Fewer blocks with labels cannot be shared out.
LEAST_BLOCKS = 6
# Blocks on the shorter side of a scene, if they do not become too small or too large by that.
_BLOCKS_ACROSS = 8
_LARGEST_BLOCK = 8 * TILE


@dataclass(frozen=True)
class Holdout:
    """Which square blocks of a grid are held out.

    Attributes:
        block: Side of a block in pixels, a multiple of the tiles that labels are counted in.
        buffer: Pixels around held blocks that do not train.
        held: Row and column of each held block, `(n, 2)`.
    """

    block: int
    buffer: int
    held: NDArray[np.int64]

    def judges(self, window: Window) -> NDArray[np.bool_]:
        """`(H, W)`: True inside held blocks."""
        return self._within(window, 0)

    def trains(self, window: Window) -> NDArray[np.bool_]:
        """`(H, W)`: True further than the buffer from every held block."""
        return ~self._within(window, self.buffer)

    def _within(self, window: Window, reach: int) -> NDArray[np.bool_]:
        inside = np.zeros(window.shape, np.bool_)
        first = self.held * self.block - reach - (window.row, window.col)
        last = first + self.block + 2 * reach
        near = ((last > 0) & (first < window.shape)).all(axis=1)
        for (top, left), (bottom, right) in zip(first[near], last[near], strict=True):
            inside[max(top, 0) : bottom, max(left, 0) : right] = True
        return inside

    def without(self, blocks: NDArray[np.bool_]) -> Holdout:
        """The same but for some of the held blocks, `(n,)` True where one is let go."""
        return replace(self, held=self.held[~blocks])


@dataclass(frozen=True)
class SomeLabels:
    """Labels of one side of a holdout only; those that overlaps lost are told of elsewhere."""

    labels: Labels
    holdout: Holdout
    judging: bool

    def read(self, window: Window) -> tuple[NDArray[np.int64], int]:
        """`(H, W)` class indices with `IGNORE_INDEX` elsewhere, and no lost pixels."""
        mask = self.holdout.judges if self.judging else self.holdout.trains
        indices, _ = self.labels.read(window)
        return np.where(mask(window), indices, IGNORE_INDEX), 0


@dataclass
class LabelsApart:
    """Labels that judge, without the pixels that train as well.

    Attributes:
        judging: The labels.
        training: The labels that train.
        shared: Pixels that have been left out so far.
    """

    judging: Labels
    training: Labels
    shared: int = 0

    def read(self, window: Window) -> tuple[NDArray[np.int64], int]:
        """`(H, W)` class indices with `IGNORE_INDEX` elsewhere, and pixels lost to overlaps."""
        indices, lost = self.judging.read(window)
        both = (indices != IGNORE_INDEX) & (self.training.read(window)[0] != IGNORE_INDEX)
        self.shared += int(np.count_nonzero(both))
        return np.where(both, IGNORE_INDEX, indices), lost


@dataclass(frozen=True)
class _Blocks:
    """How many labelled pixels of each class every block holds; blocks without any are left out.

    Attributes:
        places: Row and column of each block, `(n, 2)`.
        pixels: Pixels `(n, classes)`.
    """

    places: NDArray[np.int64]
    pixels: NDArray[np.float64]

    @classmethod
    def of(cls, index: LabelIndex, grid: Grid, block: int) -> _Blocks:
        """Blocks of whole tiles."""
        rows, columns = np.divmod(index.tiles, tile_columns(grid))
        own = np.stack([rows, columns], axis=1) * TILE // block
        places, number = np.unique(own, axis=0, return_inverse=True)
        pixels = np.zeros((len(places), len(index.class_pixels)))
        np.add.at(pixels, (number.reshape(-1), index.classes), index.counts)
        return cls(places, pixels)

    @cached_property
    def neighbours(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pairs of blocks that touch, each pair once."""
        number = {(row, col): i for i, (row, col) in enumerate(self.places.tolist())}
        pairs = [
            (i, number[other])
            for (row, col), i in number.items()
            for other in ((row, col + 1), (row + 1, col - 1), (row + 1, col), (row + 1, col + 1))
            if other in number
        ]
        one, other = np.array(pairs, np.int64).reshape(-1, 2).T
        return one, other

    def stakes(self, block: int, buffer: int) -> Stakes:
        """About what a buffer takes between blocks that touch and are on different sides."""
        one, other = self.neighbours
        shares = self.pixels.sum(axis=1) / self.pixels.sum()
        lost = np.minimum(shares[one], shares[other]) * min(1.0, buffer / block)
        return Stakes.of_pairs(len(self.places), one, other, lost)


def block_side(grid: Grid, buffer: int) -> int:
    """The side of the blocks of a scene in pixels: whole tiles, and more than the buffer."""
    wanted = min(_LARGEST_BLOCK, min(grid.shape) // _BLOCKS_ACROSS)
    return max(TILE, TILE * round(wanted / TILE), TILE * -(-2 * buffer // TILE))


def hold_out(index: LabelIndex, grid: Grid, buffer: int, seed: int) -> Holdout | None:
    """Hold out blocks with about `SHARE` of the labels of each class, as far as geometry allows.

    Args:
        index: Where the labelled pixels are.
        grid: The scene's grid.
        buffer: Pixels around held blocks that shall not train.
        seed: Decides between what is equally good.

    Returns:
        The blocks; None where there are too few with labels.
    """
    block = block_side(grid, buffer)
    blocks = _Blocks.of(index, grid, block)
    if len(blocks.places) < LEAST_BLOCKS:
        return None
    sides = assign(
        blocks.pixels,
        (1 - SHARE, SHARE),
        blocks.stakes(block, buffer),
        np.random.default_rng(seed),
    )
    held = blocks.places[sides == 1]
    return Holdout(block, buffer, held) if len(held) else None


def let_go(
    holdout: Holdout, index: LabelIndex, grid: Grid, lacking: NDArray[np.int64]
) -> Holdout | None:
    """Give back the blocks that keep all labels of some classes from the training.

    Args:
        holdout: The blocks that are held.
        index: Where the labelled pixels are, held or not.
        grid: The scene's grid.
        lacking: The classes that have nothing left to train on.

    Returns:
        The rest of the blocks; None where there is none.
    """
    blocks = _Blocks.of(index, grid, holdout.block)
    with_class = blocks.places[blocks.pixels[:, lacking].any(axis=1)]
    # A buffer is narrower than a block, so that no further block than the next can be the cause.
    apart = np.abs(holdout.held[:, np.newaxis] - with_class).max(axis=2)
    kept = holdout.without((apart <= 1).any(axis=1))
    return kept if len(kept.held) else None
