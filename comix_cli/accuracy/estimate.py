"""Estimates for a whole map from a stratified sample, with standard errors.

Counts alone describe the sample; what they say of the map depends on how the sample was drawn.
Where each stratum (usually a map class) was sampled by itself, its share of the map is what its
pixels have to count for. With the map classes as strata these are the estimators of Olofsson et al.
2014 (Remote Sensing of Environment 148), which take the map for endless; in general they are those
of Stehman 2014 (International Journal of Remote Sensing 35).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from comix_cli.accuracy.confusion import cohens_kappa, quantity_and_allocation

# The 97.5 % quantile of the normal distribution.
Z_95 = 1.96

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A figure of the whole map.

    Attributes:
        value: None where it is undefined.
        standard_error: None where a stratum has a single sample that is not all of it.
    """

    value: float | None
    standard_error: float | None

    @property
    def half_width(self) -> float | None:
        """Half of the 95 % interval: 1.96 standard errors."""
        return None if self.standard_error is None else Z_95 * self.standard_error


@dataclass(frozen=True)
class MapEstimates:
    """Area-weighted figures of a map. Shares lie in 0..1.

    Attributes:
        overall_accuracy: Share of the map that is right.
        users_accuracy: Per class, the share of its mapped area that is right.
        producers_accuracy: Per class, the share of its true area that is mapped as it.
        area: Per class, its true share of the map.
        quantity_disagreement: How far mapped and true shares differ, summed and halved
            (Pontius and Millones 2011).
        allocation_disagreement: The disagreement that is left where the shares agree.
        kappa: Cohen's kappa of the estimated shares.
        unsampled: Strata without a sample; the figures are of the rest.
    """

    overall_accuracy: Estimate
    users_accuracy: tuple[Estimate, ...]
    producers_accuracy: tuple[Estimate, ...]
    area: tuple[Estimate, ...]
    quantity_disagreement: float | None
    allocation_disagreement: float | None
    kappa: float | None
    unsampled: tuple[int, ...]


def by_map_class(matrix: NDArray[np.int64], sizes: Sequence[float]) -> MapEstimates:
    """Estimates where the map's classes are the strata (Olofsson et al. 2014).

    Args:
        matrix: `(n, n)` sample counts `[reference, predicted]`.
        sizes: Pixels, or area, of each class in the whole map, `(n,)`.

    Raises:
        ValueError: The shapes do not belong together, or a sample lies in a class of no size.
    """
    reference, predicted = np.nonzero(matrix)
    cells = _Cells(predicted, reference, predicted, matrix[reference, predicted], len(matrix))
    return _estimates(cells, sizes, finite=False)


def by_stratum(counts: NDArray[np.int64], stratum_pixels: Sequence[int]) -> MapEstimates:
    """Estimates where the strata may be anything (Stehman 2014).

    Args:
        counts: `(strata, n, n)` sample counts `[stratum, reference, predicted]`.
        stratum_pixels: Pixels of each stratum in the whole map, `(strata,)`.

    Raises:
        ValueError: The shapes do not belong together, or a sample lies in a stratum of no pixels.
    """
    if counts.ndim != 3 or counts.shape[1] != counts.shape[2] or len(counts) != len(stratum_pixels):
        raise ValueError(f"counts {counts.shape} do not belong to {len(stratum_pixels)} strata")
    stratum, reference, predicted = np.nonzero(counts)
    samples = counts[stratum, reference, predicted]
    cells = _Cells(stratum, reference, predicted, samples, counts.shape[1])
    return _estimates(cells, stratum_pixels, finite=True)


@dataclass(frozen=True)
class _Cells:
    """Sample counts by stratum and cell, those that occur only.

    Attributes:
        stratum: Number of the stratum, `(m,)`.
        reference: Row of the matrix, `(m,)`.
        predicted: Column of the matrix, `(m,)`.
        samples: Samples there, `(m,)`.
        classes: Rows and columns of the matrix.
    """

    stratum: NDArray[np.int64]
    reference: NDArray[np.int64]
    predicted: NDArray[np.int64]
    samples: NDArray[np.int64]
    classes: int

    def by(self, classes: NDArray[np.int64], strata: int, *, right: bool = False) -> Floats:
        """Samples `(strata, n)` in each stratum and class, or of those only what is right."""
        taken = (self.reference == self.predicted) if right else np.ones(len(classes), np.bool_)
        keys = self.stratum[taken] * self.classes + classes[taken]
        counts = np.bincount(keys, self.samples[taken], strata * self.classes)
        return counts.astype(np.float64).reshape(strata, self.classes)


