"""Estimates for a whole map from a stratified sample, with standard errors.

Counts alone describe the sample; what they say of the map depends on how the sample was drawn.
Where each stratum (usually a map class) was sampled by itself, its share of the map is what its
pixels have to count for. With the map classes as strata these are the estimators of Olofsson et al.
2014 (Remote Sensing of Environment 148); in general they are those of Stehman 2014 (International
Journal of Remote Sensing 35), without the correction for finite populations: a map has so many more
pixels than a sample.
"""

from __future__ import annotations

import math
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
        standard_error: None where a stratum of several pixels has fewer than two samples.
    """

    value: float | None
    standard_error: float | None

    @property
    def half_width(self) -> float | None:
        """Half of the 95 % interval: 1.96 standard errors."""
        return None if self.standard_error is None else Z_95 * self.standard_error

    def times(self, factor: float) -> Estimate:
        """The estimate in another unit, such as a share of an area as an area."""
        value, error = (
            None if x is None else x * factor for x in (self.value, self.standard_error)
        )
        return Estimate(value, error)


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
        unsampled: Strata of the map without a sample; the figures are of the rest.
    """

    overall_accuracy: Estimate
    users_accuracy: tuple[Estimate, ...]
    producers_accuracy: tuple[Estimate, ...]
    area: tuple[Estimate, ...]
    quantity_disagreement: float | None
    allocation_disagreement: float | None
    kappa: float | None
    unsampled: tuple[int, ...]


def by_map_class(matrix: NDArray[np.int64], map_pixels: Sequence[int]) -> MapEstimates:
    """Estimates where the map's classes are the strata (Olofsson et al. 2014).

    Args:
        matrix: `(n, n)` sample counts `[reference, predicted]`.
        map_pixels: Pixels of each class in the whole map, `(n,)`.
    """
    classes = len(matrix)
    counts = np.zeros((classes, classes, classes), np.int64)
    for stratum in range(classes):
        counts[stratum, :, stratum] = matrix[:, stratum]
    return by_stratum(counts, map_pixels)


def by_stratum(counts: NDArray[np.int64], stratum_pixels: Sequence[int]) -> MapEstimates:
    """Estimates where the strata may be anything (Stehman 2014).

    Args:
        counts: `(strata, n, n)` sample counts `[stratum, reference, predicted]`.
        stratum_pixels: Pixels of each stratum in the whole map, `(strata,)`.

    Raises:
        ValueError: The shapes do not belong together, or a sample lies in a stratum of no pixels.
    """
    sizes = np.asarray(stratum_pixels, np.float64)
    samples = counts.sum(axis=(1, 2))
    if counts.ndim != 3 or counts.shape[1] != counts.shape[2] or sizes.shape != samples.shape:
        raise ValueError(f"counts {counts.shape} do not belong to {sizes.shape} strata")
    if ((sizes <= 0) & (samples > 0)).any():
        raise ValueError("a sample lies in a stratum without pixels")
    kept = (samples > 0) & (sizes > 0)
    sample = _Sample(counts[kept].astype(np.float64), sizes[kept])
    return _estimates(sample, tuple(np.flatnonzero(~kept & (sizes > 0)).tolist()))


def _estimates(sample: _Sample, unsampled: tuple[int, ...]) -> MapEstimates:
    everything = np.ones(sample.shape, np.bool_)
    right = np.eye(*sample.shape, dtype=np.bool_)
    truly = [_row(k, len(right)) for k in range(len(right))]
    mapped = [cells.T for cells in truly]
    shares = sample.shares()
    quantity, allocation = quantity_and_allocation(shares)
    return MapEstimates(
        overall_accuracy=sample.ratio(right, everything),
        users_accuracy=tuple(sample.ratio(right & cells, cells) for cells in mapped),
        producers_accuracy=tuple(sample.ratio(right & cells, cells) for cells in truly),
        area=tuple(sample.ratio(cells, everything) for cells in truly),
        quantity_disagreement=quantity,
        allocation_disagreement=allocation,
        kappa=cohens_kappa(shares),
        unsampled=unsampled,
    )


def _row(k: int, classes: int) -> NDArray[np.bool_]:
    """The cells whose reference is class k."""
    cells = np.zeros((classes, classes), np.bool_)
    cells[k] = True
    return cells


class _Sample:
    """Sample counts by stratum and cell, and how many pixels each stratum stands for."""

    def __init__(self, counts: Floats, sizes: Floats) -> None:
        self._counts, self._sizes = counts, sizes
        self._samples = counts.sum(axis=(1, 2))
        self.shape = counts.shape[1:]

    def shares(self) -> Floats:
        """Estimated share of the map in every cell `[reference, predicted]`; 0 without samples."""
        if not len(self._sizes):
            return np.zeros(self.shape)
        weights = self._sizes / self._sizes.sum() / self._samples
        shares: Floats = np.einsum("h,hij->ij", weights, self._counts)
        return shares

    def ratio(self, part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> Estimate:
        """The area in some cells over that in cells that hold them.

        With means y and x of the two in each stratum h, of N_h pixels and n_h samples,
        ``R = sum N y / sum N x`` and ``V(R) = sum N^2 (s_y^2 + R^2 s_x^2 - 2 R s_xy) / n /
        (sum N x)^2`` (Stehman 2014, eqs. 27 and 28).
        """
        y, x = (self._counts[:, cells].sum(axis=1) / self._samples for cells in (part, whole))
        total = float((self._sizes * x).sum()) if len(x) else 0.0
        if total == 0:
            return Estimate(None, None)
        ratio = float((self._sizes * y).sum()) / total
        # What is in `part` is in `whole`: their product is `part` itself.
        spread = y * (1 - y) + ratio**2 * x * (1 - x) - 2 * ratio * (y - x * y)
        # One sample tells nothing of its stratum's spread, unless it is all there is.
        if ((self._samples < 2) & (self._sizes > self._samples)).any():
            return Estimate(ratio, None)
        degrees = np.maximum(self._samples - 1, 1)
        variance = float((self._sizes**2 * spread / degrees).sum()) / total**2
        return Estimate(ratio, math.sqrt(max(0.0, variance)))
