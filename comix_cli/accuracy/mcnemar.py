"""Two maps on the same pixels: McNemar's test, and an interval of the difference by clusters.

McNemar's test (McNemar 1947, Psychometrika 12) looks only at the pixels where one of the maps is
right and the other is wrong, and takes each of them as drawn by itself. Pixels of one polygon are
not, so that its p values are too small; the bootstrap over clusters beside it has no such premise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from comix_cli.accuracy.bootstrap import LEVEL, Spread

# With fewer pixels on which only one map is right, the exact distribution is used.
EXACT_BELOW = 25
EXACT = "exact binomial"
CHI_SQUARE = "chi-square with continuity correction"


@dataclass(frozen=True)
class PairedCounts:
    """Pixels by which of two maps is right there, for each cluster, all `(k,)` int64."""

    both: NDArray[np.int64]
    only_first: NDArray[np.int64]
    only_second: NDArray[np.int64]
    neither: NDArray[np.int64]

    @property
    def by_cluster(self) -> NDArray[np.int64]:
        """Pixels of each cluster, `(k,)`."""
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def pixels(self) -> int:
        """Pixels of all clusters."""
        return int(self.by_cluster.sum())

    @property
    def clusters(self) -> int:
        """Clusters that hold pixels."""
        return int((self.by_cluster > 0).sum())

    @property
    def difference(self) -> float | None:
        """Overall accuracy of the first map less that of the second; None without a pixel."""
        wins = int(self.only_first.sum()) - int(self.only_second.sum())
        return wins / self.pixels if self.pixels else None


@dataclass(frozen=True)
class McNemar:
    """McNemar's test.

    Attributes:
        method: `EXACT` or `CHI_SQUARE`.
        statistic: Chi-square with one degree of freedom; None where the test is exact.
        p_value: How likely a difference at least as large is among equally good maps, two-sided.
    """

    method: str
    statistic: float | None
    p_value: float


def mcnemar(only_first: int, only_second: int) -> McNemar:
    """Test whether two maps are right equally often.

    Of at least `EXACT_BELOW` pixels on which only one map is right, by Edwards' (1948) chi-square
    `(|b - c| - 1)^2 / (b + c)`, 0 where b = c; of fewer, by the binomial distribution itself.

    Args:
        only_first: Pixels on which the first map alone is right (b).
        only_second: Pixels on which the second map alone is right (c).

    Raises:
        ValueError: A count is negative.
    """
    if only_first < 0 or only_second < 0:
        raise ValueError(f"counts cannot be negative: {only_first}, {only_second}")
    total = only_first + only_second
    if total < EXACT_BELOW:
        return McNemar(EXACT, None, _binomial(min(only_first, only_second), total))
    statistic = float(max(abs(only_first - only_second) - 1, 0) ** 2 / total)
    # The upper tail of chi-square with one degree of freedom is that of a squared normal deviate.
    return McNemar(CHI_SQUARE, statistic, math.erfc(math.sqrt(statistic / 2)))


def _binomial(fewer: int, total: int) -> float:
    """Two-sided p value of at most `fewer` heads among `total` throws of a fair coin."""
    tail = sum(math.comb(total, k) for k in range(fewer + 1))
    return float(min(1.0, 2 * tail / 2**total))


def difference_spread(counts: PairedCounts, *, replicates: int, seed: int) -> Spread | None:
    """How far the difference of overall accuracies, first less second, may be off.

    Whole clusters are drawn, as many as there are, with replacement, the same for both maps
    (Efron and Tibshirani 1993).

    Args:
        counts: Pixels by cluster.
        replicates: How often clusters are drawn.
        seed: Fixes what is drawn.

    Returns:
        Interval and standard error, -1..1; None where fewer than two clusters hold pixels.
    """
    clusters = counts.clusters
    if clusters < 2:
        return None
    sums = np.stack([counts.only_first - counts.only_second, counts.by_cluster])
    sums = sums[:, counts.by_cluster > 0]
    rng = np.random.default_rng(seed)
    drawn = np.empty((replicates, 2), np.int64)
    for each in drawn:
        times = np.bincount(rng.integers(clusters, size=clusters), minlength=clusters)
        each[:] = sums @ times
    differences = drawn[:, 0] / drawn[:, 1]
    low, high = np.quantile(differences, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Spread((float(low), float(high)), float(differences.std(ddof=1)))