def _estimates(cells: _Cells, sizes: Sequence[float], *, finite: bool) -> MapEstimates:
    weights = np.asarray(sizes, np.float64)
    samples = np.bincount(cells.stratum, cells.samples, len(weights)).astype(np.float64)
    if len(samples) > len(weights) or ((weights <= 0) & (samples > 0)).any():
        raise ValueError("a sample lies in a stratum without pixels")
    kept = np.flatnonzero(samples > 0)
    strata = _Strata(weights[kept], samples[kept], finite)
    right = cells.by(cells.reference, len(weights), right=True)[kept]
    truly = cells.by(cells.reference, len(weights))[kept]
    mapped = cells.by(cells.predicted, len(weights))[kept]
    whole = samples[kept, np.newaxis]
    shares = _shares(cells, weights, samples)
    quantity, allocation = quantity_and_allocation(shares)
    return MapEstimates(
        overall_accuracy=strata.ratios(right.sum(axis=1, keepdims=True), whole)[0],
        users_accuracy=strata.ratios(right, mapped),
        producers_accuracy=strata.ratios(right, truly),
        area=strata.ratios(truly, np.broadcast_to(whole, truly.shape)),
        quantity_disagreement=quantity,
        allocation_disagreement=allocation,
        kappa=cohens_kappa(shares),
        unsampled=tuple(np.flatnonzero((samples == 0) & (weights > 0)).tolist()),
    )


def _shares(cells: _Cells, sizes: Floats, samples: Floats) -> Floats:
    """Estimated share of the sampled strata in every cell `[reference, predicted]`."""
    shares = np.zeros((cells.classes, cells.classes))
    each = sizes / np.maximum(samples, 1) / max(sizes[samples > 0].sum(), 1e-300)
    place = (cells.reference, cells.predicted)
    np.add.at(shares, place, cells.samples * each[cells.stratum])
    return shares


@dataclass(frozen=True)
class _Strata:
    """Sizes N and samples n of the strata that hold samples; whether the sizes are pixels."""

    sizes: Floats
    samples: Floats
    finite: bool

    def ratios(self, part: Floats, whole: Floats) -> tuple[Estimate, ...]:
        """The area in some cells over that in cells that hold them, class by class.

        With means y and x of the two in each stratum h, ``R = sum N y / sum N x`` and ``V(R) =
        sum N^2 (1 - n/N) (s_y^2 + R^2 s_x^2 - 2 R s_xy) / n / (sum N x)^2`` (Stehman 2014, eqs. 27
        and 28); for endless strata n/N is nothing.

        Args:
            part: Samples `(strata, k)`.
            whole: Samples `(strata, k)` that those of `part` are among.
        """
        y, x = (counts / self.samples[:, np.newaxis] for counts in (part, whole))
        totals = self.sizes @ x
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios = (self.sizes @ y) / totals
            # What is in `part` is in `whole`: their product is `part` itself.
            spread = y * (1 - y) + ratios**2 * x * (1 - x) - 2 * ratios * (y - x * y)
            errors = np.sqrt(np.maximum(0.0, self._weights() @ spread)) / totals
        known = self._spreads_are_known()
        return tuple(
            Estimate(float(ratio), float(error) if known else None)
            if total > 0
            else Estimate(None, None)
            for ratio, error, total in zip(ratios, errors, totals, strict=True)
        )

    def _weights(self) -> Floats:
        """What a stratum's spread weighs in the variance, `(strata,)`."""
        weights: Floats = self.sizes**2 / np.maximum(self.samples - 1, 1)
        if not self.finite:
            return weights
        return weights * np.maximum(0.0, 1 - self.samples / self.sizes)

    def _spreads_are_known(self) -> bool:
        """One sample tells nothing of its stratum's spread, unless it is all there is."""
        single = self.samples < 2
        if self.finite:
            single &= self.sizes > self.samples
        return not single.any()
