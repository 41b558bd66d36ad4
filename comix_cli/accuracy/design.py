"""How large a stratified sample has to be, and how many pixels each stratum gets of it.

The pixels of each stratum (usually a map class) are drawn at random without replacement. What that
will tell of the map can be computed beforehand from a guess of each stratum's accuracy (Cochran
1977, Sampling Techniques, chapter 5; Olofsson et al. 2014, Remote Sensing of Environment 148,
section 5.1). A wrong guess makes the sample larger or smaller than it need be, and no estimate
wrong.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Allocation = Literal["proportional", "equal", "optimal"]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# 640.0000000001 samples are 640.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Strata:
    """The strata of a map, with what is expected of them.

    Attributes:
        pixels: Pixels of each stratum in the whole map, `(strata,)`, above 0.
        accuracies: The share of its pixels that are expected to be right, the user's accuracy where
            the strata are map classes, `(strata,)`, within (0, 1).

    Raises:
        ValueError: No stratum, an empty one, or an accuracy beyond its range.
    """

    pixels: Ints
    accuracies: Floats

    def __post_init__(self) -> None:
        if self.pixels.ndim != 1 or self.pixels.shape != self.accuracies.shape:
            raise ValueError(f"{self.pixels.shape} and {self.accuracies.shape} do not belong")
        if not self.pixels.size or (self.pixels < 1).any():
            raise ValueError(f"every stratum needs pixels, not {self.pixels}")
        if not ((self.accuracies > 0) & (self.accuracies < 1)).all():
            raise ValueError(f"accuracies must lie between 0 and 1, not {self.accuracies}")

    @property
    def shares(self) -> Floats:
        """W, the share of the map in each stratum."""
        shares: Floats = self.pixels / self.pixels.sum()
        return shares

    @property
    def deviations(self) -> Floats:
        """S, the standard deviation of right (1) and wrong (0) in each stratum."""
        deviations: Floats = np.sqrt(self.accuracies * (1 - self.accuracies))
        return deviations

    @property
    def overall_accuracy(self) -> float:
        """The share of the map that is expected to be right."""
        return float((self.shares * self.accuracies).sum())

    def size_for(self, standard_error: float) -> int:
        """The samples that a standard error of the overall accuracy takes, optimally allocated.

        ``n = (sum W S)^2 / (V + sum W S^2 / N)`` with the variance V that is wanted and N pixels in
        the map (Cochran 1977, eq. 5.25; Olofsson et al. 2014, eq. 13).

        Args:
            standard_error: Above 0, as a share.
        """
        shares, deviations = self.shares, self.deviations
        whole_map = float((shares * deviations**2).sum() / self.pixels.sum())
        exact = float((shares * deviations).sum()) ** 2 / (standard_error**2 + whole_map)
        return max(1, math.ceil(exact - _ROUNDING))

    def least(self, per_stratum: int) -> Ints:
        """So many samples of each stratum, or all its pixels where it has fewer."""
        return np.minimum(per_stratum, self.pixels)

    def allocate(self, size: int, rule: Allocation, per_stratum: int) -> Ints:
        """Divide a sample among the strata.

        Strata whose part would be smaller than the least, or larger than they are, get just that;
        the others share the rest by the rule. Parts are rounded by largest remainders, so that
        they add up to the sample.

        Args:
            size: Samples altogether.
            rule: `equal`; `proportional` to the pixels; `optimal`, proportional to W S, which gives
                the overall accuracy its smallest standard error (Neyman 1934).
            per_stratum: The least of each stratum, or all its pixels where it has fewer.

        Returns:
            Samples of each stratum, `(strata,)`.

        Raises:
            ValueError: The map has fewer pixels, or the least is more than there is.
        """
        low, high = self.least(per_stratum), self.pixels
        if not low.sum() <= size <= high.sum():
            raise ValueError(f"{size} samples are not between {low.sum()} and {high.sum()}")
        return _rounded(_bounded_parts(size, self._weights(rule), low, high), size)

    def size_reaching(self, standard_error: float, rule: Allocation, per_stratum: int) -> int:
        """The fewest samples that have this standard error of overall accuracy by another rule."""
        sizes = range(int(self.least(per_stratum).sum()), int(self.pixels.sum()) + 1)

        def reaches(size: int) -> bool:
            return self.overall_error(self.allocate(size, rule, per_stratum)) <= standard_error

        return sizes[bisect_left(sizes, True, key=reaches)]

    def overall_error(self, samples: Ints) -> float:
        """The standard error of the overall accuracy that is to be expected.

        ``sqrt(sum W^2 S^2 (1 / n - 1 / N))`` with n samples of the N pixels of each stratum
        (Cochran 1977, eq. 5.9, with S of all pixels); infinite where a stratum has no sample.
        """
        return math.sqrt(float((self.shares**2 * self._variances(samples)).sum()))

    def stratum_errors(self, samples: Ints) -> Floats:
        """The standard error of each stratum's accuracy that is to be expected, `(strata,)`."""
        errors: Floats = np.sqrt(self._variances(samples))
        return errors

    def _variances(self, samples: Ints) -> Floats:
        with np.errstate(divide="ignore"):
            unseen = 1 / samples - 1 / self.pixels
        variances: Floats = self.deviations**2 * unseen
        return variances

    def _weights(self, rule: Allocation) -> Floats:
        match rule:
            case "equal":
                return np.ones(self.pixels.shape)
            case "proportional":
                return self.shares
            case "optimal":
                return self.shares * self.deviations


def _bounded_parts(size: int, weights: Floats, low: Ints, high: Ints) -> Floats:
    """Parts ``min(max(t * weight, low), high)`` with the t for which they add up to `size`."""
    # Their sum is piecewise linear in t, and bends where a part leaves or meets a bound.
    bends = np.unique(np.concatenate([low / weights, high / weights]))
    sums = np.clip(np.outer(bends, weights), low, high).sum(axis=1)
    parts: Floats = np.clip(np.interp(size, sums, bends) * weights, low, high)
    return parts


def _rounded(parts: Floats, size: int) -> Ints:
    """Whole numbers that add up to `size`, by largest remainders; the first of equals gets more."""
    whole = np.floor(parts + _ROUNDING)
    missing = size - int(whole.sum())
    whole[np.argsort(whole - parts, kind="stable")[:missing]] += 1
    return whole.astype(np.int64)
