"""Training with fewer labels than there are: how many of each class, and which.

Every pixel of a scene has a random number of its own. Those with the smallest numbers train, so
the pixels of a small budget are among those of a larger one, and no list of them has to be kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from comix_cli.learning.samples import IGNORE_INDEX, LabelIndex, Labels, UsableLabels
from comix_cli.scene.windows import Window

Whole = NDArray[np.int64]
Numbers = NDArray[np.float64]

# Of SplitMix64, as are those of `_mix` (Steele et al. 2014, doi:10.1145/2660193.2660195).
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class LabelBudget:
    """How many of the training pixels of a class are used.

    Attributes:
        fraction: Share of them, above 0 and at most 1; one pixel always stays.
        per_class: At most so many; None for no such limit.
    """

    fraction: float = 1.0
    per_class: int | None = None

    @property
    def is_everything(self) -> bool:
        """Whether no label is left out."""
        return self.fraction == 1 and self.per_class is None

    def of(self, pixels: Whole) -> Whole:
        """How many of so many pixels are used, class by class, `(classes,)`."""
        share = np.maximum(np.rint(self.fraction * pixels), 1).astype(np.int64)
        most = pixels if self.per_class is None else np.minimum(pixels, self.per_class)
        used: Whole = np.minimum(share, most)
        return used


@dataclass(frozen=True)
class FewLabels:
    """Labels of the pixels whose numbers are small.

    Attributes:
        labels: All labels.
        limits: The largest number that a pixel of each class may have, `(classes,)`.
        seed: Fixes the numbers.
    """

    labels: Labels
    limits: Numbers
    seed: int

    def read(self, window: Window) -> tuple[Whole, int]:
        """`(H, W)` class indices with `IGNORE_INDEX` elsewhere, and pixels lost to overlaps."""
        indices, lost = self.labels.read(window)
        limits = np.append(self.limits, -1.0)  # the last one is that of `IGNORE_INDEX`
        few = pixel_numbers(window, self.seed) <= limits[indices]
        return np.where(few, indices, IGNORE_INDEX), lost


def pixel_numbers(window: Window, seed: int) -> Numbers:
    """A random number in [0, 1) for each pixel, `(H, W)`, whatever window it is read with."""
    rows, columns = (
        np.arange(first, first + count, dtype=np.uint64)
        for first, count in zip((window.row, window.col), window.shape, strict=True)
    )
    seeded = _mix(np.array([seed % 2**64], np.uint64))
    bits = _mix(_mix(seeded ^ rows)[:, np.newaxis] ^ columns)
    numbers: Numbers = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return numbers


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Bits that look random, no two of them equal unless those given are."""
    bits = bits + _GOLDEN
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def draw_labels(
    labels: Labels,
    chunks: Iterable[UsableLabels],
    index: LabelIndex,
    budget: LabelBudget,
    seed: int,
) -> FewLabels:
    """Keep as many labels of each class as a budget has.

    Memory grows with the square root of the number of labelled pixels only: a pixel whose number is
    far from where the limit must be is counted and forgotten.

    Args:
        labels: The labels that train.
        chunks: The usable ones, from `usable_labels`.
        index: How many of them there are.
        budget: How many are used.
        seed: Fixes which.
    """
    wanted = budget.of(index.class_pixels)
    low, high = _around_the_limit(wanted, index.class_pixels)
    below = np.zeros(len(wanted), np.int64)
    near: list[tuple[Whole, Numbers]] = [(np.zeros(0, np.int64), np.zeros(0))]
    for chunk in chunks:
        labelled = chunk.indices != IGNORE_INDEX
        classes = chunk.indices[labelled]
        numbers = pixel_numbers(chunk.window, seed)[labelled]
        below += np.bincount(classes[numbers < low[classes]], minlength=len(wanted))
        kept = (numbers >= low[classes]) & (numbers <= high[classes])
        near.append((classes[kept], numbers[kept]))
    return FewLabels(labels, _limits(wanted - below, near), seed)


def _around_the_limit(wanted: Whole, pixels: Whole) -> tuple[Numbers, Numbers]:
    """Two numbers between which the limit of each class lies, but once in 10^13 times.

    How many of n pixels have a number below p is binomial; Bernstein's inequality bounds its tails.
    """
    many = np.maximum(pixels, 1)
    share = wanted / many
    reach = (8 * np.sqrt(many * share * (1 - share)) + 40) / many
    return share - reach, share + reach


def _limits(ranks: Whole, near: list[tuple[Whole, Numbers]]) -> Numbers:
    """The number at a rank, from 1, among those of each class; -1 for a rank of 0."""
    classes, numbers = (np.concatenate(each) for each in zip(*near, strict=True))
    return np.array(
        [
            np.partition(numbers[classes == i], rank - 1)[rank - 1] if rank else -1.0
            for i, rank in enumerate(ranks.tolist())
        ]
    )
