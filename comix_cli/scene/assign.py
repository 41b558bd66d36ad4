"""Which group of ground truth goes to which set: numbers in, numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# A class with so small a share in a set is missing there; rounding leaves less.
_NOTHING = 1e-9
# After the first pass, in which every group finds a set, groups may move that often.
SWEEPS = 8


@dataclass(frozen=True)
class Stakes:
    """What a buffer would take between groups that lie near each other, as a sparse matrix.

    Attributes:
        starts: Where the neighbours of each group begin, `(g + 1,)`.
        neighbours: The neighbours of all groups, one after the other.
        shares: The share of all ground that is lost if the two are in different sets.
    """

    starts: NDArray[np.int64]
    neighbours: NDArray[np.int64]
    shares: NDArray[np.float64]

    @classmethod
    def none(cls, groups: int) -> Stakes:
        """No group lies near another."""
        return cls(np.zeros(groups + 1, np.int64), np.zeros(0, np.int64), np.zeros(0))

    @classmethod
    def of_pairs(
        cls,
        groups: int,
        one: NDArray[np.int64],
        other: NDArray[np.int64],
        lost: NDArray[np.float64],
    ) -> Stakes:
        """From pairs of groups, in any order, and what each pair is to lose."""
        rows, columns = np.concatenate([one, other]), np.concatenate([other, one])
        order = np.argsort(rows, kind="stable")
        starts = np.searchsorted(rows[order], np.arange(groups + 1))
        return cls(starts, columns[order], np.concatenate([lost, lost])[order])

    def near(self, group: int, sets: NDArray[np.int64], count: int) -> NDArray[np.float64]:
        """What is saved if the group joins each set, `(count,)`."""
        part = slice(self.starts[group], self.starts[group + 1])
        theirs = sets[self.neighbours[part]]
        placed = theirs >= 0
        saved: NDArray[np.float64] = np.bincount(
            theirs[placed], self.shares[part][placed].astype(np.float64), count
        ).astype(np.float64)
        return saved


def assign(
    weights: NDArray[np.float64],
    shares: Sequence[float],
    stakes: Stakes,
    rng: np.random.Generator,
    *,
    stake_weight: float = 0.5,
    lack_weight: float = 1.0,
) -> NDArray[np.int64]:
    """Give every group to a set so that each set gets its share of every class.

    The group that holds the largest part of any class comes first: it has the least choice. Then
    groups move to another set as long as that helps. What is minimised is the sum, over classes
    and sets, of (reached - asked)^2 / asked, plus `stake_weight` times what the buffer takes of
    each class, plus `lack_weight` for every class that a set has nothing of.

    Args:
        weights: How much of each class a group holds, `(groups, classes)`, not negative.
        shares: The share of each set, above 0; their sum is 1.
        stakes: What is lost between neighbours in different sets.
        rng: Decides between what is equally good, and on the order of the moves.
        stake_weight: How much lost ground counts beside a set's distance from its share.
        lack_weight: How much a class counts that a set has nothing of.

    Returns:
        The set of each group, `(groups,)`.
    """
    totals = weights.sum(axis=0)
    parts = weights / np.where(totals > 0, totals, 1.0)
    targets = np.array(shares)[:, np.newaxis]
    held = np.zeros((len(shares), parts.shape[1]))
    sets = np.full(len(parts), -1, np.int64)
    jitter = rng.uniform(0.9, 1.1, len(parts))
    order = np.argsort(-parts.max(axis=1, initial=0.0) * jitter, kind="stable")
    for _ in range(SWEEPS + 1):
        moved = False
        for group in order:
            before = int(sets[group])
            if before >= 0:
                held[before] -= parts[group]
            # (held + part - target)^2 - (held - target)^2
            change = (parts[group] * (2 * (held - targets) + parts[group]) / targets).sum(axis=1)
            change -= lack_weight * ((held < _NOTHING) & (parts[group] > 0)).sum(axis=1)
            saved = stakes.near(int(group), sets, len(shares))
            best = int(np.argmin(change - stake_weight * parts.shape[1] * saved))
            held[best] += parts[group]
            sets[group] = best
            moved |= best != before
        if not moved:
            break
        order = rng.permutation(len(parts))
    return sets


def badness(
    held: NDArray[np.float64], totals: NDArray[np.float64], shares: Sequence[float]
) -> tuple[int, float]:
    """How far sets are from their shares: classes that a set lacks, then the squared deviation.

    Args:
        held: How much of each class each set has, `(sets, classes)`.
        totals: How much there is of each class, `(classes,)`.
        shares: The share asked for each set.
    """
    targets = np.array(shares)[:, np.newaxis]
    parts = held / np.where(totals > 0, totals, 1.0)
    lacking = int(((held <= 0) & (totals > 0)).sum())
    return lacking, float(((parts - targets) ** 2 / targets).sum())
